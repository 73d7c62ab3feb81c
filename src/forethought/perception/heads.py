"""The last layer of every encoder: features to a latent in two halves, scene (stays in an episode) and state (changes)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn


@final
class TwoHeads(nn.Module):
    """Features (B, F) to latents (B, scene_size + state_size), scene first.

    Both halves end in batch normalisation: without it the regulariser's gradient at a nearly constant latent is too weak,
    and a run spends a third of its time at the start doing nothing (docs/log.md).
    """

    def __init__(self, features: int, scene_size: int, state_size: int) -> None:
        super().__init__()
        self.state = nn.Sequential(nn.Linear(features, state_size, bias=False), nn.BatchNorm1d(state_size))
        hidden = max(features // 2, 1)
        self.scene = (
            nn.Sequential(
                nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, scene_size, bias=False), nn.BatchNorm1d(scene_size)
            )
            if scene_size
            else None
        )

    def forward(self, features_BF: Tensor) -> Tensor:
        state: Tensor = self.state(features_BF)
        return state if self.scene is None else torch.cat([self.scene(features_BF), state], -1)
