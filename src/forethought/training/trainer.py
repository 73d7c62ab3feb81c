"""One training loop for every stage. A stage's batch is a function of (seed, update), so a resumed run repeats nothing."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import final

import torch
from torch import Tensor, nn

from forethought.agent.energy import Gauge, Stopwatch
from forethought.errors import TrainingError
from forethought.training.board import Board, board_for
from forethought.training.checkpoint import load_training, save_modules, save_training
from forethought.training.clock import Clock
from forethought.training.distributed import Ranks, average_gradients
from forethought.training.progress import Progress, Silent, Watcher
from forethought.training.run import RunFolder, StageCost
from forethought.training.schedule import Schedule
from forethought.types import Effort


class Stage(ABC):
    """One stage: named modules, and a loss that depends on nothing but the modules and the update's number."""

    name: str
    frames_per_update: int = 0
    shared: bool = False  # do all ranks work on it, each on its share of the batch?

    @abstractmethod
    def modules(self) -> Mapping[str, nn.Module]:
        """All that is saved: trained modules, targets, sampling state."""

    @abstractmethod
    def trained(self) -> list[nn.Parameter]:
        """What the optimizer moves."""

    @abstractmethod
    def loss(self, update: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of that update and what to log (scalars)."""

    @abstractmethod
    def flops(self) -> int:
        """FLOPs of one update, all ranks together, forward and backward (`agent/meter.py`)."""

    def note(self) -> Mapping[str, str]:
        """Kept in the finished stage's file beside the weights: at most one entry, or the file's bytes could differ."""
        return {}

    def after_update(self, update: int) -> None:  # noqa: B027
        """Targets, teachers, sampling weights."""

    def monitor(self, update: int, metrics: Mapping[str, float]) -> Mapping[str, float]:
        """Called at every log line; may add figures, and raises CollapseError when training is lost."""
        return {}


@final
@dataclass
class Outcome:
    """How a stage ended."""

    updates: int
    seconds: float
    cpu_seconds: float
    interrupted: bool = False
    last: Mapping[str, float] = field(default_factory=dict)


def run_stage(
    stage: Stage,
    schedule: Schedule,
    run: RunFolder,
    ranks: Ranks | None = None,
    watcher: Watcher | None = None,
    clock: Clock | None = None,
) -> Outcome:
    """Train a stage to its end, resuming from its checkpoint if there is one. On Ctrl-C saves and says so in the outcome.

    With a `clock` that has seconds, the stage takes its share of them, whatever the schedule says.
    """
    return _Loop(stage, schedule, run, ranks or Ranks(), watcher or Silent(), clock or Clock(run)).run()


@final
class _Loop:
    def __init__(self, stage: Stage, schedule: Schedule, run: RunFolder, ranks: Ranks, watcher: Watcher, clock: Clock) -> None:
        self.stage, self.run_folder, self.ranks, self.watcher, self.clock = stage, run, ranks, watcher, clock
        self.spent = run.clock(stage.name)
        self.schedule = schedule
        device = stage.trained()[0].device
        self.optimizer = torch.optim.AdamW(
            stage.trained(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=device.type in ("cpu", "cuda")
        )
        self.checkpoint = run.checkpoint(stage.name)
        self.done = 0
        self.board: Board | None = None

    def run(self) -> Outcome:
        if self.checkpoint.is_file():
            self.done = load_training(self.checkpoint, self.stage.modules(), self.optimizer)
            self.watcher.note(f"{self.stage.name}: going on after update {self.done}")
        if self.ranks.is_main:
            self.run_folder.truncate_metrics(self.stage.name, self.done)
            self.board = board_for(self.run_folder.board / self.stage.name, self.done)
        # Only now, as making the first optimizer of a process imports for seconds.
        share = self.clock.share(self.stage.name, self.spent.seconds)
        self.schedule = self.schedule if share is None else replace(self.schedule, seconds=share)
        self.started = self.saved = time.perf_counter()
        self.watch = Stopwatch(Gauge.find(self.stage.trained()[0].device))
        self.elsewhere = self.spent.seconds
        first = self.done
        metrics: dict[str, float] = {}
        with _deferred_interrupt() as interrupted:
            progress, stop = self.ranks.agree(self._progress(), interrupted.is_set())
            while progress < 1.0 and not stop:
                logged = self._update(progress)
                progress, stop = self.ranks.agree(self._progress(), interrupted.is_set())
                if self.done % self.schedule.log_every == 0 or progress >= 1.0:
                    metrics = self._report(first, progress, *logged)
                self._save_if_due()
        if stop:
            self._save()
        elif self.ranks.is_main:
            save_modules(self.run_folder.stage_file(self.stage.name), self.stage.modules(), self.stage.note())
            self.run_folder.finish_stage(self.stage.name, StageCost(self.done, self._spent(), self.done * self.stage.flops()))
            self.clock.save()
        spent = self._spent()
        return Outcome(self.done, spent.seconds, spent.cpu_seconds, stop, metrics)

    def _spent(self) -> Effort:
        """So far, earlier calls included. Called at every checkpoint: between two of them no energy counter wraps twice."""
        self.spent += self.watch.lap()
        return self.spent

    def _elapsed(self) -> float:
        """Wall seconds so far, earlier calls included."""
        return self.elsewhere + time.perf_counter() - self.started

    def _progress(self) -> float:
        if self.schedule.seconds is None:
            return self.done / max(self.schedule.updates, 1)
        return self._elapsed() / self.schedule.seconds

    def _update(self, progress: float) -> tuple[Tensor, Mapping[str, Tensor]]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.done, progress)
        self.optimizer.zero_grad(set_to_none=True)
        loss, logged = self.stage.loss(self.done)
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.stage.trained(), self.ranks)
        norm = nn.utils.clip_grad_norm_(self.stage.trained(), self.schedule.clip)
        if not math.isfinite(float(norm)):
            raise TrainingError(
                f"{self.stage.name}: the gradient at update {self.done} is {float(norm)}; "
                "lower the learning rate, or check the log for NaN with `forethought data check`"
            )
        self.optimizer.step()
        self.stage.after_update(self.done)
        self.done += 1
        return loss.detach(), logged

    def _report(self, first: int, progress: float, loss: Tensor, logged: Mapping[str, Tensor]) -> dict[str, float]:
        metrics = {"loss": loss.item(), **{key: value.item() for key, value in logged.items()}}
        metrics.update(self.stage.monitor(self.done, metrics))
        if self.ranks.is_main:
            line = {"stage": self.stage.name, "update": self.done, **{k: round(v, 6) for k, v in metrics.items()}}
            self.run_folder.append_metrics(json.dumps(line))
            if self.board is not None:
                self.board.add(self.done, metrics)
        elapsed = time.perf_counter() - self.started
        per_second = (self.done - first) / max(elapsed, 1e-9)
        timed = self.schedule.seconds is not None
        total = max(self.done, int(self.done / max(progress, 1e-9))) if timed else self.schedule.updates
        frames, left = per_second * self.stage.frames_per_update, (total - self.done) / per_second
        self.watcher.progress(Progress(self.stage.name, self.done, total, metrics, frames, left))
        return metrics

    def _save_if_due(self) -> None:
        if time.perf_counter() - self.saved > self.schedule.checkpoint_seconds:
            self._save()

    def _save(self) -> None:
        if self.ranks.is_main:
            save_training(self.checkpoint, self.stage.modules(), self.optimizer, self.done)
            self.run_folder.save_clock(self.stage.name, self._spent())
            self.clock.save()
        self.saved = time.perf_counter()


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set a flag that is read between updates, so that no update is cut in half."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def handle(number: int, frame: FrameType | None) -> None:
        flag.set()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
