"""The world model seam: observe (filter) and imagine (roll out), built from any encoder and any dynamics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, final, runtime_checkable

import torch
from torch import Tensor, nn

from forethought.dynamics.base import Dynamics
from forethought.perception.encoder import Encoder
from forethought.types import Belief, Rollout


@runtime_checkable
class WorldModel(Protocol):
    """Contract. History lives in the belief, never in the model; `imagine` makes no pixels."""

    def observe(
        self, observation: Mapping[str, Tensor], previous_action_BA: Tensor | None = None, belief: Belief | None = None
    ) -> Belief:
        """Filter: one new frame in (each sensor (B, ...)), the belief out. No belief: an episode begins."""

    def imagine(self, belief: Belief, actions_BSHA: Tensor) -> Rollout:
        """Latents (B, S, H, D) that S candidate sequences of H action blocks would lead to."""


@final
class LatentWorldModel(nn.Module):
    """A joint-embedding world model: an encoder and a latent dynamics (LeCun 2022; JEPA)."""

    def __init__(self, encoder: Encoder, dynamics: Dynamics) -> None:
        super().__init__()
        self.encoder = encoder
        self.dynamics = dynamics

    def encode(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Latents (B, D) of a batch of observations."""
        z_BD: Tensor = self.encoder(observation)
        return z_BD

    def observe(
        self, observation: Mapping[str, Tensor], previous_action_BA: Tensor | None = None, belief: Belief | None = None
    ) -> Belief:
        z_BD = self.encode(observation)
        if belief is None or previous_action_BA is None:
            memory_BM = self.dynamics.initial_memory(z_BD)
        else:
            memory_BM = self.dynamics.update(belief.z_BD, belief.memory_BM, previous_action_BA, z_BD)
        return Belief(z_BD, memory_BM, self.encoder.scene_size)

    def imagine(self, belief: Belief, actions_BSHA: Tensor) -> Rollout:
        return Rollout(belief, self.dynamics.imagine(belief.z_BD, belief.memory_BM, actions_BSHA))


def copy_scene(before_BD: Tensor, after_BD: Tensor, scene_size: int) -> Tensor:
    """The latent `after_BD` with the scene part of `before_BD`: what stays in an episode is not predicted, it is kept."""
    return torch.cat([before_BD[..., :scene_size], after_BD[..., scene_size:]], -1) if scene_size else after_BD
