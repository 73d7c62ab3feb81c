"""Reward as a cost: what the imagined blocks would earn, and what the last latent is still worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.types import Rollout, Target


@final
@dataclass(frozen=True)
class RewardCost:
    """Minus the discounted return: reward(z (N, D), block (N, A)) -> (N,), z being what the block led to.

    value(z (N, D)) -> (N,), if given, is what the last latent is worth beyond the horizon. The goal is not read.
    """

    reward: Callable[[Tensor, Tensor], Tensor]
    value: Callable[[Tensor], Tensor] | None = None
    discount: float = 0.99

    def __call__(self, rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
        z = rollout.z_BSHD
        reward_BSH = self.reward(z.flatten(0, 2), actions_BSHA.flatten(0, 2)).reshape(z.shape[:3])
        weight_H = self.discount ** torch.arange(z.shape[2], device=z.device, dtype=z.dtype)
        total_BS = (reward_BSH * weight_H).sum(-1)
        if self.value is not None:
            total_BS = total_BS + self.discount ** z.shape[2] * self.value(z[:, :, -1].flatten(0, 1)).reshape(z.shape[:2])
        return -total_BS
