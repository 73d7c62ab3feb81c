"""The run folder: everything about a run, and the bundle that is deployed. No pickle; every file is replaced atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from forethought.errors import RunError
from forethought.training.files import write_atomic
from forethought.types import Effort, Energy, Known


@final
@dataclass(frozen=True)
class StageCost:
    """What a stage, or a step of fixed work (0 updates), cost. `flops`: None where no formula counts them."""

    updates: int
    effort: Effort
    flops: int | None = None

    def record(self) -> dict[str, Any]:
        """As it stands in files."""
        spent = self.effort
        return {
            "updates": self.updates,
            "seconds": round(spent.seconds, 3),
            "cpu_seconds": round(spent.cpu_seconds, 3),
            "accelerator_seconds": round(spent.accelerator_seconds, 3),
            "joules": round(spent.energy.joules, 3),
            "energy": spent.energy.known.value,
            "flops": self.flops,
        }

    @staticmethod
    def of(record: Mapping[str, Any]) -> StageCost:
        """From a file, of which older ones know neither FLOPs nor joules."""
        energy = Energy(float(record.get("joules", 0.0)), Known(record.get("energy", "unknown")))
        seconds, cpu_seconds, held = (
            float(record.get(name, 0.0)) for name in ("seconds", "cpu_seconds", "accelerator_seconds")
        )
        spent = Effort(seconds=seconds, cpu_seconds=cpu_seconds, accelerator_seconds=held, energy=energy)
        return StageCost(int(record.get("updates", 0)), spent, record.get("flops"))


@final
@dataclass(frozen=True)
class RunFolder:
    """Names inside a run folder, and its small journal of finished stages and clocks."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def latents(self) -> Path:
        return self.path / "work" / "latents.npy"

    @property
    def calibration(self) -> Path:
        return self.path / "calibration.json"

    @property
    def surprise(self) -> Path:
        """The monitor of surprise: what the unchanged world looks like."""
        return self.path / "surprise.safetensors"

    @property
    def trust(self) -> Path:
        """How far the habit is trusted."""
        return self.path / "trust.json"

    @property
    def replay(self) -> Path:
        """Held-out latents: what later learning is checked against."""
        return self.path / "replay.safetensors"

    @property
    def versions(self) -> Path:
        """What was learned after training: a folder a version, and `history.jsonl`."""
        return self.path / "versions"

    @property
    def intervals(self) -> Path:
        """How far the probe errs along imagined paths."""
        return self.path / "intervals.safetensors"

    @property
    def examples(self) -> Path:
        """Futures and worst transitions that the report shows."""
        return self.path / "examples.safetensors"

    @property
    def board(self) -> Path:
        """Where TensorBoard files go, if that package is installed."""
        return self.path / "tensorboard"

    @property
    def source(self) -> Path:
        """What identifies the log."""
        return self.path / "source.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def checkpoint(self, stage: str) -> Path:
        """Where an unfinished stage keeps what it needs to go on."""
        return self.path / "work" / f"{stage}.checkpoint.safetensors"

    def stage_file(self, stage: str) -> Path:
        """Where a finished stage keeps its weights."""
        return self.path / f"{stage}.safetensors"

    def is_finished(self, stage: str) -> bool:
        return stage in self._journal().get("finished", {})

    def finish_stage(self, stage: str, cost: StageCost) -> None:
        """Note that a stage is done, and drop its checkpoint."""
        self._note("finished", stage, cost)
        self.checkpoint(stage).unlink(missing_ok=True)

    def stage_costs(self) -> dict[str, StageCost]:
        """What every finished stage cost."""
        return {name: StageCost.of(record) for name, record in self._journal().get("finished", {}).items()}

    def clock(self, stage: str) -> Effort:
        """What an unfinished stage had used at its last checkpoint."""
        noted = self._journal().get("clocks", {}).get(stage, {})
        if isinstance(noted, list):  # as it was before energy was noted
            noted = {"seconds": noted[0], "cpu_seconds": noted[1]}
        return StageCost.of(noted).effort

    def save_clock(self, stage: str, spent: Effort) -> None:
        self._note("clocks", stage, StageCost(0, spent))

    def add_step(self, step: str, cost: StageCost) -> None:
        """Note what a step of fixed work cost, on top of what earlier calls spent on it."""
        before = self.step_costs().get(step, StageCost(0, Effort(), 0))
        flops = None if cost.flops is None or before.flops is None else before.flops + cost.flops
        self._note("steps", step, StageCost(0, before.effort + cost.effort, flops))

    def step_costs(self) -> dict[str, StageCost]:
        """What the steps between the stages cost."""
        return {name: StageCost.of(record) for name, record in self._journal().get("steps", {}).items()}

    def _note(self, group: str, name: str, cost: StageCost) -> None:
        journal = self._journal()
        journal.setdefault(group, {})[name] = cost.record()
        self._write_journal(journal)

    def spent(self) -> float:
        """Wall seconds of the whole run that were saved last."""
        return float(self._journal().get("spent", 0.0))

    def save_spent(self, seconds: float) -> None:
        self._write_journal({**self._journal(), "spent": round(seconds, 3)})

    def expected(self) -> dict[str, float]:
        """What steps of fixed work were expected to take when the run was fitted to its clock."""
        return dict(self._journal().get("expected", {}))

    def save_expected(self, costs: Mapping[str, float]) -> None:
        self._write_journal({**self._journal(), "expected": {name: round(cost, 3) for name, cost in costs.items()}})

    def append_metrics(self, line: str) -> None:
        """One JSON line. Raises RunError if there is no space."""
        try:
            with self.metrics.open("a") as handle:
                handle.write(line + "\n")
        except OSError as error:
            raise RunError(f"{self.metrics}: cannot be written ({error.strerror}); free space and go on") from None

    def truncate_metrics(self, stage: str, update: int) -> None:
        """Forget lines of a stage beyond an update: they will be made again."""
        if not self.metrics.is_file():
            return
        kept = [line for line in self.metrics.read_text().splitlines() if _keeps(line, stage, update)]
        write_atomic(self.metrics, "".join(line + "\n" for line in kept))

    def read_metrics(self) -> list[dict[str, Any]]:
        """All metrics lines, oldest first."""
        if not self.metrics.is_file():
            return []
        return [json.loads(line) for line in self.metrics.read_text().splitlines() if line]

    def _journal(self) -> dict[str, Any]:
        path = self.path / "journal.json"
        if not path.is_file():
            return {}
        try:
            journal: dict[str, Any] = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise RunError(f"{path}: not JSON ({error}); restore it, or train into a new folder") from None
        return journal

    def _write_journal(self, journal: dict[str, Any]) -> None:
        write_atomic(self.path / "journal.json", json.dumps(journal, indent=1) + "\n")


def _keeps(line: str, stage: str, update: int) -> bool:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:  # the last line of a killed run may be cut
        return False
    return bool(entry.get("stage") != stage or entry.get("update", 0) <= update)
