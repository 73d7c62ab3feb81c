"""What a run cost: its training by stage, and each solved task of the agents that were evaluated."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from forethought.agent.energy import WATTS_PER_ACCELERATOR, WATTS_PER_CORE
from forethought.errors import RunError
from forethought.training.run import RunFolder, StageCost
from forethought.types import Effort, Energy, Known


@final
@dataclass(frozen=True)
class TaskCost:
    """What one solved task cost an agent, failures included (inf: none was solved). `flops`: None in files of before."""

    agent: str
    n: int
    solved: int
    passes: float
    planner_calls: float
    flops: float | None
    cpu_seconds: float
    energy: Energy
    p50_ms: float
    p99_ms: float


@final
@dataclass(frozen=True)
class RunCost:
    """Stages, then steps between them, in the order of training; `task` and `agents` of the evaluation, if there is one."""

    stages: Mapping[str, StageCost]
    agents: tuple[TaskCost, ...]
    task: str = ""

    def training(self) -> StageCost:
        """All stages and steps together; FLOPs of what is counted."""
        costs = self.stages.values()
        flops = [cost.flops for cost in costs if cost.flops is not None]
        return StageCost(0, sum((c.effort for c in costs), Effort()), sum(flops) if flops else None)


def run_cost(run: str | os.PathLike[str], watts: float | None = None) -> RunCost:
    """Read what a run cost. `watts` per busy core: what estimates shall take, instead of what they took. Raises RunError."""
    folder = RunFolder(Path(run).expanduser())
    stages = {**folder.stage_costs(), **folder.step_costs()}
    if not stages:
        raise RunError(f"{folder.path}: no stage of a training is finished here; give a folder that `forethought train` wrote")
    stages = {name: replace(c, effort=_with_energy(c.effort, watts)) for name, c in stages.items()}
    path = folder.path / "evaluation.json"
    if not path.is_file():
        return RunCost(stages, ())
    try:
        learned = [r for r in json.loads(path.read_text())["results"] if r["p50_ms"]]
        agents = tuple(_task_cost(record, watts) for record in learned)
        return RunCost(stages, agents, learned[0]["task"] if learned else "")
    except (ValueError, KeyError, TypeError) as error:
        again = f"forethought eval {folder.path} --task TASK"
        raise RunError(f"{path}: not a result file ({error!r}); write it again: {again}") from None


def _task_cost(record: Mapping[str, Any], watts: float | None) -> TaskCost:
    outcomes: Sequence[Mapping[str, Any]] = record["outcomes"]
    solved = sum(bool(o["success"]) for o in outcomes)

    def each(total: float) -> float:
        return total / solved if solved else math.inf

    spent = sum((_effort(o) for o in outcomes), Effort())
    energy = _with_energy(spent, watts).energy
    flops = each(spent.flops) if all("flops" in o for o in outcomes) else None
    return TaskCost(
        record["agent"], len(outcomes), solved, each(spent.predictor_passes), each(spent.planner_calls), flops,
        each(spent.cpu_seconds), replace(energy, joules=each(energy.joules)), record["p50_ms"], record["p99_ms"],
    )  # fmt: skip


def _effort(outcome: Mapping[str, Any]) -> Effort:
    energy = Energy(float(outcome.get("joules", 0.0)), Known(outcome.get("energy", "unknown")))
    passes, calls = int(outcome["predictor_passes"]), int(outcome["planner_calls"])
    cpu, held = float(outcome["cpu_seconds"]), float(outcome.get("accelerator_seconds", 0.0))
    return Effort(passes, calls, 0.0, cpu, int(outcome.get("flops", 0)), held, energy)


def _with_energy(spent: Effort, watts: float | None) -> Effort:
    """Readings stay; what is not known is estimated, and estimates without an accelerator are made anew by other watts."""
    anew = watts is not None and spent.energy.known is Known.ESTIMATE and not spent.accelerator_seconds
    if spent.energy.known is not Known.UNKNOWN and not anew:
        return spent
    core = WATTS_PER_CORE if watts is None else watts
    joules = spent.cpu_seconds * core + spent.accelerator_seconds * WATTS_PER_ACCELERATOR
    return replace(spent, energy=Energy(joules, Known.ESTIMATE))
