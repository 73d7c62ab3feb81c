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
from dataclasses import dataclass, field
from types import FrameType
from typing import final

import torch
from torch import Tensor, nn

from forethought.config import Count, Positive, Share, Weight
from forethought.errors import TrainingError
from forethought.training.checkpoint import load_training, save_modules, save_training
from forethought.training.distributed import Ranks, average_gradients
from forethought.training.progress import Progress, Silent, Watcher
from forethought.training.run import RunFolder


@final
@dataclass(frozen=True)
class Schedule:
    """How long and how fast: a fixed number of updates, or seconds of wall clock (then `updates` is ignored).

    The rate warms up, stays, and falls linearly over the last `decay` share (WSD), so a longer run shares its beginning.
    """

    updates: Count
    learning_rate: Positive
    weight_decay: Weight = 1e-3
    warmup: Count = 50
    decay: Share = 0.3
    clip: Positive = 1.0
    seconds: Positive | None = None
    log_every: Count = 50
    checkpoint_seconds: Weight = 15.0

    def rate(self, update: int, progress: float) -> float:
        """Learning rate of an update, given the share of the stage that is done (0..1)."""
        rise = min(1.0, (update + 1) / self.warmup)
        fall = min(1.0, (1.0 - progress) / self.decay) if self.decay > 0 else 1.0
        return self.learning_rate * rise * max(fall, 0.02)


class Stage(ABC):
    """One stage: named modules, and a loss that depends on nothing but the modules and the update's number."""

    name: str
    frames_per_update: int = 0

    @abstractmethod
    def modules(self) -> Mapping[str, nn.Module]:
        """All that is saved: trained modules, targets, sampling state."""

    @abstractmethod
    def trained(self) -> list[nn.Parameter]:
        """What the optimizer moves."""

    @abstractmethod
    def loss(self, update: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of that update and what to log (scalars)."""

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
    stage: Stage, schedule: Schedule, run: RunFolder, ranks: Ranks | None = None, watcher: Watcher | None = None
) -> Outcome:
    """Train a stage to its end, resuming from its checkpoint if there is one. On Ctrl-C saves and says so in the outcome."""
    ranks, watcher = ranks or Ranks(), watcher or Silent()
    return _Loop(stage, schedule, run, ranks, watcher).run()


@final
class _Loop:
    def __init__(self, stage: Stage, schedule: Schedule, run: RunFolder, ranks: Ranks, watcher: Watcher) -> None:
        self.stage, self.schedule, self.run_folder, self.ranks, self.watcher = stage, schedule, run, ranks, watcher
        device = stage.trained()[0].device
        self.optimizer = torch.optim.AdamW(
            stage.trained(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=device.type in ("cpu", "cuda")
        )
        self.checkpoint = run.checkpoint(stage.name)
        self.done = 0
        self.before = run.clock(stage.name)

    def run(self) -> Outcome:
        if self.checkpoint.is_file():
            self.done = load_training(self.checkpoint, self.stage.modules(), self.optimizer)
            self.watcher.note(f"{self.stage.name}: going on after update {self.done}")
        self.run_folder.truncate_metrics(self.stage.name, self.done)
        self.started, self.cpu_started = time.perf_counter(), time.process_time()
        self.saved = self.started
        first = self.done
        metrics: dict[str, float] = {}
        with _deferred_interrupt() as interrupted:
            while self._progress() < 1.0 and not interrupted.is_set():
                metrics = self._update(first) or metrics
                self._save_if_due()
        if interrupted.is_set():
            self._save()
        elif self.ranks.is_main:
            save_modules(self.run_folder.stage_file(self.stage.name), self.stage.modules(), self.stage.note())
            self.run_folder.finish_stage(self.stage.name, self.done, *self._clocks())
        return Outcome(self.done, *self._clocks(), interrupted.is_set(), metrics)

    def _clocks(self) -> tuple[float, float]:
        wall, cpu = time.perf_counter() - self.started, time.process_time() - self.cpu_started
        return self.before[0] + wall, self.before[1] + cpu

    def _progress(self) -> float:
        if self.schedule.seconds is None:
            return self.done / max(self.schedule.updates, 1)
        return self._clocks()[0] / self.schedule.seconds

    def _update(self, first: int) -> dict[str, float] | None:
        progress = self._progress()
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
        if self.done % self.schedule.log_every and self._progress() < 1.0:
            return None
        return self._report(first, loss.item(), logged)

    def _report(self, first: int, loss: float, logged: Mapping[str, Tensor]) -> dict[str, float]:
        metrics = {"loss": loss, **{key: value.item() for key, value in logged.items()}}
        metrics.update(self.stage.monitor(self.done, metrics))
        elapsed = time.perf_counter() - self.started
        per_second = (self.done - first) / max(elapsed, 1e-9)
        if self.ranks.is_main:
            line = {"stage": self.stage.name, "update": self.done, **{k: round(v, 6) for k, v in metrics.items()}}
            self.run_folder.append_metrics(json.dumps(line))
        total = (
            self.schedule.updates
            if self.schedule.seconds is None
            else max(self.done, int(self.done / max(self._progress(), 1e-9)))
        )
        self.watcher.progress(
            Progress(
                self.stage.name,
                self.done,
                total,
                metrics,
                per_second * self.stage.frames_per_update,
                (total - self.done) / per_second,
            )
        )
        return metrics

    def _save_if_due(self) -> None:
        if time.perf_counter() - self.saved > self.schedule.checkpoint_seconds:
            self._save()

    def _save(self) -> None:
        if self.ranks.is_main:
            save_training(self.checkpoint, self.stage.modules(), self.optimizer, self.done)
            self.run_folder.save_clock(self.stage.name, *self._clocks())
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
