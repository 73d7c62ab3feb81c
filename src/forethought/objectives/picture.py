"""The state half predicts a coarse picture of its own moment: small things that rarely move are not left out of the latent."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from forethought.types import Sensor, SensorKind


def coarse(image_NHWC: Tensor, cells: int) -> Tensor:
    """Means of up to cells x cells blocks of uint8 images, flat (N, cells * cells * C), in [0, 1]."""
    height, width = image_NHWC.shape[1:3]
    block = (max(1, height // cells), max(1, width // cells))
    picture: Tensor = functional.avg_pool2d(image_NHWC.permute(0, 3, 1, 2).float(), block).flatten(1) / 255
    return picture


@final
class PictureHead(nn.Module):
    """Decodes states (N, E) to the coarse pictures of all cameras. It serves training alone, and is thrown away."""

    def __init__(self, sensors: Sequence[Sensor], state_size: int, cells: int = 16, width: int = 512) -> None:
        super().__init__()
        self.cameras, self.cells = tuple(s for s in sensors if s.kind is SensorKind.IMAGE), cells
        blank = {s.name: torch.zeros(1, *s.shape, dtype=torch.uint8) for s in self.cameras}
        pairs = itertools.pairwise((state_size, width, width, width))
        hidden = [module for before, after in pairs for module in (nn.Linear(before, after), nn.SiLU())]
        self.net = nn.Sequential(*hidden, nn.Linear(width, self.target(blank).shape[1]))

    def target(self, observation: Mapping[str, Tensor]) -> Tensor:
        """What it should say, (N, P)."""
        return torch.cat([coarse(observation[s.name], self.cells) for s in self.cameras], 1)

    def forward(self, state_NE: Tensor, target_NP: Tensor) -> Tensor:
        """The share of the pictures' variance that is left over: 1 knows nothing but their mean; a scalar."""
        centred_NP = target_NP - target_NP.mean(0)  # or the mean's error, 300 times the spread, drowns all others at the start
        return functional.mse_loss(self.net(state_NE), centred_NP) / centred_NP.square().mean().clamp_min(1e-8)
