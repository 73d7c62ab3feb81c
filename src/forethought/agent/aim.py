"""What a decision makes for: the goal itself, or the nearest remembered place where a predicate is true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from forethought.agent.guard import Guard
from forethought.costs.combine import Sum
from forethought.costs.cost import Cost
from forethought.costs.predicate import Predicate, PredicateCost, read_predicate
from forethought.errors import UsageError
from forethought.perception.probe import Probe
from forethought.types import Belief, ReachPredicate, Rollout, Target

MOST, FEWEST, SPARE = 64, 8, 0.1
"""Options kept; stepping stones where none is true; margin, in deviations, by which a place has to be true to be an option."""
WEIGHT = 10.0
"""Of the predicate's shortfall beside the cost of the way: one deviation against ten blocks."""


@final
@dataclass(frozen=True)
class Aim:
    """A target that habit and critic understand, the cost that the search minimises, and a word for the decision's reason."""

    target: Target
    cost: Cost
    why: str = ""


def options_for(goal: ReachPredicate, probe: Probe | None, guard: Guard) -> Target:
    """Remembered latents where the predicate is true (at most 64), or the 8 nearest to true, of those that the guardrails
    allow. Raises UsageError.
    """
    known = _probe(probe)
    with torch.inference_mode():
        short_M = _predicate(goal, known).shortfall(known(known.remembered_MD))
        short_M = torch.where(guard.allowed(known.remembered_MD), short_M, torch.inf)
    true = torch.nonzero(short_M <= -SPARE).flatten()
    if not len(true):
        true = short_M.argsort(stable=True)[:FEWEST]
    chosen = true[:: -(-len(true) // MOST)]
    return Target(None, goal, known.remembered_MD[chosen])


def shortfall(goal: ReachPredicate, probe: Probe | None, z_BD: torch.Tensor) -> float:
    """How far the predicate is from true at one latent (1, D), in deviations; at most 0: it holds. Raises UsageError."""
    known = _probe(probe)
    return float(_predicate(goal, known).shortfall(known(z_BD))[0])


def aim_now(belief: Belief, target: Target, cost: Cost, probe: Probe | None, horizon: int) -> Aim:
    """This moment's aim. Far away the cost is the way to the nearest option; within the search's reach the predicate joins."""
    if target.options_KD is None or probe is None or not isinstance(target.goal, ReachPredicate):
        return Aim(target, cost)
    with torch.inference_mode():
        z_KD = belief.z_BD.expand(len(target.options_KD), -1)
        stay = Rollout(Belief(z_KD, z_KD[:, :0], belief.scene_size), z_KD[:, None, None])
        way_K = cost(stay, z_KD[:, None, None, :0], Target(target.options_KD, target.goal))[:, 0]
    nearest = int(way_K.argmin())
    option = Target(target.options_KD[nearest : nearest + 1], target.goal)
    predicate = PredicateCost(probe, _predicate(target.goal, probe), spare=SPARE)
    short = shortfall(target.goal, probe, belief.z_BD)
    if short <= 0:
        return Aim(option, predicate, f"; '{target.goal.predicate}' holds, says the probe ({-short:.2g} deviations to spare)")
    why = f"; '{target.goal.predicate}' is {short:.2g} deviations from true"
    near = float(way_K[nearest]) <= 1.2 * horizon
    return Aim(option, Sum(((1.0, cost), (WEIGHT, predicate))) if near else cost, why)


def _probe(probe: Probe | None) -> Probe:
    if probe is None:
        raise UsageError(
            "a ReachPredicate goal needs named quantities, and this run has no probe of any: log some beside the sensors "
            "(Episode.metadata, such as 'position') and train again, or give a ReachObservation goal"
        )
    return probe


def _predicate(goal: ReachPredicate, probe: Probe) -> Predicate:
    return read_predicate(goal.predicate, probe.names, tuple(probe.deviation_Q.tolist()))
