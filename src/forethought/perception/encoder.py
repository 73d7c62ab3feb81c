"""The encoder contract: named sensors in, one latent out, scene part first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """Observations to latents. Inputs are raw (uint8 images B,H,W,C; vectors B,n; tokens B,n); scaling happens inside."""

    latent_size: int
    scene_size: int

    @abstractmethod
    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """One batch of observations, each sensor (B, ...), to latents (B, D): scene part first, state part after it."""
