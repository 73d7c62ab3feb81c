"""A probe: what a latent knows of quantities that have names. It reads frozen latents and trains nothing but itself."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn


@final
class Probe(nn.Module):
    """Latents (..., D) to named quantities (..., Q), in the log's own units.

    `remembered_MD` are latents of the log: a goal that is a predicate looks among them for places where it is true.
    """

    mean_Q: Tensor
    deviation_Q: Tensor
    remembered_MD: Tensor

    def __init__(self, latent_size: int, names: tuple[str, ...], width: int = 128, remembered: int = 0) -> None:
        super().__init__()
        self.names = names
        self.register_buffer("mean_Q", torch.zeros(len(names)))
        self.register_buffer("deviation_Q", torch.ones(len(names)))
        self.register_buffer("remembered_MD", torch.zeros(remembered, latent_size))
        self.net = nn.Sequential(
            nn.Linear(latent_size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, len(names))
        )

    def standard(self, z_ND: Tensor) -> Tensor:
        """The quantities in deviations from their mean: what training compares."""
        scaled: Tensor = self.net(z_ND)
        return scaled

    def forward(self, z_ND: Tensor) -> Tensor:
        return self.mean_Q + self.deviation_Q * self.standard(z_ND)
