"""Success on a task, from nothing: collect a log, train, evaluate, once for each seed, and leave the proof in scores/.

    python -m benchmarks.success two-room-random-v1 --seeds 0 1 2 --n 300

Each seed has its own log, training and pairs. What is finished in the work folder is not done again: seeds can be run one
by one, and the last call sums up all that it names. Delete the work folder after a change that should count.
Training time is CPU seconds of the whole training call on one thread: reading, every stage, graphs, calibration.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks._result import SCORES, write_result
from forethought.arena.evaluate import evaluate
from forethought.arena.protocol import command_line
from forethought.arena.statistics import wilson
from forethought.data import open_log, open_writer
from forethought.envs.scripted import script
from forethought.training.config import TrainConfig
from forethought.training.recipes import pointmaze, pusht_pixels, pusht_states, two_room_fixed, two_room_random
from forethought.training.run import RunFolder
from forethought.training.train import train


@dataclass(frozen=True)
class Setting:
    """How one task is learned: whose log (environment and scripted behaviour), how long, and the recipe by seed."""

    env: str
    policy: str
    episodes: int
    steps: int
    recipe: Callable[[int], TrainConfig]


SETTINGS = {
    "two-room-fixed-v1": Setting("forethought/TwoRoom-v1", "wander", 600, 64, two_room_fixed),
    "two-room-random-v1": Setting("forethought/TwoRoom-v1/random", "wander", 3700, 64, two_room_random),
    "ogbench-pointmaze-medium-v1": Setting("ogbench/pointmaze-medium", "navigate", 300, 1000, pointmaze),
    "ogbench-pointmaze-large-v1": Setting("ogbench/pointmaze-large", "navigate", 300, 1000, pointmaze),
    "ogbench-pointmaze-giant-v1": Setting("ogbench/pointmaze-giant", "navigate", 300, 1000, pointmaze),
    "pusht-states-v1": Setting("gym_pusht/PushT-v0/states", "pusher", 2000, 100, pusht_states),
    "pusht-pixels-v1": Setting("gym_pusht/PushT-v0", "pusher", 1500, 100, pusht_pixels),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, run every seed, sum up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=sorted(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n", type=int, default=300, help="pairs a seed")
    parser.add_argument("--modes", nargs="+", default=["plan", "habit"], help="plan, habit, latent")
    parser.add_argument("--work", type=Path, default=Path("runs/success"), help="logs and runs, kept to go on from")
    parser.add_argument("--out", type=Path, default=SCORES)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    seeds = [run_seed(options.task, seed, options.n, tuple(options.modes), options.work) for seed in options.seeds]
    for seed, folder in zip(options.seeds, seeds, strict=True):
        target = options.out / options.task / f"seed-{seed}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "evaluation.json", target)
    summary = summed_up(options.task, seeds)
    path = write_result(options.out / f"{options.task}.json", command_line(), summary)
    print(described(summary), f"\nwritten: {path}")


def run_seed(task: str, seed: int, count: int, modes: tuple[str, ...], work: Path) -> Path:
    """One seed from nothing to figures; returns its folder: log.h5, run/, costs.json, evaluation.json."""
    setting, folder = SETTINGS[task], work / task / f"seed-{seed}"
    log, run, target = folder / "log.h5", folder / "run", folder / "evaluation.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not log.exists() or len(open_log(log)) < setting.episodes:
        with metered(folder, "collect"):
            collect(setting, log, seed)
    if not RunFolder(run).calibration.exists():
        with metered(folder, "train"):
            train(log, run, setting.recipe(seed))
    torch.set_num_threads(1)
    if not _holds(target, count, modes):
        with metered(folder, "evaluate"):
            evaluate(run, task, count=count, seed=seed, modes=modes, out=target)
    return folder


def _holds(evaluation: Path, count: int, modes: tuple[str, ...]) -> bool:
    """Is that file an evaluation of so many pairs in these modes?"""
    if not evaluation.exists():
        return False
    found = {entry["agent"]: entry["n"] for entry in json.loads(evaluation.read_text())["results"]}
    return all(found.get(mode) == count for mode in modes)


def collect(setting: Setting, log: Path, seed: int) -> None:
    """Record what the log still lacks."""
    chosen = script(setting.env, setting.policy)
    writer = open_writer(log, chosen.spec())
    for episode in chosen.record(len(writer), setting.episodes, setting.steps, seed):
        writer.append(episode)
    writer.close()


@contextmanager
def metered(folder: Path, part: str) -> Iterator[None]:
    """Adds the block's CPU and wall seconds to the folder's costs.json: a part that goes on adds to what it had."""
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        yield
    finally:
        costs = read_costs(folder)
        before = costs.get(part, {"cpu_seconds": 0.0, "seconds": 0.0})
        spent = {"cpu_seconds": time.process_time() - cpu, "seconds": time.perf_counter() - wall}
        costs[part] = {name: before[name] + value for name, value in spent.items()}
        (folder / "costs.json").write_text(json.dumps(costs, indent=1) + "\n")


def read_costs(folder: Path) -> dict[str, dict[str, float]]:
    """Part -> cpu_seconds, seconds."""
    path = folder / "costs.json"
    costs: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
    return costs


def summed_up(task: str, folders: Sequence[Path]) -> dict[str, Any]:
    """All seeds together: the log, its cost, training's cost by seed, success by agent and class with Wilson intervals."""
    records = [json.loads((folder / "evaluation.json").read_text()) for folder in folders]
    costs = [read_costs(folder) for folder in folders]
    log, setting = open_log(folders[0] / "log.h5"), SETTINGS[task]
    agents = [entry["agent"] for entry in records[0]["results"]]
    return {
        "task": task,
        "seeds": [record["seeds"][0] for record in records],
        "log": {
            "env": setting.env, "policy": setting.policy, "episodes": len(log), "steps": sum(log.lengths()),
            "cpu_seconds": [cost["collect"]["cpu_seconds"] for cost in costs],
        },
        "training_cpu_seconds": [cost["train"]["cpu_seconds"] for cost in costs],
        "training_stages": [record["training"]["stages"] for record in records],
        "agents": {name: pooled([_entry(record, name) for record in records]) for name in agents},
    }  # fmt: skip


