"""How far the habit can be trusted: conformal risk control over whole tasks (Angelopoulos and others 2022, 2208.02814).

The loss of a pair at a doubt: 1 if the agent fails there and always planning does not. The largest doubt is taken at which the
mean loss, with one more pair lost, is at most epsilon, and that of all smaller ones: for a pair exchangeable with these, the
chance of such a failure is then at most epsilon, if more doubt never saves a pair that less doubt loses. The guarantee is for
pairs like these, in a world like this one; surprise watches for the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from forethought.agent.agent import ForethoughtAgent
from forethought.agent.ladder import UNSEARCHED, Trust
from forethought.arena.evaluate import LADDER, agent_in_mode
from forethought.arena.protocol import evaluate
from forethought.arena.surprise import at_home
from forethought.arena.task import Pair, Task, unsolved_pairs
from forethought.arena.tasks import make_task
from forethought.config import to_json
from forethought.training.bundle import load_parts
from forethought.training.files import write_atomic
from forethought.training.run import RunFolder
from forethought.training.surprise import save_monitor

DOUBTS = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.1, 10.0)
"""Tried in this order; 0 trusts a habit that promises as much as a good one gains, 10 any habit."""
FITTED = 40_000_003
"""Where the seeds of pairs to fit on begin; evaluations never share one."""


def fit_trust(
    run: str | os.PathLike[str],
    task: str | Task,
    *,
    epsilon: float = 0.05,
    count: int = 200,
    patrols: int = 100,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Trust:
    """Calibrate the monitor on `patrols` of the agent too, fit on fresh pairs, and write both into the run.

    Raises RunError for a run without a monitor.
    """
    spec, config, parts = load_parts(run)
    folder, chosen = RunFolder(Path(run).expanduser()), make_task(task) if isinstance(task, str) else task
    tell = progress or (lambda name, done, total: None)
    parts = replace(parts, monitor=at_home(parts, spec, config, chosen, patrols, seed, tell))
    pairs = [p for p in unsolved_pairs(chosen, count, seed + FITTED) if not p.solved_at_start]
    few = [p for p in unsolved_pairs(chosen, max(10, count // 10), seed + FITTED + 1) if not p.solved_at_start]
    agent = agent_in_mode(replace(parts, trust=Trust(1.0, 0.0)), spec, config, LADDER)
    agent.trust = replace(agent.trust or Trust(1.0, 0.0), reach=_reach(agent, chosen, few))
    planned = agent_in_mode(parts, spec, config, "plan")
    losses = losses_by_doubt(agent, planned, chosen, pairs, epsilon, progress)
    doubt, excess = controlled(losses, epsilon)
    trust = Trust(agent.trust.reach, doubt, epsilon, chosen.id, len(pairs), excess)
    assert parts.monitor is not None
    save_monitor(folder, parts.monitor)
    write_atomic(folder.trust, to_json(trust))
    return trust


def losses_by_doubt(
    agent: ForethoughtAgent,
    planned: ForethoughtAgent,
    task: Task,
    pairs: Sequence[Pair],
    epsilon: float,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[float, list[float]]:
    """Each pair's loss at each doubt, up to the first whose risk is not controlled: fails, where always planning does not."""

    def run(who: ForethoughtAgent, name: str) -> list[bool]:
        tell = None if progress is None else lambda done: progress(name, done, len(pairs))
        return [o.success for o in evaluate(who, task, pairs, name, tell).outcomes]

    sure, losses = run(planned, "always planning"), {}
    for doubt in DOUBTS:
        assert agent.trust is not None
        agent.trust = replace(agent.trust, doubt=doubt)
        outcomes = run(agent, f"doubt {doubt:g}")
        losses[doubt] = [float(plan and not done) for plan, done in zip(sure, outcomes, strict=True)]
        if risk(losses[doubt]) > epsilon:
            break
    return losses


def risk(loss: Sequence[float]) -> float:
    """The mean loss with one more pair lost."""
    return (sum(loss) + 1.0) / (len(loss) + 1)


def controlled(losses: Mapping[float, Sequence[float]], epsilon: float) -> tuple[float, float]:
    """The largest doubt whose risk, and that of all smaller ones, is controlled; and its mean loss. -1: no habit at all.

    >>> controlled({0.0: [0.0] * 99, 1.0: [1.0] * 99}, 0.05)
    (0.0, 0.0)
    """
    best, excess = -1.0, 0.0
    for doubt in sorted(losses):
        loss = losses[doubt]
        if risk(loss) > epsilon:
            break
        best, excess = doubt, sum(loss) / len(loss)
    return best, excess


def _reach(agent: ForethoughtAgent, task: Task, pairs: Sequence[Pair]) -> float:
    """What a good habit's way gains: the upper tenth of what it gained on a few pairs, acting always."""
    gains: list[float] = []
    assert agent.trust is not None
    agent.trust = replace(agent.trust, doubt=float("inf"))
    for pair in pairs:
        episode = task.begin(pair)
        moment, state = episode.start, agent.init(episode.goal, pair.key)
        for _ in range(task.budget):
            decision, state = agent.act(moment.observation, state)
            if decision.plan is not None and decision.plan.trace.stopped == UNSEARCHED:
                gains.append(decision.plan.trace.best_cost[0] - decision.plan.trace.best_cost[1])
            moment = episode.step(decision.action)
            if moment.reached:
                break
    return max(float(np.quantile(gains, 0.9)) if gains else 1.0, 1e-6)
