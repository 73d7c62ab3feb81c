"""Does the agent know when it is wrong, and how little can it think? On runs that benchmarks.success left in its folder.

    python -m benchmarks.surprise ogbench-pointmaze-medium-v1 --seeds 0 1 2

Per seed: coverage of 90 % intervals on the log's test episodes, by horizon; every shift (`forethought surprise`); how far the
habit is trusted (`forethought trust`), and then the ladder against always planning on the same fresh pairs. Writes
scores/surprise/TASK.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._result import SCORES, write_result
from benchmarks.success import SETTINGS
from forethought.arena.evaluate import LADDER, agent_in_mode
from forethought.arena.protocol import Result, command_line, evaluate
from forethought.arena.surprise import SurpriseFigures, measure_surprise
from forethought.arena.task import unsolved_pairs
from forethought.arena.tasks import make_task
from forethought.arena.trust import fit_trust
from forethought.cli.surprise import table
from forethought.data import open_log
from forethought.data.dataset import Dataset
from forethought.data.split import Split
from forethought.data.windows import block_actions
from forethought.surprise.fit import trace
from forethought.surprise.monitor import Traces
from forethought.training.bundle import load_parts
from forethought.training.latents import observation_rows
from forethought.training.run import RunFolder
from forethought.training.train import train

EPISODES = 300
"""Test episodes at most, for the coverage."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure every seed, sum up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=sorted(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--episodes", type=int, default=40, help="patrols under each shift, a seed")
    parser.add_argument("--calibrate", type=int, default=100, help="patrols to calibrate on, a seed")
    parser.add_argument("--pairs", type=int, default=200, help="pairs to fit the trust on, and to evaluate on, a seed")
    parser.add_argument("--work", type=Path, default=Path("runs/success"))
    parser.add_argument("--out", type=Path, default=SCORES / "surprise")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    seeds = [measure(options, seed) for seed in options.seeds]
    path = write_result(options.out / f"{options.task}.json", command_line(), {"seeds": options.seeds, "by_seed": seeds})
    print("written:", path)


def measure(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """All figures of one seed's run."""
    folder = options.work / options.task / f"seed-{seed}"
    run = RunFolder(folder / "run")
    if not run.surprise.is_file():  # made before runs had a monitor: calibrate again, on the same weights
        run.calibration.unlink()
        train(folder / "log.h5", run.path, SETTINGS[options.task].recipe(seed))
    began = time.process_time()
    figures = measure_surprise(run.path, options.task, episodes=options.episodes, calibrate=options.calibrate, seed=1000 * seed)
    print(f"seed {seed}, {time.process_time() - began:.0f} CPU s\n{table(figures)}", flush=True)
    found = {"coverage": coverage(run.path, folder / "log.h5"), **plain(figures), "ladder": ladder(options, run, seed)}
    print({k: found[k] for k in ("coverage", "ladder")}, flush=True)
    return found


def plain(figures: SurpriseFigures) -> dict[str, Any]:
    """As JSON has it: an alarm that never came is null."""
    record = asdict(figures)
    record |= {
        "auroc": figures.auroc,
        "worst": figures.worst,
        "soon": figures.soon,
        "false_per_10k": figures.per_ten_thousand(),
    }
    record["delay"] = figures.delay if np.isfinite(figures.delay) else None
    for shift in record["shifts"]:
        shift["delays"] = [d if np.isfinite(d) else None for d in shift["delays"]]
        shift["delay"] = shift["delay"] if np.isfinite(shift["delay"]) else None
    return record


def coverage(run: Path, log: Path) -> list[float]:
    """The share of held-out errors inside the 90 % interval, by horizon 1 to 10, on episodes of the log's test split."""
    _, config, parts = load_parts(run)
    assert parts.monitor is not None
    data, skip, episodes = Dataset.load(open_log(log), Split.TEST), config.frameskip, []
    for start, length in list(zip(data.starts, data.lengths, strict=True))[:EPISODES]:
        rows = int(start) + np.arange(int(length) // skip + 1) * skip
        with torch.inference_mode():
            z_TD = parts.model.encode(observation_rows(data, rows, torch.device("cpu"))).clone()
        readings = [{name: values[row] for name, values in data.sensors.items()} for row in rows]
        blocks = torch.from_numpy(block_actions(data, rows[:-1], skip))
        episodes.append(trace(parts.model, parts.monitor.signals, readings, z_TD, blocks))
    errors = Traces.of(episodes).errors_MG
    known = [e[np.isfinite(e)] for e in errors.T]
    return [
        float(np.mean(e <= kept.quantile(0.9))) if len(e) else float("nan")
        for e, kept in zip(known, parts.monitor.horizons, strict=True)
    ]


def ladder(options: argparse.Namespace, run: RunFolder, seed: int) -> dict[str, Any]:
    """Trust fitted, then the ladder against always planning on fresh pairs."""
    trust = fit_trust(run.path, options.task, count=options.pairs, seed=1000 * seed)
    spec, config, parts = load_parts(run.path)
    task = make_task(options.task)
    pairs = unsolved_pairs(task, options.pairs, seed)
    results = {m: evaluate(agent_in_mode(parts, spec, config, m), task, pairs, m) for m in (LADDER, "plan")}
    failed = [p.success and not r.success for r, p in zip(*(results[m].outcomes for m in (LADDER, "plan")), strict=True)]
    return {
        "trust": asdict(trust),
        "excess": float(np.mean(failed)),
        **{m: described(r, config.frameskip) for m, r in results.items()},
    }


def described(result: Result, frameskip: int) -> dict[str, Any]:
    """Success and cost; a decision is one of a block of `frameskip` steps."""
    decisions = sum(-(-o.steps // frameskip) for o in result.outcomes)
    return {
        "n": len(result.outcomes),
        "success": asdict(result.success()),
        "planner_share": sum(o.planner_calls for o in result.outcomes) / max(decisions, 1),
        "predictor_passes_per_solved": result.per_solved("predictor_passes"),
        "cpu_seconds_per_solved": result.per_solved("cpu_seconds"),
    }


if __name__ == "__main__":
    main()