def _entry(record: dict[str, Any], agent: str) -> dict[str, Any]:
    entry: dict[str, Any] = next(e for e in record["results"] if e["agent"] == agent)
    return entry


def pooled(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One agent over all seeds."""
    outcomes = [outcome for entry in entries for outcome in entry["outcomes"]]
    classes = sorted({name for outcome in outcomes for name in outcome["classes"]})
    groups = {name: [o for o in outcomes if name in o["classes"]] for name in classes}
    return {
        "n": len(outcomes),
        "success": asdict(wilson(sum(o["success"] for o in outcomes), len(outcomes))),
        "by_seed": [entry["success"]["share"] for entry in entries],
        "classes": {
            name: {"n": len(group), **asdict(wilson(sum(o["success"] for o in group), len(group)))}
            for name, group in groups.items()
        },
        "illegal": sum(not o["legal"] for o in outcomes),
        "p50_ms": [entry["p50_ms"] for entry in entries],
        "p99_ms": [entry["p99_ms"] for entry in entries],
        "cpu_seconds_per_solved": [entry["cpu_seconds_per_solved"] for entry in entries],
    }


def described(summary: dict[str, Any]) -> str:
    """The summary as a person reads it."""
    log, minutes = summary["log"], [f"{s / 60:.1f}" for s in summary["training_cpu_seconds"]]
    lines = [
        f"{summary['task']}: log {log['episodes']} episodes, {log['steps']} steps a seed; training {', '.join(minutes)} CPU min"
    ]
    for name, agent in summary["agents"].items():
        seeds = ", ".join(f"{100 * share:.1f}" for share in agent["by_seed"])
        classes = "  ".join(f"{c} {100 * v['share']:.1f} (n {v['n']})" for c, v in agent["classes"].items())
        low, high = 100 * agent["success"]["low"], 100 * agent["success"]["high"]
        line = f"  {name:<9}{100 * agent['success']['share']:5.1f} [{low:.1f}, {high:.1f}] n = {agent['n']}  seeds {seeds}"
        lines.append(f"{line}  {classes}")
        if agent["p50_ms"][0]:
            lines.append(f"{'':<11}p50 {max(agent['p50_ms']):.1f} ms, p99 {max(agent['p99_ms']):.1f} ms (worst seed)")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
