"""The honest protocol: same pairs for everyone, every episode its own stream, cost beside success."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias, final

import numpy as np

from forethought.agent.protocol import Agent
from forethought.arena.statistics import Interval, percentile, wilson
from forethought.arena.task import Pair, Rule, RunningEpisode, Task
from forethought.arena.workers import spread
from forethought.data.durable import atomic_write_bytes
from forethought.types import Decision, Effort, Known, Mode, State

Watch: TypeAlias = Callable[[RunningEpisode, Decision, State], None]

CLAIM = 300
"""Fewer pairs than this are for developing, and say so."""


@final
@dataclass(frozen=True)
class Outcome:
    """One pair's result. `milliseconds` holds each decision's time that was not the continuation of a block."""

    pair: str
    classes: tuple[str, ...]
    success: bool
    legal: bool
    steps: int
    predictor_passes: int = 0
    planner_calls: int = 0
    cpu_seconds: float = 0.0
    milliseconds: tuple[float, ...] = ()
    flops: int = 0
    accelerator_seconds: float = 0.0
    joules: float = 0.0
    energy: Known = Known.UNKNOWN


@final
@dataclass(frozen=True)
class Result:
    """All outcomes of one agent on one task; pairs already solved at the start were removed, and are counted."""

    task: str
    agent: str
    outcomes: tuple[Outcome, ...]
    solved_at_start: int

    def success(self, group: str | None = None) -> Interval:
        """Success with its Wilson interval, over all pairs or one class of them."""
        chosen = self.of(group)
        return wilson(sum(o.success for o in chosen), len(chosen))

    def of(self, group: str | None) -> list[Outcome]:
        """The outcomes of a class (None: all)."""
        return [o for o in self.outcomes if group is None or group in o.classes]

    def latency(self, share: float) -> float:
        """A percentile of milliseconds a decision."""
        return percentile([ms for o in self.outcomes for ms in o.milliseconds], share)

    def per_solved(self, what: str) -> float:
        """Mean passes, planner calls, FLOPs, seconds or joules spent, failures included, per task solved (inf: none was)."""
        total, solved = sum(float(getattr(o, what)) for o in self.outcomes), sum(o.success for o in self.outcomes)
        return total / solved if solved else math.inf

    def marks(self) -> tuple[str, ...]:
        """What stands in the way of a claim; printed beside the figure."""
        return (f"n = {len(self.outcomes)}, fewer than {CLAIM}: for developing only",) if len(self.outcomes) < CLAIM else ()


def evaluate(
    agent: Agent,
    task: Task,
    pairs: Sequence[Pair],
    name: str,
    progress: Callable[[int], None] | None = None,
    *,
    workers: int = 1,
) -> Result:
    """Run an agent on every pair that is not solved at the start. Results depend neither on the pairs' order nor on `workers`.

    Several workers disturb each other's clocks: take milliseconds and CPU seconds from one.
    """
    return _run(lambda pair: run_episode(agent, task, pair), task, pairs, name, progress, workers)


def evaluate_rule(rule: Rule, task: Task, pairs: Sequence[Pair], name: str) -> Result:
    """The same for a floor or an oracle."""
    return _run(lambda pair: _run_rule(rule, task, pair), task, pairs, name, None)


def run_episode(agent: Agent, task: Task, pair: Pair, watch: Watch | None = None) -> Outcome:
    """One pair: success counts only if every move until then was legal. `watch` sees each decision before its step."""
    episode = task.begin(pair)
    moment, state = episode.start, agent.init(episode.goal, pair.key)
    spent, times, steps = Effort(), [], 0
    while steps < task.budget and not (moment.reached and moment.legal):
        began = time.perf_counter()
        decision, state = agent.act(moment.observation, state)
        if decision.mode is not Mode.CONTINUE:
            times.append(1e3 * (time.perf_counter() - began))
        if watch is not None:
            watch(episode, decision, state)
        moment = episode.step(decision.action)
        steps += 1
        spent += decision.effort
    reached = moment.reached and moment.legal
    return Outcome(
        pair.id,
        pair.classes,
        reached,
        moment.legal,
        steps,
        spent.predictor_passes,
        spent.planner_calls,
        spent.cpu_seconds,
        tuple(times),
        spent.flops,
        spent.accelerator_seconds,
        spent.energy.joules,
        spent.energy.known,
    )


def _run_rule(rule: Rule, task: Task, pair: Pair) -> Outcome:
    episode, stream = task.begin(pair), np.random.default_rng(pair.key)
    moment, steps = episode.start, 0
    while steps < task.budget and not (moment.reached and moment.legal):
        moment = episode.step(rule(episode, stream))
        steps += 1
    return Outcome(pair.id, pair.classes, moment.reached and moment.legal, moment.legal, steps)


def _run(
    one: Callable[[Pair], Outcome],
    task: Task,
    pairs: Sequence[Pair],
    name: str,
    progress: Callable[[int], None] | None,
    workers: int = 1,
) -> Result:
    outcomes = []
    for index, outcome in enumerate(spread(one, [p for p in pairs if not p.solved_at_start], workers)):
        outcomes.append(outcome)
        if progress is not None:
            progress(index + 1)
    return Result(task.id, name, tuple(outcomes), sum(p.solved_at_start for p in pairs))


def save_results(path: Path, results: Sequence[Result], seeds: Sequence[int], training: object = None) -> None:
    """A result file: command, commit, versions, machine, seeds, n, figures, and every pair's outcome."""
    record = {
        "command": command_line(),
        "commit": _commit(),
        "versions": _versions(),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "seeds": list(seeds),
        "n": max((len(result.outcomes) for result in results), default=0),
        "training": training,
        "results": [_record(result) for result in results],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, (json.dumps(_plain(record), indent=1, allow_nan=False) + "\n").encode())


def command_line() -> str:
    """The command that started this process, as a person would type it, without the folders of programs."""
    if "-m" in sys.orig_argv[:-1]:
        return " ".join(["python", *sys.orig_argv[sys.orig_argv.index("-m") :]])
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _record(result: Result) -> dict[str, object]:
    classes = sorted({name for o in result.outcomes for name in o.classes})
    outcomes = [{k: v for k, v in asdict(o).items() if k != "milliseconds"} for o in result.outcomes]
    return {
        "task": result.task,
        "agent": result.agent,
        "n": len(result.outcomes),
        "solved_at_start": result.solved_at_start,
        "marks": list(result.marks()),
        "success": asdict(result.success()),
        "classes": {name: {"n": len(result.of(name)), **asdict(result.success(name))} for name in classes},
        "p50_ms": result.latency(0.5),
        "p99_ms": result.latency(0.99),
        "predictor_passes_per_solved": result.per_solved("predictor_passes"),
        "cpu_seconds_per_solved": result.per_solved("cpu_seconds"),
        "flops_per_solved": result.per_solved("flops"),
        "joules_per_solved": result.per_solved("joules"),
        "outcomes": outcomes,
    }


def _plain(value: object) -> object:
    """JSON has no NaN and no infinity: a figure that does not exist is null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return done.stdout.strip() or "unknown"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("forethought", "torch", "numpy", "gymnasium", "ogbench", "gym-pusht"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
