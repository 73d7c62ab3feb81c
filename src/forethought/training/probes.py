"""Stage `probe`: read named quantities off frozen latents, and say on held-out episodes how well that works."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forethought.agent import meter
from forethought.data.quantities import Quantities
from forethought.dynamics.base import Dynamics
from forethought.perception.probe import Probe
from forethought.training.checkpoint import load_modules, read_tensors
from forethought.training.config import TrainConfig
from forethought.training.latents import Latents
from forethought.training.path_errors import load_path_errors, measure_path_errors, save_path_errors
from forethought.training.run import RunFolder
from forethought.training.seeds import seed_for, seeded
from forethought.training.trainer import Stage


@final
@dataclass(frozen=True)
class ProbeQuality:
    """R^2 of one quantity on held-out rows: of a straight line through the latent, and of the probe."""

    name: str
    linear: float
    nonlinear: float
    rows: int


@final
class ProbeStage(Stage):
    """Regression of the standardised quantities on latents. Nothing else is ever trained on it."""

    name = "probe"

    def __init__(self, latents: Latents, known: Quantities, config: TrainConfig, device: torch.device) -> None:
        self.latents, self.known, self.config, self.device = latents, known, config, device
        self.rows_N = known.finite_rows()
        with seeded(config.seed, self.name):
            some = torch.randperm(len(latents.z_ND))[: config.probe.remembered]
            self.probe = Probe(latents.z_ND.shape[1], known.names, config.probe.width, len(some)).to(device)
        self.probe.remembered_MD.copy_(latents.z_ND[some])
        values = known.values_NQ[self.rows_N].astype(np.float64)
        self.probe.mean_Q.copy_(torch.from_numpy(values.mean(0)))
        self.probe.deviation_Q.copy_(torch.from_numpy(values.std(0)).clamp_min(1e-6))
        self.frames_per_update = config.probe.batch_size

    def modules(self) -> Mapping[str, nn.Module]:
        return {"probe": self.probe}

    def trained(self) -> list[nn.Parameter]:
        return list(self.probe.parameters())

    def flops(self) -> int:
        """FLOPs of one update."""
        return meter.work(self.probe).learned(self.frames_per_update)

    def note(self) -> Mapping[str, str]:
        return {"quantities": json.dumps(self.known.names)}

    def loss(self, update: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        generator = np.random.default_rng(seed_for(self.config.seed, self.name, update))
        rows = self.rows_N[generator.integers(0, len(self.rows_N), self.config.probe.batch_size)]
        z_BD = self.latents.z_ND[torch.from_numpy(rows)].to(self.device)
        values_BQ = torch.from_numpy(self.known.values_NQ[rows]).to(self.device)
        wanted_BQ = (values_BQ - self.probe.mean_Q) / self.probe.deviation_Q
        error = (self.probe.standard(z_BD) - wanted_BQ).square().mean()
        return error, {"r2": 1 - error.detach()}


def load_probe(run: RunFolder) -> Probe | None:
    """A run's probe with its errors, in evaluation mode; None if its log named no quantities. Raises RunError if damaged."""
    path = run.stage_file("probe")
    if not path.is_file():
        return None
    tensors, note = read_tensors(path)
    width, latent_size = tensors["probe/net.0.weight"].shape
    probe = Probe(latent_size, tuple(json.loads(note["quantities"])), width, len(tensors["probe/remembered_MD"]))
    load_modules(path, {"probe": probe})
    probe.errors = load_path_errors(run, probe)
    return probe.eval().requires_grad_(False)


def check_probe(
    run: RunFolder,
    probe: Probe,
    dynamics: Dynamics,
    train: Latents,
    known: Quantities,
    held_out: Latents,
    wanted: Quantities,
    horizon: int,
) -> tuple[ProbeQuality, ...]:
    """How well it reads held-out rows; how far it errs along imagined paths goes into the run."""
    errors = measure_path_errors(probe, dynamics, train, known, held_out, wanted, horizon)
    if errors is not None:
        save_path_errors(run, errors, probe)
    return probe_quality(probe, train, known, held_out, wanted)


@torch.inference_mode()
def probe_quality(
    probe: Probe, train: Latents, known: Quantities, held_out: Latents, wanted: Quantities
) -> tuple[ProbeQuality, ...]:
    """R^2 per quantity on held-out latents; the straight line is fitted on at most 20,000 training rows."""
    rows, fit_rows = wanted.finite_rows(), known.finite_rows()
    if not len(rows):
        return ()
    fit_rows = fit_rows[:: max(1, len(fit_rows) // 20_000)]
    truth = wanted.values_NQ[rows].astype(np.float64)
    line = np.linalg.lstsq(_with_one(train, fit_rows), known.values_NQ[fit_rows].astype(np.float64), rcond=None)[0]
    straight = _with_one(held_out, rows) @ line
    device = probe.mean_Q.device
    bent = probe(held_out.z_ND[torch.from_numpy(rows)].to(device)).double().cpu().numpy()
    scores = zip(wanted.names, _r2(straight, truth), _r2(bent, truth), strict=True)
    return tuple(ProbeQuality(name, float(a), float(b), len(rows)) for name, a, b in scores)


def _with_one(latents: Latents, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    z = latents.z_ND[torch.from_numpy(rows)].double().numpy()
    return np.concatenate([z, np.ones((len(z), 1))], 1)


def _r2(guess_NQ: NDArray[np.float64], truth_NQ: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - residual / total variance, per quantity; 0 for one that does not vary here."""
    total = np.square(truth_NQ - truth_NQ.mean(0)).sum(0)
    residual = np.square(guess_NQ - truth_NQ).sum(0)
    share: NDArray[np.float64] = np.where(total > 1e-12, 1 - residual / np.maximum(total, 1e-12), 0.0)
    return share
