"""Does a result file tell the truth? Its figures are added up again, and a sample of its episodes is run again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from forethought.arena.evaluate import MODES, agent_in_mode
from forethought.arena.protocol import Outcome, evaluate, evaluate_rule
from forethought.arena.statistics import wilson
from forethought.arena.task import Pair, Task
from forethought.arena.tasks import make_task
from forethought.errors import RunError
from forethought.training.bundle import load_parts

COMPARED = ("success", "legal", "steps", "predictor_passes", "planner_calls")
"""What must come out the same; times never do."""


@final
@dataclass(frozen=True)
class Verification:
    """`checked` episodes run again, `differences` in words (empty: it agrees), and what could not be run here."""

    checked: int
    differences: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        return self.checked > 0 and not self.differences


def verify(
    file: str | os.PathLike[str], *, sample: int = 20, seed: int = 0, run: str | os.PathLike[str] | None = None
) -> Verification:
    """Run a random `sample` of each result's episodes again. The agents come from `run`, or the run that holds the file.

    Searches agree to the bit on the machine and thread count that made them; elsewhere rounding may turn a decision.
    Raises RunError for a file that is no result file.
    """
    path = Path(file).expanduser()
    folder = Path(run).expanduser() if run is not None else path.parent
    checked, differences, skipped = 0, [], []
    for entry in _results(path):
        differences += _headline(entry)
        again = _again(entry["task"], entry["agent"], folder)
        if again is None:
            skipped.append(f"{entry['agent']}: no run in {folder}")
            continue
        outcomes = entry["outcomes"]
        chosen = np.random.default_rng(seed).permutation(len(outcomes))[:sample]
        said = {o["pair"]: o for o in (outcomes[i] for i in chosen)}
        pairs = [pair for pair in _pairs(make_task(entry["task"]), list(said), path) if pair.id in said]
        for outcome in again(pairs):
            checked += 1
            differences += _differences(entry["agent"], said[outcome.pair], outcome)
        lost = sorted(set(said) - {pair.id for pair in pairs})
        differences += [f"{entry['agent']}: {name} is no pair of the task" for name in lost]
    return Verification(checked, tuple(differences), tuple(skipped))


def _results(path: Path) -> list[dict[str, Any]]:
    try:
        results = json.loads(path.read_text())["results"]
        complete = [{key: entry[key] for key in ("task", "agent", "n", "success", "outcomes")} for entry in results]
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); give a file that `forethought eval` wrote") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: not a result file ({error!r}); give a file that `forethought eval` wrote") from None
    return complete


def _again(task: str, agent: str, folder: Path) -> Callable[[list[Pair]], tuple[Outcome, ...]] | None:
    """What runs that agent on pairs, or None for an agent of a run that is not there."""
    chosen = make_task(task)
    rule = chosen.floors().get(agent)
    if rule is not None:
        return lambda pairs: evaluate_rule(rule, chosen, pairs, agent).outcomes
    if agent not in MODES or not (folder / "config.json").is_file():
        return None
    spec, config, parts = load_parts(folder)
    built = agent_in_mode(parts, spec, config, agent)
    return lambda pairs: evaluate(built, chosen, pairs, agent).outcomes


def _pairs(task: Task, ids: list[str], path: Path) -> tuple[Pair, ...]:
    """The task's pairs up to the last one named; ids end in seed / index."""
    try:
        places = [(int(seed), int(index)) for seed, index in (name.split("/")[-2:] for name in ids)]
    except ValueError:
        raise RunError(f"{path}: pair ids such as {ids[0]!r} do not end in seed/index; the file was changed") from None
    seeds = sorted({seed for seed, _ in places})
    return tuple(pair for seed in seeds for pair in task.pairs(1 + max(i for s, i in places if s == seed), seed))


def _headline(entry: dict[str, Any]) -> list[str]:
    outcomes = entry["outcomes"]
    recount = wilson(sum(bool(o["success"]) for o in outcomes), len(outcomes))
    found = []
    if entry["n"] != len(outcomes):
        found.append(f"{entry['agent']}: n is {entry['n']}, but {len(outcomes)} outcomes follow")
    if outcomes and entry["success"] != asdict(recount):
        found.append(f"{entry['agent']}: success is given as {entry['success']}, its outcomes add up to {recount}")
    illegal = sum(bool(o["success"]) and not o["legal"] for o in outcomes)
    return found + ([f"{entry['agent']}: {illegal} successes were illegal"] if illegal else [])


def _differences(agent: str, said: dict[str, Any], outcome: Outcome) -> list[str]:
    now = asdict(outcome)
    changed = [f"{name} {said.get(name)} is now {now[name]}" for name in COMPARED if said.get(name) != now[name]]
    return [f"{agent}: {outcome.pair}: {', '.join(changed)}"] if changed else []
