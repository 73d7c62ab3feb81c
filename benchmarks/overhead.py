"""What the configurator itself costs at a decision: surprise and ladder, without encoder, habit and search.

    python -m benchmarks.overhead ogbench-pointmaze-medium-v1 two-room-random-v1 pusht-states-v1

On runs that benchmarks.success left in its folder. The agent is calibrated on a few patrols of its own, as `forethought trust`
does it, and walks by its habit. At each decision every part is called again on the same state, five times, and the quickest
counts (other programs only make it slower). Medians and means over decisions, in microseconds: scores/overhead.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._result import write_result
from forethought.agent.agent import ForethoughtAgent
from forethought.agent.aim import aim_now
from forethought.agent.ladder import Trust, choose
from forethought.arena.evaluate import LADDER, agent_in_mode
from forethought.arena.protocol import command_line
from forethought.arena.surprise import at_home
from forethought.arena.tasks import make_task
from forethought.surprise.signals import ASKED
from forethought.training.bundle import load_parts
from forethought.types import Observation, State

TIMES = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Walk, and time the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--decisions", type=int, default=200)
    parser.add_argument("--calibrate", type=int, default=24, help="patrols of the agent's own to calibrate on")
    parser.add_argument("--work", type=Path, default=Path("runs/success"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = {task: overhead(options, task) for task in options.tasks}
    for task, figures in found.items():
        print(task, figures)
    print("written:", write_result("overhead.json", command_line(), {"microseconds": found}))


def overhead(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """The median of each part, and of all, over an agent's decisions."""
    spec, config, parts = load_parts(options.work / name / f"seed-{options.seed}" / "run")
    task, rows, asked = make_task(name), [], 0
    home = at_home(parts, spec, config, task, options.calibrate, 1000 * options.seed, lambda name, done, total: None)
    sure = replace(parts, monitor=home, trust=Trust(1.0, np.inf))  # whatever the habit says is trusted
    agent = agent_in_mode(sure, spec, config, LADDER)
    for pair in task.pairs(1000, options.seed):
        episode = task.begin(pair)
        moment, state = episode.start, agent.init(episode.goal, pair.key)
        for _ in range(20 * agent.frameskip):
            if not state.pending and state.belief is not None:
                rows.append(timed(agent, moment.observation, state))
                asked += rows[-1].pop("asked")
            decision, state = agent.act(moment.observation, state)
            moment = episode.step(decision.action)
            if moment.reached or len(rows) == options.decisions:
                break
        if len(rows) == options.decisions:
            break
    sums = [sum(row.values()) for row in rows]
    each = {part: round(float(np.median([row[part] for row in rows])), 1) for part in rows[0]}
    return {
        "median": round(float(np.median(sums)), 1),
        "mean": round(float(np.mean(sums)), 1),
        "parts": each,
        "other ways asked": asked / len(rows),
    }


def timed(agent: ForethoughtAgent, observation: Observation, state: State) -> dict[str, float]:
    """Microseconds of each part of one decision; the search and the habit's own pass are taken off the ladder's."""
    monitor, expectation, trust = agent.monitor, state.expectation, agent.trust
    assert monitor is not None and expectation is not None and trust is not None
    with torch.inference_mode():
        belief = agent.believe(observation, state)
        surprise, after = monitor.look(agent.model, expectation, belief, observation)
        horizon, now = agent.config.search.horizon, replace(state, expectation=after, plan=None)
        aim, calm = aim_now(belief, state.target, agent.cost, agent.probe, horizon), replace(surprise, height=0.0)
        block_A = torch.from_numpy(state.taken[0])
        habit = quickest(lambda: next(agent.habits.ways(belief, now, aim, horizon)))
        ladder = quickest(lambda: choose(belief, now, aim, calm, trust, agent.habits, horizon, agent._search, agent.guard))
        return {
            "surprise": quickest(lambda: monitor.look(agent.model, expectation, belief, observation)),
            "expectation": quickest(lambda: monitor.expect(agent.model, after, belief, block_A)),
            "ladder": max(ladder - habit, 0.0),
            "asked": float(surprise.row_K[0] > np.exp(ASKED)),
        }


def quickest(call: Callable[[], object]) -> float:
    """Microseconds of the quickest of a few calls."""
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return 1e6 * min(taken)


if __name__ == "__main__":
    main()
