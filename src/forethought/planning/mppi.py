"""MPPI (Williams et al. 2017): an average of all samples, weighted by exp(-cost / temperature)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.planning.gaussian import Gaussian, draw


@final
@dataclass(frozen=True)
class MPPI:
    """`temperature` is a share of the spread between the median and the best cost; the deviation shrinks by `anneal`."""

    temperature: float = 0.1
    deviation: float = 0.8
    anneal: float = 0.85
    floor: float = 0.05

    def init(self, mean_HA: Tensor) -> Gaussian:
        return Gaussian(mean_HA, torch.full_like(mean_HA, self.deviation))

    def sample(self, search: Gaussian, num_samples: int, generator: torch.Generator) -> Tensor:
        return draw(search, num_samples, generator)

    def update(self, search: Gaussian, actions_SHA: Tensor, cost_S: Tensor) -> Gaussian:
        usable = torch.isfinite(cost_S)
        if not usable.any():
            return search
        cost = cost_S[usable]
        spread = (cost.median() - cost.min()).clamp_min(1e-9)
        weight = torch.softmax(-(cost - cost.min()) / (self.temperature * spread), 0)
        mean = torch.einsum("s,sha->ha", weight, actions_SHA[usable])
        return Gaussian(mean, (search.deviation_HA * self.anneal).clamp_min(self.floor), search.iteration + 1)
