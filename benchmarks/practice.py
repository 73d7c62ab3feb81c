"""How often must a practised agent search? Planner calls a task, over practice, and after the world changes.

    python -m benchmarks.practice ogbench-pointmaze-medium-v1 --seeds 0

On runs that benchmarks.success left, and whose habit `forethought trust` measured. The agent remembers the plans of every task
that succeeded. After `--tasks` tasks a shift strikes from each task's first step. Writes scores/practice/TASK.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._result import SCORES, write_result
from forethought.agent.agent import ForethoughtAgent
from forethought.arena.evaluate import LADDER, agent_in_mode
from forethought.arena.protocol import command_line
from forethought.arena.shifts import SHIFTS, Shifted
from forethought.arena.task import Pair, Task, unsolved_pairs
from forethought.arena.tasks import make_task
from forethought.errors import RunError
from forethought.training.bundle import load_parts

PRACTISED = 50_000_017
GROUP = 20
"""Where the seeds of pairs begin; tasks that one line of the curve sums up."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, practise, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", type=int, default=160)
    parser.add_argument("--after", type=int, default=40, help="tasks after the shift")
    parser.add_argument("--shift", choices=sorted(SHIFTS), default="gain")
    parser.add_argument("--work", type=Path, default=Path("runs/success"))
    parser.add_argument("--out", type=Path, default=SCORES / "practice")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    curves = {str(seed): practise(options, seed) for seed in options.seeds}
    path = write_result(options.out / f"{options.task}.json", command_line(), {"shift": options.shift, "by_seed": curves})
    print("written:", path)


def practise(options: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """The curve of one seed, a line for every GROUP tasks."""
    run = options.work / options.task / f"seed-{seed}" / "run"
    spec, config, parts = load_parts(run)
    if parts.trust is None or parts.monitor is None:
        raise RunError(f"{run}: nobody has measured its habit; `forethought trust {run} --task {options.task}` does")
    agent, task = agent_in_mode(parts, spec, config, LADDER), make_task(options.task)
    units = {s.sensor.name: s.scale_F for s in parts.monitor.signals.senses}
    pairs = [p for p in unsolved_pairs(task, options.tasks + options.after, seed + PRACTISED) if not p.solved_at_start]
    done: list[dict[str, Any]] = []
    lines = []
    for index, pair in enumerate(pairs):
        shift = SHIFTS[options.shift](np.random.default_rng(pair.key), spec, units) if index >= options.tasks else None
        done.append(one_task(agent, task, pair, shift))
        if len(done) == GROUP:
            line = summed(done, index + 1, options.shift if shift else "", len(agent.memory))
            print(f"seed {seed}", line, flush=True)
            lines.append(line)
            done = []
    return lines


def one_task(agent: ForethoughtAgent, task: Task, pair: Pair, shift: Any) -> dict[str, Any]:
    """Act it out, and remember it if it succeeded."""
    episode = Shifted(task.begin(pair), shift, 0)
    moment, state, decisions, calls, modes = episode.start, agent.init(episode.goal, pair.key), [], 0, []
    for _ in range(task.budget):
        fresh = not state.pending
        decision, state = agent.act(moment.observation, state)
        if fresh:
            decisions.append((decision, state))
            modes.append(decision.mode.value)
            calls += decision.effort.planner_calls
        moment = episode.step(decision.action)
        if moment.reached:
            break
    success = moment.reached and moment.legal
    if success and shift is None:
        agent.practised(decisions)
    alarmed = any(d.surprise is not None and d.surprise.height >= 1 for d, _ in decisions)
    return {"success": success, "calls": calls, "decisions": len(decisions), "alarmed": alarmed, "modes": modes}


def summed(done: list[dict[str, Any]], tasks: int, shift: str, memory: int) -> dict[str, Any]:
    """One line of the curve."""
    decisions = sum(d["decisions"] for d in done)
    modes = [mode for d in done for mode in d["modes"]]
    return {
        "tasks": tasks,
        "shift": shift,
        "success": sum(d["success"] for d in done) / len(done),
        "planner_calls_a_task": sum(d["calls"] for d in done) / len(done),
        "planner_share": sum(d["calls"] for d in done) / max(decisions, 1),
        "alarmed": sum(d["alarmed"] for d in done) / len(done),
        "modes": {mode: modes.count(mode) / max(len(modes), 1) for mode in sorted(set(modes))},
        "memory": memory,
    }


if __name__ == "__main__":
    main()
