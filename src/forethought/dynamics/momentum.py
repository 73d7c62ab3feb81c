"""A residual MLP that also remembers the last block of actions: what is in motion goes on, and one frame does not show it."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from forethought.dynamics.base import Dynamics
from forethought.dynamics.residual_mlp import ResidualMLP


@final
class MomentumMLP(Dynamics):
    """state' = state + f(scene, state, last block, block). An episode begins at rest: its last block is zeros."""

    def __init__(self, latent_size: int, scene_size: int, action_size: int, width: int = 256, depth: int = 3) -> None:
        super().__init__()
        self.latent_size, self.scene_size = latent_size, scene_size
        self.action_size = self.memory_size = action_size
        self.net = ResidualMLP(latent_size, scene_size, 2 * action_size, width, depth)

    def initial_memory(self, z_BD: Tensor) -> Tensor:
        return z_BD.new_zeros(*z_BD.shape[:-1], self.memory_size)

    def update(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor, next_z_BD: Tensor) -> Tensor:
        return action_BA

    def step(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor) -> tuple[Tensor, Tensor]:
        return self.net.step(z_BD, z_BD[..., :0], torch.cat([action_BA, memory_BM], -1))[0], action_BA

    def imagine(self, z_BD: Tensor, memory_BM: Tensor, actions_BSHA: Tensor) -> Tensor:
        first = memory_BM[:, None, None].expand(-1, actions_BSHA.shape[1], 1, -1)
        last_BSHA = torch.cat([first, actions_BSHA[:, :, :-1]], 2)
        return self.net.imagine(z_BD, z_BD[..., :0], torch.cat([actions_BSHA, last_BSHA], -1))
