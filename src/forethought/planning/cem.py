"""The cross-entropy method (Rubinstein 1999): refit a Gaussian to the best samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.planning.gaussian import Gaussian, draw, elites


@final
@dataclass(frozen=True)
class CEM:
    """`elites` best samples give the next mean and deviation, which never falls below `floor`; noise is held for `frames`."""

    elites: int = 8
    deviation: float = 0.8
    floor: float = 0.05
    frames: int = 1

    def init(self, mean_HA: Tensor) -> Gaussian:
        return Gaussian(mean_HA, torch.full_like(mean_HA, self.deviation))

    def sample(self, search: Gaussian, num_samples: int, generator: torch.Generator) -> Tensor:
        return draw(search, num_samples, generator, self.frames)

    def update(self, search: Gaussian, actions_SHA: Tensor, cost_S: Tensor) -> Gaussian:
        best = elites(actions_SHA, cost_S, self.elites)
        return Gaussian(best.mean(0), best.std(0, correction=0).clamp_min(self.floor), search.iteration + 1)
