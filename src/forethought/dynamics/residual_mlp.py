"""The default dynamics: a residual MLP. Markov, and as fast on one CPU thread as matrix products are."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from forethought.dynamics.base import Dynamics


@final
class ResidualMLP(Dynamics):
    """state' = state + f(scene, state, action); the scene is copied."""

    memory_size = 0

    def __init__(self, latent_size: int, scene_size: int, action_size: int, width: int = 256, depth: int = 3) -> None:
        super().__init__()
        self.latent_size, self.scene_size, self.action_size = latent_size, scene_size, action_size
        self.first = nn.Linear(latent_size + action_size, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.last = nn.Linear(width, latent_size - scene_size)

    def initial_memory(self, z_BD: Tensor) -> Tensor:
        return z_BD[..., :0]

    def update(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor, next_z_BD: Tensor) -> Tensor:
        return memory_BM

    def step(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor) -> tuple[Tensor, Tensor]:
        scene, state = z_BD[..., : self.scene_size], z_BD[..., self.scene_size :]
        change = self._tail(self.first(torch.cat([z_BD, action_BA], -1)))
        return torch.cat([scene, state + change], -1), memory_BM

    def imagine(self, z_BD: Tensor, memory_BM: Tensor, actions_BSHA: Tensor) -> Tensor:
        """Fused: the scene's and all actions' share of the first layer is computed once, not once a step."""
        batch, samples, horizon, size = actions_BSHA.shape
        scene_w, state_w, action_w = self.first.weight.split_with_sizes(
            [self.scene_size, self.latent_size - self.scene_size, size], 1
        )
        scene_BC, state_BE = z_BD.split_with_sizes([self.scene_size, self.latent_size - self.scene_size], -1)
        fixed_B1W = functional.linear(scene_BC, scene_w, self.first.bias).unsqueeze(1)
        action_BSHW = functional.linear(actions_BSHA, action_w) + fixed_B1W.unsqueeze(1)
        state = state_BE.repeat_interleave(samples, 0)
        pushed = action_BSHW.reshape(batch * samples, horizon, -1)
        states = []
        for h in range(horizon):
            state = state + self._tail(torch.addmm(pushed[:, h], state, state_w.T))
            states.append(state)
        state_BSHE: Tensor = torch.stack(states, 1).reshape(batch, samples, horizon, -1)
        if not self.scene_size:
            return state_BSHE
        return torch.cat([scene_BC[:, None, None].expand(-1, samples, horizon, -1), state_BSHE], -1)

    def _tail(self, hidden: Tensor) -> Tensor:
        inplace = not torch.is_grad_enabled()  # `hidden` is always this module's own, so imagining may overwrite it
        hidden = functional.silu(hidden, inplace)
        for layer in self.hidden:
            hidden = functional.silu(layer(hidden), inplace)
        change: Tensor = self.last(hidden)
        return change
