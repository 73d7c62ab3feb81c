"""What CEM, iCEM and MPPI share: a diagonal Gaussian over sequences, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True)
class Gaussian:
    """mean_HA and deviation_HA; `iteration` counts updates; `kept_SHA` are elites carried over."""

    mean_HA: Tensor
    deviation_HA: Tensor
    iteration: int = 0
    kept_SHA: Tensor | None = None


def draw(search: Gaussian, num_samples: int, generator: torch.Generator) -> Tensor:
    """White-noise samples (S, H, A)."""
    noise = torch.randn(num_samples, *search.mean_HA.shape, generator=generator)
    return search.mean_HA + search.deviation_HA * noise


def elites(actions_SHA: Tensor, cost_S: Tensor, count: int) -> Tensor:
    """The best `count` sequences with finite cost (at least one), best first."""
    count = max(1, min(count, int(torch.isfinite(cost_S).sum())))
    return actions_SHA[cost_S.argsort(stable=True)[:count]]
