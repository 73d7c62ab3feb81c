"""A learned dynamics with a small correction before and behind it: what an agent may change when the world has changed."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from forethought.dynamics.base import Dynamics
from forethought.types import BoxSpace, Space


@final
class Adapted(Dynamics):
    """state' = f(z, M a + c) + r(z, a): what actuators make of each frame's action (M, c), and a residual r of `width`.

    As built it changes nothing: M is the identity, c and r are zero. `width` 0: no residual. Discrete actions are left alone.

    >>> from forethought.dynamics.build import Architecture, build_dynamics
    >>> space = BoxSpace((-1.0, -1.0), (1.0, 1.0))
    >>> sum(p.numel() for p in Adapted(build_dynamics(Architecture(), 16, 0, 2), space).own())
    6
    """

    def __init__(self, base: Dynamics, space: Space, width: int = 0) -> None:
        super().__init__()
        self.latent_size, self.action_size, self.memory_size = base.latent_size, base.action_size, base.memory_size
        self.base, self.width, self.frame = base.requires_grad_(False), width, space.size
        boxed = isinstance(space, BoxSpace)
        self.gain = nn.Parameter(torch.eye(space.size), requires_grad=boxed)
        self.bias = nn.Parameter(torch.zeros(space.size), requires_grad=boxed)
        self.residual = _residual(base.latent_size + base.action_size, width, base.latent_size) if width else None

    def own(self) -> list[nn.Parameter]:
        """What may be learned: all but the base."""
        mine = [self.gain, self.bias, *(self.residual.parameters() if self.residual is not None else ())]
        return [p for p in mine if p.requires_grad]

    def done(self, action_NA: Tensor) -> Tensor:
        """What the actuators make of blocks (..., A)."""
        frames = action_NA.reshape(*action_NA.shape[:-1], -1, self.frame)
        return functional.linear(frames, self.gain, self.bias).flatten(-2)

    def added(self, z_BD: Tensor, action_BA: Tensor) -> Tensor:
        """What the residual adds to the next latent, (B, D)."""
        if self.residual is None:
            return torch.zeros_like(z_BD)
        added: Tensor = self.residual(torch.cat([z_BD, action_BA], -1))
        return added

    def initial_memory(self, z_BD: Tensor) -> Tensor:
        return self.base.initial_memory(z_BD)

    def update(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor, next_z_BD: Tensor) -> Tensor:
        return self.base.update(z_BD, memory_BM, self.done(action_BA), next_z_BD)

    def step(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor) -> tuple[Tensor, Tensor]:
        after, memory = self.base.step(z_BD, memory_BM, self.done(action_BA))
        return after + self.added(z_BD, action_BA), memory

    def imagine(self, z_BD: Tensor, memory_BM: Tensor, actions_BSHA: Tensor) -> Tensor:
        """As fast as the base where there is no residual."""
        if self.residual is not None:
            return super().imagine(z_BD, memory_BM, actions_BSHA)
        return self.base.imagine(z_BD, memory_BM, self.done(actions_BSHA))


def _residual(inputs: int, width: int, outputs: int) -> nn.Sequential:
    last = nn.Linear(width, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last)
