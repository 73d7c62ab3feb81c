"""The front door: from a log to a run folder that holds an agent. Every stage resumes where it was."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import final

import torch
from torch import nn

from forethought.agent import meter
from forethought.agent.energy import Gauge, Stopwatch
from forethought.config import checked, read_json, to_json
from forethought.data import open_log
from forethought.data.dataset import Dataset
from forethought.data.quantities import quantities_of, select
from forethought.data.scenery import scenery_differs
from forethought.data.split import Split
from forethought.errors import TrainingError
from forethought.training.allocator import keep_freed_memory
from forethought.training.begin import check_folder, check_it_moves, check_source, source_of, stored_config, write_folder
from forethought.training.bundle import Parts, build_parts, normalise
from forethought.training.calibrate import calibrate
from forethought.training.checkpoint import load_modules, read_tensors, save_tensors
from forethought.training.clock import Clock
from forethought.training.config import TrainConfig
from forethought.training.decoder import DecoderStage, first_camera
from forethought.training.device import choose
from forethought.training.distributed import Ranks, join_ranks
from forethought.training.dynamics import DynamicsStage
from forethought.training.examples import gather_examples, save_examples
from forethought.training.files import write_atomic
from forethought.training.fit import fit
from forethought.training.graphs import Graph
from forethought.training.held_out import HeldOutFrames, HeldOutLatents
from forethought.training.latents import Latents, encode_rows, is_encoded, load_latents
from forethought.training.learners.build import graph_for, heads_stage
from forethought.training.practice import PracticeStage
from forethought.training.predict import PredictStage
from forethought.training.probes import ProbeQuality, ProbeStage, check_probe
from forethought.training.progress import Progress, Silent, Watcher
from forethought.training.replay import save_replay
from forethought.training.run import RunFolder, StageCost
from forethought.training.schedule import Schedule
from forethought.training.surprise import fit_monitor, save_monitor
from forethought.training.tail import measure_tail
from forethought.training.trainer import Stage, run_stage


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
    began: float | None = None,
) -> RunFolder:
    """Train on a log into a run folder, or go on where an earlier call stopped.

    `modules`: a module of your own for any sensor, used as it is (never trained): raw readings in, (batch, n) out. Its weights
    are kept in the run; to load the run, pass a module of the same shape again. `began`: when the clock started
    (`time.perf_counter`), if not now.

    Raises DataError for a log that cannot be used, ConfigError if the folder holds a run of another configuration,
    CollapseError and TrainingError when learning fails, Interrupted on Ctrl-C (saved; call again to go on).
    """
    settings = checked(config or TrainConfig())
    settings = replace(settings, encoder=replace(settings.encoder, frozen=tuple(sorted(modules or {}))))
    ranks = join_ranks()
    watcher = watcher if watcher is not None and ranks.is_main else Silent()
    job = _Job(Path(log).expanduser(), RunFolder(Path(out).expanduser()), settings, watcher, dict(modules or {}), ranks, began)
    try:
        with _termination_as_interrupt():
            job.run_all()
    except KeyboardInterrupt:
        raise Interrupted(f"stopped in step '{job.step}', saved; the same command goes on") from None
    return job.run


@final
class _Job:
    def __init__(
        self,
        log: Path,
        run: RunFolder,
        config: TrainConfig,
        watcher: Watcher,
        modules: Mapping[str, nn.Module],
        ranks: Ranks,
        began: float | None,
    ) -> None:
        self.log, self.run, self.config, self.watcher, self.modules, self.ranks = log, run, config, watcher, modules, ranks
        self.compute = choose(config.device, config.precision)
        self.step, self.began = "read", began

    def run_all(self) -> None:
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        keep_freed_memory()
        check_folder(self.run)
        self.clock = Clock(self.run, self.config.seconds, self.began)
        experience = open_log(self.log)
        data, held_out = Dataset.load(experience, Split.TRAIN), Dataset.load(experience, Split.CALIBRATE)
        parts = self._begin(data, held_out)
        try:
            self._learn(data, held_out, parts)
        finally:
            if self.ranks.is_main and self.run.config.is_file():
                self.clock.save()
        self.ranks.wait()

    def _learn(self, data: Dataset, held_out: Dataset, parts: Parts) -> None:
        device = torch.device(self.compute.device)
        watch = HeldOutFrames(held_out, self.config.frameskip, device)
        predict = PredictStage(data, parts.encoder, parts.first_dynamics, self.config, self.ranks, self.compute, watch)
        self._stage(predict, self.config.predict.schedule)
        if self.ranks.is_main:  # the rest is minutes on latents, too little to share out
            self._on_latents(data, held_out, parts)

    def _on_latents(self, data: Dataset, held_out: Dataset, parts: Parts) -> None:
        latents, held_out_latents = self._encode(data, parts, "latents"), self._encode(held_out, parts, "held-out")
        self.clock.done("encode")
        watch = HeldOutLatents(held_out_latents, torch.device(self.compute.device))
        dynamics = DynamicsStage(latents, parts.model.dynamics, self.config, Ranks(), watch)
        self._stage(dynamics, self.config.dynamics.schedule)
        parts.model.dynamics.requires_grad_(False)
        self._stage(self._heads(latents, parts), self.config.heads.schedule)
        if self.config.practice is not None:
            practice = PracticeStage(latents, parts.model.dynamics, parts.habit, self.config, self.config.practice)
            self._stage(practice, self.config.practice.schedule)
        probes = self._look(data, latents, held_out, held_out_latents, parts)
        with self._metered("calibrate"):
            self._watch_out(data, latents, held_out, held_out_latents, parts)
            self._calibrate(held_out, held_out_latents, parts, probes)

    def _look(
        self, data: Dataset, latents: Latents, held_out: Dataset, held_latents: Latents, parts: Parts
    ) -> tuple[ProbeQuality, ...]:
        """What people look through: the probe (how well it reads is returned), and the decoder. The agent needs neither."""
        camera, known, device = first_camera(data), quantities_of(data), torch.device(self.compute.device)
        if camera is not None:
            decoder = DecoderStage(latents, data, camera, self.config, device)
            self._stage(decoder, self.config.decoder.schedule)
        if not known.names:
            return ()
        stage = ProbeStage(latents, known, self.config, device)
        self._stage(stage, self.config.probe.schedule)
        wanted, ahead = select(held_out, known.names), self.config.agent.search.horizon
        return check_probe(self.run, stage.probe, parts.model.dynamics, latents, known, held_latents, wanted, ahead)

    def _watch_out(self, data: Dataset, latents: Latents, held_out: Dataset, held_latents: Latents, parts: Parts) -> None:
        """The monitor of surprise, and what later learning needs; before `calibration.json`, which marks a finished run."""
        save_replay(self.run, held_out, held_latents)
        monitor = fit_monitor(parts.model, data, latents, held_out, held_latents)
        if monitor is not None:
            save_monitor(self.run, monitor)

    def _calibrate(self, data: Dataset, latents: Latents, parts: Parts, probes: tuple[ProbeQuality, ...]) -> None:
        """Held-out figures, the tail of the error, and examples for the report."""
        self.step = "calibrate"
        self.watcher.progress(Progress("calibrate", 0, 1, {}, 0.0, 0.0))
        figures = calibrate(latents, parts.model.dynamics, parts.critic)
        tail = measure_tail(latents, parts.model.dynamics, data.episode_ids)
        save_examples(self.run.examples, gather_examples(data, latents, parts.model.dynamics, tail))
        write_atomic(self.run.calibration, to_json(replace(figures, tail=tail, probes=probes)))
        self.watcher.progress(Progress("calibrate", 1, 1, {}, 0.0, 0.0))

    def _begin(self, data: Dataset, held_out: Dataset) -> Parts:
        """The first rank checks, fits the run to its clock and writes the folder; the others then read its configuration."""
        if not self.ranks.is_main:
            self.ranks.wait()
            self.config = read_json(TrainConfig, self.run.config)
            return self._parts(data)
        self.step = "begin"
        check_it_moves(data)
        self.config = self._with_scene(data)
        source, stored = source_of(data, held_out), stored_config(self.run, self.config)
        check_source(self.run, source, self.log)
        expected = self.run.expected()
        if stored is None and self.config.seconds is not None:
            rows = data.num_rows + held_out.num_rows
            fitted = fit(self.config, data, rows, self.compute, self.modules, self.clock.spent())
            stored, expected = fitted.config, dict(fitted.expected)
        self.config = stored or self.config
        self.clock.expect(expected)
        parts = self._parts(data)
        write_folder(self.run, self.config, data, source)
        self.run.save_expected(expected)
        self.clock.save()
        self.ranks.wait()
        return parts

    def _with_scene(self, data: Dataset) -> TrainConfig:
        """Without a scene half where nothing in the log would fill it."""
        encoder = self.config.encoder
        if not encoder.scene_size or scenery_differs(data):
            return self.config
        self.watcher.note("one scene in the whole log: no part of the latent is kept for scenes")
        return replace(self.config, encoder=replace(encoder, scene_size=0))

    def _parts(self, data: Dataset) -> Parts:
        torch.manual_seed(self.config.seed)
        parts = build_parts(data.spec, self.config, self.modules)
        normalise(parts, data)
        self.compute.place(*parts.trees())
        return parts

    @contextmanager
    def _metered(self, step: str, flops: int | None = None) -> Iterator[None]:
        """Note what a step between the stages costs."""
        watch = Stopwatch(Gauge.find(torch.device(self.compute.device)))
        yield
        self.run.add_step(step, StageCost(0, watch.lap(), flops))

    def _stage(self, stage: Stage, schedule: Schedule) -> None:
        self.step = stage.name
        if self.run.is_finished(stage.name):
            load_modules(self.run.stage_file(stage.name), stage.modules())
            return
        ranks = self.ranks if stage.shared else Ranks()
        outcome = run_stage(stage, schedule, self.run, ranks, self.watcher, self.clock)
        if outcome.interrupted:
            raise Interrupted(
                f"stopped in stage '{stage.name}' after update {outcome.updates}, saved; the same command goes on"
            )

    def _encode(self, data: Dataset, parts: Parts, name: str) -> Latents:
        self.step, path = "encode", self.run.path / "work" / f"{name}.npy"
        parts.model.eval()
        if not is_encoded(path, data.num_rows):
            with self._metered("encode", meter.of(parts.encoder, data.num_rows)):
                encode_rows(parts.model, data, path, self.watcher, self.compute)
        return load_latents(path, data, self.config.frameskip, self.config.encoder.scene_size)

    def _heads(self, latents: Latents, parts: Parts) -> Stage:
        """The stage of the chosen critic and habit; what it starts from (graphs, or places alone) is imagined first."""
        with self._metered("graphs"):
            graph = self._graphs(latents, parts)
            stage = heads_stage(latents, graph, parts.model.dynamics, parts.critic, parts.habit, self.config)
        self.clock.done("graphs")
        return stage

    def _graphs(self, latents: Latents, parts: Parts) -> Graph | None:
        self.step, path = "graphs", self.run.path / "work" / "graphs.safetensors"
        if path.is_file():
            tensors: Mapping[str, torch.Tensor] = read_tensors(path)[0]
            device = next(parts.model.parameters()).device
            return Graph(*(tensors[name].to(device) for name in ("scene", "state", "distance")))
        graph = graph_for(latents, parts.model.dynamics, parts.habit.space, self.config, self.watcher)
        if graph is not None:
            save_tensors(path, {"scene": graph.scene_GC, "state": graph.state_GNE, "distance": graph.distance_GNN})
        return graph


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does (stages catch both themselves, to end between two updates)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
