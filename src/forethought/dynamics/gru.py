"""A recurrent dynamics: for worlds where one observation does not tell all. The memory is the recurrent state."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from forethought.dynamics.base import Dynamics


@final
class GRUDynamics(Dynamics):
    """memory' = GRU(memory; scene, state, action); state' = state + f(memory'); the scene is copied."""

    def __init__(self, latent_size: int, scene_size: int, action_size: int, width: int = 256, depth: int = 2) -> None:
        super().__init__()
        self.latent_size, self.scene_size, self.action_size = latent_size, scene_size, action_size
        self.memory_size = width
        self.cell = nn.GRUCell(latent_size + action_size, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.last = nn.Linear(width, latent_size - scene_size)

    def initial_memory(self, z_BD: Tensor) -> Tensor:
        return z_BD.new_zeros(len(z_BD), self.memory_size)

    def update(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor, next_z_BD: Tensor) -> Tensor:
        memory: Tensor = self.cell(torch.cat([z_BD, action_BA], -1), memory_BM)
        return memory

    def step(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor) -> tuple[Tensor, Tensor]:
        memory = self.update(z_BD, memory_BM, action_BA, z_BD)
        return torch.cat([z_BD[..., : self.scene_size], z_BD[..., self.scene_size :] + self._change(memory)], -1), memory

    def imagine(self, z_BD: Tensor, memory_BM: Tensor, actions_BSHA: Tensor) -> Tensor:
        """Fused: the scene's and all actions' share of the gates is computed once, not once a step."""
        batch, samples, horizon, size = actions_BSHA.shape
        parts = [self.scene_size, self.latent_size - self.scene_size]
        scene_w, state_w, action_w = self.cell.weight_ih.split_with_sizes([*parts, size], 1)
        scene_BC, state_BE = z_BD.split_with_sizes(parts, -1)
        fixed_BG = functional.linear(scene_BC, scene_w, self.cell.bias_ih)
        pushed = (functional.linear(actions_BSHA, action_w) + fixed_BG[:, None, None]).flatten(0, 1)
        state, memory = state_BE.repeat_interleave(samples, 0), memory_BM.repeat_interleave(samples, 0)
        states = []
        for h in range(horizon):
            memory = self._gates(torch.addmm(pushed[:, h], state, state_w.T), memory)
            state = state + self._change(memory)
            states.append(state)
        state_BSHE = torch.stack(states, 1).reshape(batch, samples, horizon, -1)
        return torch.cat([scene_BC[:, None, None].expand(-1, samples, horizon, -1), state_BSHE], -1)

    def _gates(self, given_NG: Tensor, memory_NM: Tensor) -> Tensor:
        """The GRU cell, from the input's share of its gates (reset, update, new)."""
        kept = functional.linear(memory_NM, self.cell.weight_hh, self.cell.bias_hh)
        split = 2 * self.memory_size
        reset, update = torch.sigmoid(given_NG[:, :split] + kept[:, :split]).chunk(2, -1)
        new = torch.tanh(torch.addcmul(given_NG[:, split:], reset, kept[:, split:]))
        return torch.lerp(new, memory_NM, update)

    def _change(self, memory_NM: Tensor) -> Tensor:
        hidden = memory_NM
        for layer in self.hidden:
            hidden = functional.silu(layer(hidden))
        change: Tensor = self.last(hidden)
        return change
