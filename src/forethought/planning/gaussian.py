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


def draw(search: Gaussian, num_samples: int, generator: torch.Generator, frames: int = 1) -> Tensor:
    """White-noise samples (S, H, A); with `frames`, one draw is held over that many actions, laid end to end in a block.

    Independent noise in every frame of a block averages out, and no sample goes far.
    """
    horizon, size = search.mean_HA.shape
    noise = torch.randn(num_samples, horizon, size // frames, generator=generator).repeat(1, 1, frames)
    return search.mean_HA + search.deviation_HA * noise


def elites(actions_SHA: Tensor, cost_S: Tensor, count: int) -> Tensor:
    """The best `count` sequences with finite cost (at least one), best first."""
    count = max(1, min(count, int(torch.isfinite(cost_S).sum())))
    return actions_SHA[cost_S.argsort(stable=True)[:count]]
