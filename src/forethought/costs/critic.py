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
    `nearest_weight` adds the least distance on the way, for goals that need only be passed.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    path_weight: float = 0.2
    nearest_weight: float = 0.0

    def __call__(self, rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
        if target.z_BD is None:
            raise UsageError("CriticCost needs a goal with a latent; got a reward goal. Use a reward cost")
        z = rollout.z_BSHD if self.path_weight or self.nearest_weight else rollout.z_BSHD[:, :, -1:]
        goal = target.z_BD[:, None, None].expand_as(z)
        distance_BSH = self.critic(z.flatten(0, 2), goal.flatten(0, 2)).reshape(z.shape[:3])
        cost_BS = distance_BSH[..., -1] + self.path_weight * distance_BSH.sum(-1)
        return cost_BS + self.nearest_weight * distance_BSH.amin(-1) if self.nearest_weight else cost_BS
