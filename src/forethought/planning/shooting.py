"""Random shooting: independent samples, no learning between iterations. The baseline that a method has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.planning.gaussian import Gaussian, draw


@final
@dataclass(frozen=True)
class RandomShooting:
    """Half of the samples are uniform over the bounds, half are Gaussian around the warm start."""

    deviation: float = 0.5

    def init(self, mean_HA: Tensor) -> Gaussian:
        return Gaussian(mean_HA, torch.full_like(mean_HA, self.deviation))

    def sample(self, search: Gaussian, num_samples: int, generator: torch.Generator) -> Tensor:
        near = draw(search, num_samples // 2, generator)
        uniform = torch.rand(num_samples - len(near), *search.mean_HA.shape, generator=generator) * 2 - 1
        return torch.cat([near, uniform])

    def update(self, search: Gaussian, actions_SHA: Tensor, cost_S: Tensor) -> Gaussian:
        return search
