"""The front door: from a log to a run folder that holds an agent. Every stage resumes where it was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch
from safetensors.torch import save_file
from torch import nn

from forethought.config import checked, to_json
from forethought.data import open_log
from forethought.data.dataset import Dataset
from forethought.data.quantities import quantities_of, select
from forethought.data.schema import spec_to_json
from forethought.data.split import Split
from forethought.data.stats import measure
from forethought.errors import ConfigError, TrainingError
from forethought.training.allocator import keep_freed_memory
from forethought.training.bundle import Parts, build_parts, normalise
from forethought.training.calibrate import calibrate
from forethought.training.checkpoint import load_modules, read_tensors
from forethought.training.config import TrainConfig
from forethought.training.decoder import DecoderStage, first_camera
from forethought.training.device import choose
from forethought.training.distributed import Ranks, join_ranks
from forethought.training.dynamics import DynamicsStage
from forethought.training.examples import gather_examples, save_examples
from forethought.training.files import write_atomic, write_atomic_with
from forethought.training.graphs import Graph
from forethought.training.heads import HeadsStage, imagine_graphs
from forethought.training.latents import Latents, encode_rows, is_encoded, load_latents
from forethought.training.predict import PredictStage
from forethought.training.probes import ProbeQuality, ProbeStage, probe_quality
from forethought.training.progress import Silent, Watcher
from forethought.training.run import RunFolder
from forethought.training.tail import measure_tail
from forethought.training.trainer import Schedule, Stage, run_stage


class Interrupted(TrainingError):
    """Training was stopped on request; everything is saved, and the same command goes on."""

    exit_code = 130


def train(
    log: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    watcher: Watcher | None = None,
    modules: Mapping[str, nn.Module] | None = None,
) -> RunFolder:
    """Train on a log into a run folder, or go on where an earlier call stopped.

    `modules`: a module of your own for any sensor, used as it is (never trained): raw readings in, (batch, n) out. Its weights
    are kept in the run; to load the run, pass a module of the same shape again.

    Raises DataError for a log that cannot be used, ConfigError if the folder holds a run of another configuration,
    CollapseError and TrainingError when learning fails, Interrupted on Ctrl-C (saved; call again to go on).
    """
    settings = checked(config or TrainConfig())
    settings = replace(settings, encoder=replace(settings.encoder, frozen=tuple(sorted(modules or {}))))
    job = _Job(Path(log).expanduser(), RunFolder(Path(out).expanduser()), settings, watcher or Silent(), modules or {})
    job.run_all()
    return job.run


@final
@dataclass
class _Job:
    log: Path
    run: RunFolder
    config: TrainConfig
    watcher: Watcher
    modules: Mapping[str, nn.Module]

    def run_all(self) -> None:
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        keep_freed_memory()
        torch.manual_seed(self.config.seed)
        ranks = join_ranks()
        experience = open_log(self.log)
        data = Dataset.load(experience, Split.TRAIN)
        held_out = Dataset.load(experience, Split.CALIBRATE)
        compute = choose(self.config.device, self.config.precision)
        parts = build_parts(data.spec, self.config, self.modules)
        normalise(parts, data)
        self._open_folder(data, ranks)
        compute.place(*parts.trees())
        predict = PredictStage(data, parts.encoder, parts.first_dynamics, self.config, ranks, compute)
        self._stage(predict, self.config.predict.schedule, ranks)
        latents, held_out_latents = self._encode(data, parts, "latents"), self._encode(held_out, parts, "held-out")
        dynamics = DynamicsStage(latents, parts.model.dynamics, self.config, ranks)
        self._stage(dynamics, self.config.dynamics.schedule, ranks)
        parts.model.dynamics.requires_grad_(False)
        graph = self._graphs(latents, parts)
        heads = HeadsStage(latents, graph, parts.model.dynamics, parts.critic, parts.habit, self.config)
        self._stage(heads, self.config.heads.schedule, ranks)
        device = next(parts.model.parameters()).device
        probes = self._look(data, latents, held_out, held_out_latents, device, ranks)
        if ranks.is_main:
            figures = calibrate(held_out_latents, parts.model.dynamics, parts.critic)
            tail = measure_tail(held_out_latents, parts.model.dynamics, held_out.episode_ids)
            save_examples(self.run.examples, gather_examples(held_out, held_out_latents, parts.model.dynamics, tail))
            write_atomic(self.run.calibration, to_json(replace(figures, tail=tail, probes=probes)))

    def _look(
        self, data: Dataset, latents: Latents, held_out: Dataset, held_latents: Latents, device: torch.device, ranks: Ranks
    ) -> tuple[ProbeQuality, ...]:
        """What people look through: the probe (how well it reads is returned), and the decoder. The agent needs neither."""
        camera, known = first_camera(data), quantities_of(data)
        if camera is not None:
            decoder = DecoderStage(latents, data, camera, self.config, device)
            self._stage(decoder, self.config.decoder.schedule, ranks)
        if not known.names:
            return ()
        stage = ProbeStage(latents, known, self.config, device)
        self._stage(stage, self.config.probe.schedule, ranks)
        return probe_quality(stage.probe, latents, known, held_latents, select(held_out, known.names))

    def _open_folder(self, data: Dataset, ranks: Ranks) -> None:
        text = to_json(self.config)
        if self.run.config.is_file() and self.run.config.read_text() != text:
            raise ConfigError(
                f"{self.run.path} holds a run of another configuration; give another folder, or the same options to go on"
            )
        if ranks.is_main:
            self.run.path.mkdir(parents=True, exist_ok=True)
            write_atomic(self.run.config, text)
            write_atomic(self.run.path / "spec.json", spec_to_json(data.spec))
            write_atomic(self.run.path / "stats.json", measure(data).to_json())

    def _stage(self, stage: Stage, schedule: Schedule, ranks: Ranks) -> None:
        if self.run.is_finished(stage.name):
            load_modules(self.run.stage_file(stage.name), stage.modules())
            return
        outcome = run_stage(stage, schedule, self.run, ranks, self.watcher)
        if outcome.interrupted:
            raise Interrupted(
                f"stopped in stage '{stage.name}' after update {outcome.updates}, saved; the same command goes on"
            )

    def _encode(self, data: Dataset, parts: Parts, name: str) -> Latents:
        path = self.run.path / "work" / f"{name}.npy"
        parts.model.eval()
        if not is_encoded(path, data.num_rows):
            encode_rows(parts.model, data, path, self.watcher)
        return load_latents(path, data, self.config.frameskip, self.config.encoder.scene_size)

    def _graphs(self, latents: Latents, parts: Parts) -> Graph:
        path = self.run.path / "work" / "graphs.safetensors"
        if path.is_file():
            tensors: Mapping[str, torch.Tensor] = read_tensors(path)[0]
            device = next(parts.model.parameters()).device
            return Graph(*(tensors[name].to(device) for name in ("scene", "state", "distance")))
        graph = imagine_graphs(latents, parts.model.dynamics, parts.habit.space, self.config, self.watcher)
        tensors = {"scene": graph.scene_GC, "state": graph.state_GNE, "distance": graph.distance_GNN}
        whole = {name: tensor.cpu().clone().contiguous() for name, tensor in tensors.items()}
        write_atomic_with(path, lambda temporary: save_file(whole, temporary))
        return graph
