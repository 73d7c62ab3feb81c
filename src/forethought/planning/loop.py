"""The one search loop: candidates in, costs out, the best plan so far at any time. Methods only sample and update."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from forethought.config import Count, Positive, Weight
from forethought.costs.cost import Cost
from forethought.errors import ContractError, UsageError
from forethought.planning.proposal import GradientMethod, Method
from forethought.types import Belief, DiscreteSpace, Plan, SearchTrace, Space, Target
from forethought.world_model import WorldModel


@final
@dataclass(frozen=True)
class SearchConfig:
    """How hard to search: samples an iteration, iterations, horizon in blocks; when to stop early.

    The loop ends after `patience` iterations that improve the best cost by less than `min_gain` (a share of it), or at the
    deadline, whatever comes first; one iteration is always made.
    """

    num_samples: Count = 32
    iterations: Count = 2
    horizon: Count = 5
    deadline_seconds: Positive | None = None
    patience: Count = 2
    min_gain: Weight = 0.01


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
    method: Method,
    *,
    config: SearchConfig,
    space: Space,
    action_size: int,
    generator: torch.Generator,
    warm_starts: Sequence[Tensor] = (),
) -> Plan:
    """Search one episode's next blocks (the belief's batch is 1).

    `warm_starts` are sequences (H, A); the method starts from the first, and all of them compete with the samples, so search
    never returns anything worse. If every cost is infinite, the first warm start (or zeros) comes back, and the trace says so.
    Raises UsageError for sequences of another shape, and for a method that needs gradients where the cost gives none.
    """
    started = time.perf_counter()
    given = [legalise(_checked(warm, config.horizon, action_size), space) for warm in warm_starts]
    best_HA = given[0] if given else legalise(torch.zeros(config.horizon, action_size), space)
    best, best_z, curve, passes, idle, stopped = math.inf, None, [], 0, 0, "all iterations done"
    state = method.init(best_HA)
    last = max(1, config.iterations) - 1
    for iteration in range(last + 1):
        parts = given if iteration == 0 else [best_HA]
        sampled = legalise(method.sample(state, config.num_samples, generator), space)
        candidates_SHA = torch.cat([torch.stack(parts), sampled]) if parts else sampled
        if isinstance(method, GradientMethod):
            z_SHD, cost_S, gradient_SHA = _differentiate(model, cost, target, belief, candidates_SHA)
        else:
            z_SHD, cost_S = _evaluate(model, cost, target, belief, candidates_SHA)
        passes += candidates_SHA.shape[0] * config.horizon
        winner = int(cost_S.argmin())
        gain = best - float(cost_S[winner])
        if gain > 0:
            best, best_HA, best_z = float(cost_S[winner]), candidates_SHA[winner], z_SHD[winner]
        curve.append(best)
        idle = 0 if gain > config.min_gain * abs(best) or not math.isfinite(best) else idle + 1
        if idle >= config.patience:
            stopped = "more search no longer paid"
            break
        if config.deadline_seconds is not None and time.perf_counter() - started >= config.deadline_seconds:
            stopped = "deadline"
            break
        if iteration == last:
            break
        if isinstance(method, GradientMethod):
            state = method.descend(state, candidates_SHA, cost_S, gradient_SHA)
        else:
            state = method.update(state, candidates_SHA, cost_S)
    if best_z is None:
        stopped = "no candidate had a finite cost"
        best_z = _evaluate(model, cost, target, belief, best_HA[None])[0][0]
    # clones, or the plan would keep every candidate's future alive
    return Plan(
        best_HA.clone(), best_z.clone(), best, SearchTrace(tuple(curve), stopped, passes, time.perf_counter() - started)
    )


def search_batch(
    model: WorldModel,
    cost: Cost,
    targets: Sequence[Target],
    beliefs: Sequence[Belief],
    method: Method,
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


def _checked(warm_HA: Tensor, horizon: int, action_size: int) -> Tensor:
    if warm_HA.shape != (horizon, action_size):
        raise UsageError(
            f"a warm start has shape {tuple(warm_HA.shape)}, expected (horizon, action_size) = ({horizon}, {action_size}); "
            "cut it or repeat its last block"
        )
    return warm_HA.detach().cpu().float()


def _evaluate(model: WorldModel, cost: Cost, target: Target, belief: Belief, actions_SHA: Tensor) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        actions_BSHA = actions_SHA.to(belief.z_BD.device).unsqueeze(0)
        rollout = model.imagine(belief, actions_BSHA)
        return rollout.z_BSHD[0], _costs(cost(rollout, actions_BSHA, target), len(actions_SHA))


def _differentiate(
    model: WorldModel, cost: Cost, target: Target, belief: Belief, actions_SHA: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_evaluate`, and the gradient (S, H, A) of each cost by its own actions; zero where it cannot be computed."""
    with torch.inference_mode(False), torch.enable_grad():
        # clones: what inference mode made (a belief, a target) cannot be saved for backward
        start = replace(belief, z_BD=belief.z_BD.clone(), memory_BM=belief.memory_BM.clone())
        goal = target if target.z_BD is None else replace(target, z_BD=target.z_BD.clone())
        actions_BSHA = actions_SHA.to(belief.z_BD.device).unsqueeze(0).clone().requires_grad_()
        rollout = model.imagine(start, actions_BSHA)
        cost_BS = cost(rollout, actions_BSHA, goal)
        cost_S = _costs(cost_BS.detach(), len(actions_SHA))
        if not cost_BS.requires_grad:
            raise UsageError("this planner needs a gradient, and the cost or the world model gives none; use 'cem'")
        (gradient_BSHA,) = torch.autograd.grad(cost_BS.sum(), actions_BSHA)
        gradient_SHA = torch.nan_to_num(gradient_BSHA[0], 0.0, 0.0, 0.0).cpu()
        return rollout.z_BSHD[0].detach(), cost_S, gradient_SHA


def _costs(cost_BS: Tensor, num_candidates: int) -> Tensor:
    if cost_BS.shape != (1, num_candidates):
        raise ContractError(f"the cost returned shape {tuple(cost_BS.shape)}, expected (B, S) = (1, {num_candidates})")
    return finite(cost_BS[0]).cpu()
