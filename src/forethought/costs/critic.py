"""The learned temporal distance as a cost: what makes planning work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from torch import Tensor

from forethought.errors import UsageError
from forethought.types import Rollout, Target


@final
@dataclass(frozen=True)
class CriticCost:
    """critic(z (N, D), goal (N, D)) -> blocks to go (N,), read at the end and, by `path_weight`, on the whole way.

    The path's share makes a plan hurry: of two that end equally near, the one that was near earlier is better.
    `passing`: the goal need only be passed, so the end is where the way comes nearest.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    path_weight: float = 0.2
    passing: bool = False

    def __call__(self, rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
        if target.z_BD is None:
            raise UsageError("CriticCost needs a goal with a latent; got a reward goal. Use a reward cost")
        z = rollout.z_BSHD if self.path_weight or self.passing else rollout.z_BSHD[:, :, -1:]
        goal = target.z_BD[:, None, None].expand_as(z)
        distance_BSH = self.critic(z.flatten(0, 2), goal.flatten(0, 2)).reshape(z.shape[:3])
        end_BS = distance_BSH.amin(-1) if self.passing else distance_BSH[..., -1]
        return end_BS + self.path_weight * distance_BSH.sum(-1)
