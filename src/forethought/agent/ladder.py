"""The configurator: at each decision the cheapest rung that will do. Keep the plan, trust the habit, search, or stop.

How far the habit is trusted is one number, `Trust.doubt`, that conformal risk control sets (`arena/trust.py`): of tasks like
those it was fitted on, at most a share epsilon more fail than if every decision were searched.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, final

import torch
from torch import Tensor

from forethought.agent.aim import Aim
from forethought.agent.guard import Guard
from forethought.agent.meter import followed, judged, rolled
from forethought.habits.policy import HabitProposal
from forethought.habits.recall import Recall
from forethought.types import Belief, Mode, Plan, Roadmap, Rollout, SearchTrace, State, Surprise

UNSEARCHED = "habit, not searched"
PATIENCE = 20
"""Decisions in a row under alarm, after which the agent stops."""


@final
@dataclass(frozen=True)
class Trust:
    """How far the habit is trusted. `reach`: what a good habit's way gains in cost; `doubt`: the share of it that may lack.

    `epsilon`: excess failures promised, over `pairs` pairs of `task`; `excess`: those seen there.
    """

    reach: float
    doubt: float
    epsilon: float = 0.05
    task: str = ""
    pairs: int = 0
    excess: float = 0.0


@final
@dataclass(frozen=True)
class Choice:
    """What a decision came to: the way in hand (none: the safe action) and how many of its blocks are done with this one, the
    mode and why, passes through the predictor, whether the planner was called, FLOPs, and a map of ways round.
    """

    plan: Plan | None
    step: int
    mode: Mode
    reason: str
    passes: int = 0
    searched: bool = False
    flops: int = 0
    roadmap: Roadmap | None = None


class Search(Protocol):
    """The rung that thinks."""

    def __call__(self, belief: Belief, state: State, aim: Aim) -> Choice: ...


def choose(
    belief: Belief,
    state: State,
    aim: Aim,
    surprise: Surprise,
    trust: Trust,
    habits: Habits,
    horizon: int,
    search: Search,
    guard: Guard = Guard(),  # noqa: B008 (frozen)
) -> Choice:
    """The ladder, rung by rung. A way that breaks a guardrail is not taken."""
    raised = state.expectation.raised if state.expectation is not None else 0
    if raised >= PATIENCE:
        why = state.expectation.alarm if state.expectation is not None else ""
        return Choice(None, 0, Mode.STOP, f"stopped: surprised for {raised} decisions ({why})")
    passes, doubts = 0, []
    as_foretold = not surprise.p_value < surprise.level  # NaN at an episode's start: nothing was foretold
    if state.plan is not None and state.plan_step < len(state.plan.actions_HA) and as_foretold and surprise.height < 1:
        breach, passes = guard.ahead(habits.policy.model, belief, state.plan.actions_HA[state.plan_step :])
        why = f"all went as foretold (p {surprise.p_value:.2g}); block {state.plan_step + 1} of {len(state.plan.actions_HA)}"
        if not breach:
            return Choice(state.plan, state.plan_step + 1, Mode.CONTINUE, why, passes)
        doubts.append(f"plan in hand: {breach}")
    if surprise.height >= 1:
        found = search(belief, state, aim)
        why = f"{surprise.reason}: no habit is trusted; {found.reason}"
        return replace(found, reason=why, passes=found.passes + passes)
    flops = habits.looked_up(state)
    for name, way in () if state.target.strange else habits.ways(belief, state, aim, horizon):
        passes, flops = passes + way.trace.predictor_passes, flops + way.trace.flops
        doubt = doubt_of(way, trust.reach)
        breach = guard.breach(belief, way.predicted_HD) if doubt <= trust.doubt else ""
        if doubt <= trust.doubt and not breach:
            why = f"{name}: doubt {doubt:.2f} of {trust.doubt:.2f}{aim.why}"
            return Choice(way, 1, Mode.HABIT, why, passes, flops=flops)
        doubts.append(f"{name}: {breach}" if breach else f"{name}'s doubt {doubt:.2f} over {trust.doubt:.2f}")
    found = search(belief, state, aim)
    why = f"{' and '.join(doubts) or 'no habit'}; {found.reason}"
    return replace(found, reason=why, passes=found.passes + passes, flops=found.flops + flops)


@final
@dataclass(frozen=True)
class Habits:
    """What can be done without a search: what worked last time, if that is remembered, then what practice made of it."""

    policy: HabitProposal
    recall: Recall | None = None

    def looked_up(self, state: State) -> int:
        """FLOPs of looking for a memory."""
        return 0 if self.recall is None else 2 * state.known * 2 * len(self.recall.spread_D)

    def ways(self, belief: Belief, state: State, aim: Aim, horizon: int) -> Iterator[tuple[str, Plan]]:
        """One after another, imagined only when asked for."""
        if self.recall is not None:
            began = time.perf_counter()
            found = self.recall.follow(belief, aim.target, horizon, state.known)
            if found is not None:
                flops = rolled(self.policy.model.dynamics).of(len(found[0]))
                yield "memory", as_plan(belief, aim, *found, began, flops)
        began = time.perf_counter()
        flops = followed(self.policy.habit, self.policy.model.dynamics, horizon)
        yield "habit", as_plan(belief, aim, *self.policy.follow(belief, aim.target, horizon), began, flops)


def as_plan(belief: Belief, aim: Aim, actions_HA: Tensor, path_HD: Tensor, began: float, flops: int) -> Plan:
    """An unsearched way as a plan; its trace holds the cost of staying here as long, and that of going."""
    horizon = len(actions_HA)
    both = Rollout(belief, torch.stack([belief.z_BD.expand(horizon, -1), path_HD])[None])
    stay, gone = (float(c) for c in aim.cost(both, torch.stack([actions_HA, actions_HA])[None], aim.target)[0])
    flops += judged(aim.cost, 2, horizon)
    return Plan(actions_HA, path_HD, gone, SearchTrace((stay, gone), UNSEARCHED, horizon, time.perf_counter() - began, flops))


def doubt_of(way: Plan, reach: float) -> float:
    """The share of a good way's gain that this one lacks: 0 nothing, 1 no gain, above it leads away."""
    stay, gone = way.trace.best_cost
    return 1.0 - (stay - gone) / max(min(stay, reach), 1e-6)
