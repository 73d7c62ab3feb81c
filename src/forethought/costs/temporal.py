"""The trainable critic: a goal-conditioned temporal distance on latents, in blocks."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn


def mlp(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with SiLU between them."""
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(itertools.pairwise(sizes)):
        layers += [nn.Linear(before, after)] + ([nn.SiLU(inplace=True)] if index < len(sizes) - 2 else [])
    return nn.Sequential(*layers)


class Critic(nn.Module, ABC):
    """Blocks to go, d(scene, state, goal state) >= 0. Of a goal only the state part is read: the scene is the one we are in."""

    @abstractmethod
    def forward(self, z_ND: Tensor, goal_ND: Tensor) -> Tensor:
        """Distances (N,) from latents (N, D) to goals (N, D)."""


@final
class TemporalDistance(Critic):
    """Expected number of blocks from a latent to a goal's state, d(scene, state, goal state) >= 0.

    Only the goal's state part is read, and the scene is the one we are in: a goal seen in another light is still reached.
    """

    def __init__(self, latent_size: int, scene_size: int, width: int, depth: int, limit: float) -> None:
        super().__init__()
        state_size = latent_size - scene_size
        self.scene_size, self.limit = scene_size, limit
        self.net = mlp((latent_size + state_size, *[width] * depth, 1))

    def forward(self, z_ND: Tensor, goal_ND: Tensor) -> Tensor:
        """Distances (N,) from latents (N, D) to goals (N, D)."""
        joined = torch.cat([z_ND, goal_ND[..., self.scene_size :]], -1)
        distance: Tensor = self.limit * torch.sigmoid(self.net(joined)).squeeze(-1)
        return distance
