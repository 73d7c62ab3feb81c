"""The dynamics contract: latent, memory and action block in; next latent and memory out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Dynamics(nn.Module, ABC):
    """Predicts the next latent. Only the state part changes; the scene part is copied by whoever calls."""

    latent_size: int
    action_size: int
    memory_size: int  # M: numbers of memory a belief carries (0: Markov)

    @abstractmethod
    def initial_memory(self, z_BD: Tensor) -> Tensor:
        """Memory (B, M) for an episode's first latent."""

    @abstractmethod
    def update(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor, next_z_BD: Tensor) -> Tensor:
        """Memory (B, M) after seeing that action led to that latent (filtering)."""

    @abstractmethod
    def step(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor) -> tuple[Tensor, Tensor]:
        """One imagined step: next latents (B, D) and memory (B, M)."""

    def imagine(self, z_BD: Tensor, memory_BM: Tensor, actions_BSHA: Tensor) -> Tensor:
        """S x H imagined latents (B, S, H, D). Families may fuse this; the result equals repeated `step`."""
        batch, samples, horizon, size = actions_BSHA.shape
        z = z_BD.repeat_interleave(samples, 0)
        memory = memory_BM.repeat_interleave(samples, 0)
        flat = actions_BSHA.reshape(batch * samples, horizon, size)
        latents = []
        for h in range(horizon):
            z, memory = self.step(z, memory, flat[:, h])
            latents.append(z)
        return torch.stack(latents, 1).reshape(batch, samples, horizon, -1)
