"""The configurator: at each decision the cheapest rung that will do. Keep the plan, trust the habit, search, or stop.

How far the habit is trusted is one number, `Trust.doubt`, that conformal risk control sets (`arena/trust.py`): of tasks like
those it was fitted on, at most a share epsilon more fail than if every decision were searched.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol, final

import torch

from forethought.agent.aim import Aim
from forethought.habits.policy import HabitProposal
from forethought.types import Belief, Mode, Plan, Rollout, SearchTrace, State, Surprise

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
    mode and why, and passes through the predictor.
    """

    plan: Plan | None
    step: int
    mode: Mode
    reason: str
    passes: int = 0


class Search(Protocol):
    """The rung that thinks."""

    def __call__(self, belief: Belief, state: State, aim: Aim) -> Choice: ...


def choose(
    belief: Belief,
    state: State,
    aim: Aim,
    surprise: Surprise,
    trust: Trust,
    proposal: HabitProposal,
    horizon: int,
    search: Search,
) -> Choice:
    """The ladder, rung by rung."""
    raised = state.expectation.raised if state.expectation is not None else 0
    if raised >= PATIENCE:
        why = state.expectation.alarm if state.expectation is not None else ""
        return Choice(None, 0, Mode.STOP, f"stopped: surprised for {raised} decisions ({why})")
    as_foretold = not surprise.p_value < surprise.level  # NaN at an episode's start: nothing was foretold
    if state.plan is not None and state.plan_step < len(state.plan.actions_HA) and as_foretold and surprise.height < 1:
        done = f"block {state.plan_step + 1} of {len(state.plan.actions_HA)}"
        return Choice(
            state.plan, state.plan_step + 1, Mode.CONTINUE, f"all went as foretold (p {surprise.p_value:.2g}); {done}"
        )
    if surprise.height >= 1:
        found = search(belief, state, aim)
        return Choice(found.plan, 1, Mode.PLAN, f"{surprise.reason}: no habit is trusted; {found.reason}", found.passes)
    way, doubt = habit_way(belief, aim, proposal, horizon, trust.reach)
    if doubt <= trust.doubt:
        return Choice(way, 1, Mode.HABIT, f"habit: doubt {doubt:.2f} of {trust.doubt:.2f}{aim.why}", way.trace.predictor_passes)
    found = search(belief, state, aim)
    passes = found.passes + way.trace.predictor_passes
    return Choice(found.plan, 1, Mode.PLAN, f"habit's doubt {doubt:.2f} is over {trust.doubt:.2f}; {found.reason}", passes)


def habit_way(belief: Belief, aim: Aim, proposal: HabitProposal, horizon: int, reach: float) -> tuple[Plan, float]:
    """The way the habit would go, imagined once, and its doubt: the share of a good way's gain that it lacks (1: no gain)."""
    started = time.perf_counter()
    actions_HA, path_HD = proposal.follow(belief, aim.target, horizon)
    stay_HD = belief.z_BD.expand(horizon, -1)
    both = Rollout(belief, torch.stack([stay_HD, path_HD])[None])
    stay, gone = (float(c) for c in aim.cost(both, torch.stack([actions_HA, actions_HA])[None], aim.target)[0])
    doubt = 1.0 - (stay - gone) / max(min(stay, reach), 1e-6)
    trace = SearchTrace((stay, gone), "habit, not searched", horizon, time.perf_counter() - started)
    return Plan(actions_HA, path_HD, gone, trace), doubt
