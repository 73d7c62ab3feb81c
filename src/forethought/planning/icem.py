"""iCEM (2008.06389): CEM with coloured noise, elites carried over, and a shrinking population."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.planning.gaussian import Gaussian, elites


@final
@dataclass(frozen=True)
class ICEM:
    """`colour` is the exponent of the noise's power spectrum: 0 white, 2 slow drifts. `shrink` samples fewer each time."""

    elites: int = 8
    deviation: float = 0.8
    floor: float = 0.05
    colour: float = 1.5
    kept_share: float = 0.3
    shrink: float = 1.25

    def init(self, mean_HA: Tensor) -> Gaussian:
        return Gaussian(mean_HA, torch.full_like(mean_HA, self.deviation))

    def sample(self, search: Gaussian, num_samples: int, generator: torch.Generator) -> Tensor:
        count = max(2 * self.elites, int(num_samples * self.shrink**-search.iteration))
        horizon, size = search.mean_HA.shape
        noise = coloured_noise(count, horizon, size, self.colour, generator)
        fresh = search.mean_HA + search.deviation_HA * noise
        return fresh if search.kept_SHA is None else torch.cat([search.kept_SHA, fresh])

    def update(self, search: Gaussian, actions_SHA: Tensor, cost_S: Tensor) -> Gaussian:
        best = elites(actions_SHA, cost_S, self.elites)
        kept = best[: max(1, int(self.kept_share * len(best)))]
        return Gaussian(best.mean(0), best.std(0, correction=0).clamp_min(self.floor), search.iteration + 1, kept)


def coloured_noise(count: int, horizon: int, size: int, colour: float, generator: torch.Generator) -> Tensor:
    """Unit-variance noise (S, H, A) whose power falls as frequency^-colour along the horizon (Timmer and Koenig 1995)."""
    if horizon < 3:
        return torch.randn(count, horizon, size, generator=generator)
    frequency = torch.fft.rfftfreq(horizon)
    frequency[0] = frequency[1]
    scale = frequency.pow(-colour / 2)
    real = torch.randn(count, size, len(frequency), generator=generator) * scale
    imaginary = torch.randn(count, size, len(frequency), generator=generator) * scale
    noise = torch.fft.irfft(torch.complex(real, imaginary), n=horizon).transpose(1, 2)
    # the variance of what irfft sums: every frequency twice, but for the mean and, if the horizon is even, the highest
    power = 4 * scale.square()
    power[0] = scale[0].square()
    if horizon % 2 == 0:
        power[-1] = scale[-1].square()
    unit: Tensor = noise * (horizon / power.sum().sqrt())
    return unit
