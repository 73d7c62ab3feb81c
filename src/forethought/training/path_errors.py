"""How far named quantities stray from what the probe reads off imagined paths, on held-out episodes: what guardrails need."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forethought.costs.guardrail import along
from forethought.data.quantities import Quantities
from forethought.dynamics.base import Dynamics
from forethought.perception.probe import PathErrors, Probe
from forethought.training.checkpoint import read_tensors, save_tensors
from forethought.training.latents import Latents
from forethought.training.run import RunFolder

HORIZON, STRETCHES, SHORTEST, CHUNK = 10, 200, 16, 4096
"""Blocks ahead; fewer episodes than STRETCHES are cut into equal pieces, as a confidence of 1 - 1/n needs n stretches, of at
least SHORTEST blocks; windows at a time."""


def measure_path_errors(
    probe: Probe, dynamics: Dynamics, train: Latents, known: Quantities, held_out: Latents, wanted: Quantities, horizon: int
) -> PathErrors | None:
    """The score of every stretch of the held-out episodes; scales come from training episodes, so that they stay exchangeable.

    None if no held-out episode has two blocks (the first only fills the dynamics' memory).
    """
    longest = int(held_out.lengths_E.max(initial=0)) // held_out.frameskip - 1
    horizon = min(max(horizon, HORIZON), longest)
    if horizon < 1:
        return None
    mean = int(held_out.lengths_E.mean())
    pieces = max(1, min(-(-STRETCHES // len(held_out.lengths_E)), mean // (SHORTEST * held_out.frameskip)))
    score_EHQ2 = _stretches(probe, dynamics, held_out, wanted, horizon, pieces)
    usual = _stretches(probe, dynamics, train, known, horizon, pieces, episodes=STRETCHES)
    scale_HQ2 = torch.nan_to_num(usual.clamp_min(0).mean(0)) + 1e-6 * probe.deviation_Q.cpu()[:, None]
    return PathErrors(score_EHQ2, scale_HQ2, held_out.frameskip, mean // pieces)


def _stretches(
    probe: Probe, dynamics: Dynamics, latents: Latents, known: Quantities, horizon: int, pieces: int, episodes: int = 2**31
) -> Tensor:
    """score_EHQ2 of the first episodes' stretches, those that have a window at all."""
    rows = latents.window_starts(2) + latents.frameskip
    rows = rows[latents.episode_of(rows) < episodes]
    episode = latents.episode_of(rows)
    piece = (rows - latents.starts_E[episode]) * pieces // (latents.lengths_E[episode] + 1)
    stretch_N = torch.from_numpy(episode * pieces + piece)
    best = torch.full((int(stretch_N.max()) + 1, horizon, len(probe.names), 2), -torch.inf)
    for first in range(0, len(rows), CHUNK):
        part = slice(first, first + CHUNK)
        score_NHQ2 = _scores(probe, dynamics, latents, known, rows[part], horizon)
        best.scatter_reduce_(0, stretch_N[part, None, None, None].expand_as(score_NHQ2), score_NHQ2, "amax")
    return best[best.isfinite().any(-1).any(-1).any(-1)]


@torch.inference_mode()
def _scores(
    probe: Probe, dynamics: Dynamics, latents: Latents, known: Quantities, rows: NDArray[np.int64], horizon: int
) -> Tensor:
    """How far below and above its line the worst frame of each imagined block was; -inf past the episode's end."""
    skip, device, last = latents.frameskip, probe.mean_Q.device, len(latents.z_ND) - 1
    start, steps = torch.from_numpy(rows), torch.from_numpy(rows[:, None] + np.arange(horizon) * skip)
    before, z = latents.z_ND[start - skip].to(device), latents.z_ND[start].to(device)
    # as the agent comes to it: one block was seen before this moment
    memory = dynamics.update(before, dynamics.initial_memory(before), latents.action_NA[start - skip].to(device), z)
    path = dynamics.imagine(z, memory, latents.action_NA[steps.clamp_max(last)].to(device).unsqueeze(1))[:, 0]
    line_NHFQ = along(probe(torch.cat([z[:, None], path], 1)), skip).cpu()
    frames = steps[..., None] + torch.arange(1, skip + 1)
    truth = torch.from_numpy(known.values_NQ)[frames.clamp_max(last)]
    over = torch.stack([(line_NHFQ - truth).amax(2), (truth - line_NHFQ).amax(2)], -1)
    ends = torch.from_numpy((latents.starts_E + latents.lengths_E)[latents.episode_of(rows)])
    counts = (steps + skip <= ends[:, None])[..., None, None] & over.isfinite()
    return torch.where(counts, over, -torch.inf)


def save_path_errors(run: RunFolder, errors: PathErrors, probe: Probe) -> None:
    """Into `intervals.safetensors`, with the mark of the probe whose errors these are."""
    counts = torch.tensor([errors.frames, errors.stretch])
    save_tensors(
        run.intervals, {"score": errors.score_EHQ2, "scale": errors.scale_HQ2, "counts": counts}, {"probe": _mark(probe)}
    )


def load_path_errors(run: RunFolder, probe: Probe) -> PathErrors | None:
    """What `save_path_errors` wrote; None for a run without, and for those of another probe. Raises RunError if damaged."""
    if not run.intervals.is_file():
        return None
    tensors, note = read_tensors(run.intervals)
    if note.get("probe") != _mark(probe):
        return None
    frames, stretch = (int(n) for n in tensors["counts"])
    return PathErrors(tensors["score"], tensors["scale"], frames, stretch)


def _mark(probe: Probe) -> str:
    """A hash of the probe's names and weights."""
    hashed = hashlib.blake2b("\n".join(probe.names).encode(), digest_size=16)
    for tensor in probe.state_dict().values():
        hashed.update(tensor.detach().cpu().numpy().tobytes())
    return hashed.hexdigest()
