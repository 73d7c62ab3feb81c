"""Is the ladder's promise kept, does each rung pay, and does effort follow difficulty? On runs whose trust has been fitted.

    python -m benchmarks.ladder ogbench-pointmaze-medium-v1 --seeds 0 1 2

Per seed, on fresh pairs: every doubt's losses against always planning; from these, calibrations are drawn again and again, half
of the pairs to fit on and half to check (no pair is in both). Then the ladder as fitted, and without each rung, on the same
pairs. Writes scores/ladder/TASK.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._result import SCORES, write_result
from benchmarks.surprise import described
from forethought.agent.agent import ForethoughtAgent
from forethought.agent.protocol import Agent
from forethought.arena.evaluate import LADDER, agent_in_mode
from forethought.arena.protocol import Result, command_line, evaluate
from forethought.arena.task import unsolved_pairs
from forethought.arena.tasks import make_task
from forethought.arena.trust import controlled, losses_by_doubt
from forethought.errors import RunError
from forethought.training.bundle import load_parts
from forethought.types import Decision, Observation, State

FRESH = 70_000_027
"""Where the seeds of pairs begin."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure every seed, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pairs", type=int, default=300, help="a seed")
    parser.add_argument("--redraws", type=int, default=20, help="calibrations, a seed")
    parser.add_argument("--epsilon", type=float, default=0.05)
    parser.add_argument("--work", type=Path, default=Path("runs/success"))
    parser.add_argument("--out", type=Path, default=SCORES / "ladder")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    by_seed = [measure(options, seed) for seed in options.seeds]
    kept = [held for found in by_seed for held in found["redrawn"]["kept"]]
    summary = {"promise_kept": float(np.mean(kept)), "redraws": len(kept), "seeds": options.seeds, "by_seed": by_seed}
    path = write_result(options.out / f"{options.task}.json", command_line(), summary)
    print(f"the promise held in {np.mean(kept):.0%} of {len(kept)} redrawn calibrations; written:", path)


def measure(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One seed."""
    run = options.work / options.task / f"seed-{seed}" / "run"
    spec, config, parts = load_parts(run)
    if parts.trust is None:
        raise RunError(f"{run}: nobody has measured its habit; `forethought trust {run} --task {options.task}` does")
    task = make_task(options.task)
    pairs = [p for p in unsolved_pairs(task, options.pairs, seed + FRESH) if not p.solved_at_start]
    planned, agent = agent_in_mode(parts, spec, config, "plan"), agent_in_mode(parts, spec, config, LADDER)
    always = evaluate(planned, task, pairs, "plan")
    losses = losses_by_doubt(agent, planned, task, pairs, 1.0)
    agent.trust = parts.trust
    unhabitual = agent_in_mode(replace(parts, trust=replace(parts.trust, doubt=-1.0)), spec, config, LADDER)
    agents: dict[str, Agent] = {
        "ladder": agent, "without continuing": WithoutContinuing(agent), "without habit": unhabitual,
        "without search": agent_in_mode(parts, spec, config, "habit"),
    }  # fmt: skip
    results = {"always planning": always} | {name: evaluate(a, task, pairs, name) for name, a in agents.items()}
    found = {
        "redrawn": redrawn(losses, options.epsilon, options.redraws, seed),
        "effort": effort(results["ladder"], always),
        "agents": {name: {**described(r, config.frameskip), "excess": excess(r, always)} for name, r in results.items()},
    }
    print(f"seed {seed}", json.dumps(found), flush=True)
    return found


class WithoutContinuing:
    """The same agent, which forgets its plan at every block."""

    def __init__(self, agent: ForethoughtAgent) -> None:
        self.agent, self.init = agent, agent.init

    def act(self, observation: Observation, state: State) -> tuple[Decision, State]:
        return self.agent.act(observation, state if state.pending else replace(state, plan=None, plan_step=0))


def redrawn(losses: dict[float, list[float]], epsilon: float, count: int, seed: int) -> dict[str, Any]:
    """Calibrations drawn again: the doubt each chose, the share of other pairs it lost, and whether that kept the promise."""
    generator, total = np.random.default_rng(seed), len(next(iter(losses.values())))
    doubts, lost = [], []
    for _ in range(count):
        order = generator.permutation(total)
        fitted, checked = order[: total // 2], order[total // 2 :]
        doubt, _ = controlled({d: [loss[i] for i in fitted] for d, loss in losses.items()}, epsilon)
        doubts.append(doubt)
        lost.append(float(np.mean([losses[doubt][i] for i in checked])) if doubt >= 0 else 0.0)
    risks = {str(d): float(np.mean(loss)) for d, loss in losses.items()}
    return {"epsilon": epsilon, "risks": risks, "doubts": doubts, "lost": lost, "kept": [share <= epsilon for share in lost]}


def effort(ladder: Result, always: Result) -> dict[str, float]:
    """Spearman's correlation of a task's predictor passes with how many steps always planning took; and passes by class."""
    passes, steps = (np.array([float(getattr(o, what)) for o in r.outcomes])
                     for r, what in ((ladder, "predictor_passes"), (always, "steps")))  # fmt: skip
    a, b = (np.argsort(np.argsort(values)).astype(float) for values in (passes, steps))
    hard = np.array(["hard" in o.classes for o in ladder.outcomes])
    means = {name: float(passes[mask].mean()) for name, mask in (("passes_hard", hard), ("passes_easy", ~hard)) if mask.any()}
    return {"spearman_passes_steps": float(np.corrcoef(a, b)[0, 1]), **means}


def excess(result: Result, always: Result) -> float:
    """The share of pairs lost that always planning solves."""
    return float(np.mean([p.success and not r.success for r, p in zip(result.outcomes, always.outcomes, strict=True)]))


if __name__ == "__main__":
    main()
