"""The one search loop: candidates in, costs out, the best plan so far at any time. Methods only sample and update."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from forethought.costs.cost import Cost
from forethought.planning.proposal import SearchMethod
from forethought.types import Belief, DiscreteSpace, Plan, Rollout, SearchTrace, Space, Target
from forethought.world_model import WorldModel


@final
@dataclass(frozen=True)
class SearchConfig:
    """How hard to search: samples an iteration, iterations, horizon in blocks; when to stop early.

    The loop ends after `patience` iterations that improve the best cost by less than `min_gain` (a share of it), or at the
    deadline, whatever comes first; one iteration is always made.
    """

    num_samples: int = 64
    iterations: int = 3
    horizon: int = 6
    deadline_seconds: float | None = None
    patience: int = 2
    min_gain: float = 0.01


def legalise(actions: Tensor, space: Space) -> Tensor:
    """Into the space: boxes are clamped to [-1, 1]; discrete actions become one-hot, action by action of the block."""
    if not isinstance(space, DiscreteSpace):
        return actions.clamp(-1.0, 1.0)
    rows = actions.reshape(*actions.shape[:-1], -1, space.size)
    one_hot = torch.nn.functional.one_hot(rows.argmax(-1), space.size)
    return one_hot.to(actions.dtype).reshape(actions.shape)


def finite(cost: Tensor) -> Tensor:
    """NaN and -inf become +inf: a cost that cannot be computed never wins."""
    return torch.where(torch.isfinite(cost), cost, torch.full_like(cost, math.inf))


def search(
    model: WorldModel,
    cost: Cost,
    target: Target,
    belief: Belief,
    method: SearchMethod[Any],
    *,
    config: SearchConfig,
    space: Space,
    action_size: int,
    generator: torch.Generator,
    warm_starts: Sequence[Tensor] = (),
) -> Plan:
    """Search one episode's next blocks (the belief's batch is 1).

    `warm_starts` are sequences (H, A), the best of which the method starts from; all of them compete with the samples, so
    search never returns anything worse. If every cost is infinite, the first warm start (or zeros) comes back, and the
    trace says so.
    """
    started = time.perf_counter()
    zeros_HA = torch.zeros(config.horizon, action_size)
    best_HA = legalise(warm_starts[0] if len(warm_starts) else zeros_HA, space)
    given = [legalise(warm, space) for warm in warm_starts]
    best, best_z, curve, passes, idle, stopped = math.inf, None, [], 0, 0, "all iterations done"
    state = None
    for iteration in range(max(1, config.iterations)):
        parts = given if iteration == 0 else [best_HA]
        if state is None:
            state = method.init(best_HA)
        sampled = legalise(method.sample(state, config.num_samples, generator), space)
        candidates_SHA = torch.cat([torch.stack(parts), sampled]) if parts else sampled
        rollout, cost_S = _evaluate(model, cost, target, belief, candidates_SHA)
        passes += candidates_SHA.shape[0] * config.horizon
        winner = int(cost_S.argmin())
        gain = best - float(cost_S[winner])
        if gain > 0:
            best, best_HA, best_z = float(cost_S[winner]), candidates_SHA[winner], rollout.z_BSHD[0, winner]
        curve.append(best)
        idle = 0 if gain > config.min_gain * abs(best) or not math.isfinite(best) else idle + 1
        if idle >= config.patience:
            stopped = "more search no longer paid"
            break
        if config.deadline_seconds is not None and time.perf_counter() - started >= config.deadline_seconds:
            stopped = "deadline"
            break
        state = method.update(state, candidates_SHA, cost_S)
    if best_z is None:
        stopped = "no candidate had a finite cost"
        best_z = _evaluate(model, cost, target, belief, best_HA[None])[0].z_BSHD[0, 0]
    return Plan(best_HA, best_z, best, SearchTrace(tuple(curve), stopped, passes, time.perf_counter() - started))


def search_batch(
    model: WorldModel,
    cost: Cost,
    targets: Sequence[Target],
    beliefs: Sequence[Belief],
    method: SearchMethod[Any],
    *,
    config: SearchConfig,
    space: Space,
    action_size: int,
    generators: Sequence[torch.Generator],
    warm_starts: Sequence[Sequence[Tensor]] | None = None,
) -> list[Plan]:
    """Plans for many episodes. Each is searched on its own shapes: the results do not depend on the batch, to the bit."""
    warm = warm_starts or [()] * len(beliefs)
    return [
        search(model, cost, t, b, method, config=config, space=space, action_size=action_size, generator=g, warm_starts=w)
        for t, b, g, w in zip(targets, beliefs, generators, warm, strict=True)
    ]


def _evaluate(model: WorldModel, cost: Cost, target: Target, belief: Belief, actions_SHA: Tensor) -> tuple[Rollout, Tensor]:
    with torch.inference_mode():
        actions_BSHA = actions_SHA.to(belief.z_BD.device).unsqueeze(0)
        rollout = model.imagine(belief, actions_BSHA)
        return rollout, finite(cost(rollout, actions_BSHA, target)[0]).cpu()
