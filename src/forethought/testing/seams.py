"""Public conformance checks of the seams: give them your own part, they raise ContractError with what it breaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from forethought.costs.cost import Cost
from forethought.errors import ContractError
from forethought.planning.loop import SearchConfig, legalise, search
from forethought.planning.proposal import SearchMethod
from forethought.types import Belief, Rollout, Space, Target
from forethought.world_model import WorldModel


def check_world_model(model: WorldModel, observation: Mapping[str, Tensor], action_size: int, tolerance: float = 1e-4) -> None:
    """Shapes, no NaN, `imagine` equal to repeated single blocks, no change of the belief. Raises ContractError."""
    with torch.inference_mode():
        belief = model.observe(observation)
        before = belief.z_BD.clone()
        actions = torch.rand(len(before), 3, 4, action_size, generator=torch.Generator().manual_seed(0)) * 2 - 1
        rollout = model.imagine(belief, actions)
        expected = (len(before), 3, 4, before.shape[-1])
        _require(tuple(rollout.z_BSHD.shape) == expected, f"imagine gave {tuple(rollout.z_BSHD.shape)}, expected {expected}")
        _require(bool(torch.isfinite(rollout.z_BSHD).all()), "imagine gave numbers that are not finite")
        _require(torch.equal(belief.z_BD, before), "imagine changed the belief; state is a value")
        alone = model.imagine(belief, actions[:, 1:2, :2]).z_BSHD[:, 0]
        gap = float((alone - rollout.z_BSHD[:, 1, :2]).abs().max())
        _require(gap <= tolerance, f"a candidate's future depends on the other candidates or on later blocks (by {gap:.1e})")
        again = model.observe(observation, actions[:, 0, 0], belief)
        _require(again.z_BD.shape == before.shape, f"observe gave {tuple(again.z_BD.shape)}, expected {tuple(before.shape)}")


def check_cost(cost: Cost, latent_size: int, action_size: int, scene_size: int = 0) -> None:
    """Shape (B, S), finite on finite input, each candidate judged by itself, nothing mutated. Raises ContractError."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 5, 3, latent_size, generator=generator)
    start = Belief(torch.randn(2, latent_size, generator=generator), torch.zeros(2, 0), scene_size)
    target, actions = Target(torch.randn(2, latent_size, generator=generator)), torch.zeros(2, 5, 3, action_size)
    kept = z.clone()
    value = cost(Rollout(start, z), actions, target)
    _require(tuple(value.shape) == (2, 5), f"the cost has shape {tuple(value.shape)}, expected (2, 5): one number a candidate")
    _require(bool(torch.isfinite(value).all()), "the cost of finite latents is not finite")
    _require(torch.equal(z, kept), "the cost changed the rollout")
    alone = cost(Rollout(start, z[:, 2:3]), actions[:, 2:3], target)
    _require(torch.allclose(alone[:, 0], value[:, 2], atol=1e-4), "a candidate's cost depends on the other candidates")


def check_planner(
    method: SearchMethod[Any], model: WorldModel, cost: Cost, belief: Belief, target: Target, space: Space, action_size: int
) -> None:
    """Legal actions, the same plan from the same generator, never worse than the warm start, NaN never wins."""
    config = SearchConfig(num_samples=32, iterations=3, horizon=3, patience=9)

    def plan(judge: Cost, warm: tuple[Tensor, ...] = ()) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return search(
            model, judge, target, belief, method, config=config, space=space, action_size=action_size,
            generator=generator, warm_starts=warm,
        ).actions_HA  # fmt: skip

    first, second = plan(cost), plan(cost)
    _require(torch.equal(first, second), "the same generator gave two different plans; randomness must come from it alone")
    _require(torch.equal(legalise(first, space), first), "the plan leaves the space: not in [-1, 1], or not one-hot")
    better = _value(model, cost, belief, target, plan(cost, (first,))) <= _value(model, cost, belief, target, first) + 1e-6
    _require(better, "the plan is worse than its warm start")

    def poisoned(rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
        value = cost(rollout, actions_BSHA, target)
        return torch.where(actions_BSHA[:, :, 0, 0] > 0, torch.full_like(value, float("nan")), value)

    # for a box all below 0; for one-hot rows the last of each is the largest, so the first is 0
    warm = torch.linspace(-1.0, -0.5, action_size).expand(3, -1)
    _require(float(plan(poisoned, (warm,))[0, 0]) <= 0, "a candidate whose cost is NaN won")


def _value(model: WorldModel, cost: Cost, belief: Belief, target: Target, actions_HA: Tensor) -> float:
    actions = actions_HA[None, None]
    return float(cost(model.imagine(belief, actions), actions, target)[0, 0])


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ContractError(message)
