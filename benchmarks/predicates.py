"""Predicate goals on fixed Two-Room, from pixels: does the agent make a statement true, and is it true when it says so?

    python -m benchmarks.predicates RUN --n 300

Three kinds of predicate, all in the other room, so that the door is needed: a corner (and), a band (a chain and a not), the far
part of the room (or). Rivals on the same goals: search on the predicate alone (no remembered places, no critic, no habit), and
random actions. An episode ends when the agent's own probe says that it holds with 0.05 deviations to spare, after at most 100
steps; a success is that, and true. Random actions are judged by the truth alone. Writes scores/predicate_goals.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks._result import command_line, write_result
from forethought.agent.agent import ForethoughtAgent
from forethought.arena.statistics import mcnemar, wilson
from forethought.envs.two_room import Floats, Painter, fixed_layout, move, random_position
from forethought.training.bundle import load_agent
from forethought.types import ReachPredicate, Rollout, Target

STEPS, SPARE = 100, 0.05
LAYOUT, PAINTER = fixed_layout(1), Painter(64)
BACKGROUND = PAINTER.background(LAYOUT)


@dataclass(frozen=True)
class Case:
    """A start, a predicate in the other room, and what is true."""

    kind: str
    start_12: Floats
    predicate: str
    truth: Callable[[Floats], bool]


def make_case(index: int, seed: int) -> Case:
    """Case i of a seed depends on (seed, i) alone."""
    start = random_position(LAYOUT, [np.random.default_rng([seed, index])])
    left = start[0, 0] < 0.5

    def across(x: float, share: float) -> bool:
        return x > share if left else x < 1 - share

    def side(share: float) -> str:
        return f"position.x > {share}" if left else f"position.x < {1 - share:g}"

    if index % 3 == 0:
        return Case("corner", start, f"{side(0.8)} and position.y < 0.3", lambda p: across(p[0], 0.8) and p[1] < 0.3)
    if index % 3 == 1:
        far = "position.x < 0.6" if left else "position.x > 0.4"
        text = f"0.6 < position.y < 0.75 and not {far}"
        return Case("band", start, text, lambda p: 0.6 < p[1] < 0.75 and (p[0] >= 0.6 if left else p[0] <= 0.4))
    return Case("far part", start, f"{side(0.65)} or position.y > 3", lambda p: across(p[0], 0.65))


def attempt(agent: ForethoughtAgent, case: Case, key: int) -> tuple[bool, bool, int]:
    """Did it say that it holds, was that true, and after how many steps?"""
    goal, position = ReachPredicate(case.predicate), case.start_12
    state = agent.init(goal, key)
    for step in range(STEPS):
        observation = {"image": PAINTER.draw(BACKGROUND, position)[0]}
        if agent.shortfall(observation, goal) <= -SPARE:
            return True, bool(case.truth(position[0])), step
        decision, state = agent.act(observation, state)
        position = move(LAYOUT, position, decision.action[None])
    return False, bool(case.truth(position[0])), STEPS


def on_predicate_alone(agent: ForethoughtAgent) -> ForethoughtAgent:
    """The same agent with no habit's start and no cost of the way: only the predicate is left to search on."""
    config = replace(agent.config, warm_start=False)
    return ForethoughtAgent(agent.model, no_cost, agent.habit, agent.spec, agent.frameskip, config, agent.probe)


def no_cost(rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
    return rollout.z_BSHD.new_zeros(rollout.z_BSHD.shape[:2])


def wander(case: Case, key: int) -> tuple[bool, bool, int]:
    """Random actions until the predicate is true."""
    generator, position = np.random.default_rng(key), case.start_12
    for step in range(STEPS):
        if case.truth(position[0]):
            return True, True, step
        position = move(LAYOUT, position, generator.uniform(-1, 1, (1, 2)))
    return False, False, STEPS


def summary(cases: list[Case], results: list[tuple[bool, bool, int]]) -> dict[str, Any]:
    def share(kind: str | None) -> dict[str, Any]:
        good = [said and true for case, (said, true, _) in zip(cases, results, strict=True) if kind in (None, case.kind)]
        interval = wilson(sum(good), len(good))
        return {"n": len(good), "successes": sum(good), "low": interval.low, "high": interval.high}

    kinds = {kind: share(kind) for kind in ("corner", "band", "far part")}
    false = sum(said and not true for said, true, _ in results)
    steps = float(np.median([steps for said, true, steps in results if said and true] or [STEPS]))
    outcomes = [f"held {said:d}, true {true:d}, steps {step}" for said, true, step in results]
    return {"all": share(None), **kinds, "said_but_false": false, "median_steps": steps, "outcomes": outcomes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="predicate_goals.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    agent = load_agent(options.run)
    cases = [make_case(i, options.seed) for i in range(options.n)]
    greedy = on_predicate_alone(agent)
    with torch.inference_mode():
        found = {
            "agent": [attempt(agent, case, i) for i, case in enumerate(cases)],
            "predicate alone": [attempt(greedy, case, i) for i, case in enumerate(cases)],
            "random": [wander(case, i) for i, case in enumerate(cases)],
        }
    payload = {name: summary(cases, results) for name, results in found.items()}
    both = [[said and true for said, true, _ in found[name]] for name in ("agent", "predicate alone")]
    payload["p_agent_against_predicate_alone"] = mcnemar(both[0], both[1])
    target = write_result(options.out, command_line(), {"seeds": [options.seed], "n": options.n, **payload})
    for name in found:
        print(name, {k: v for k, v in payload[name].items() if k != "outcomes"})
    print(target)


if __name__ == "__main__":
    main()
