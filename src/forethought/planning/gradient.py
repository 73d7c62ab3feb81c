"""Gradient descent through the world model: Adam on the actions themselves, from many starts, projected to the bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.planning.proposal import GradientMethod


@final
@dataclass(frozen=True)
class Descent:
    """The start (H, A); after the first samples the points (S, H, A) and Adam's two moments."""

    mean_HA: Tensor
    points_SHA: Tensor | None = None
    first_SHA: Tensor | None = None
    second_SHA: Tensor | None = None
    iteration: int = 0


@final
@dataclass(frozen=True)
class GradientDescent(GradientMethod[Descent]):
    """Starts at the warm start and, with `deviation` around it, at as many other points as there are samples."""

    rate: float = 0.1
    deviation: float = 0.5
    decays: tuple[float, float] = (0.8, 0.95)

    def init(self, mean_HA: Tensor) -> Descent:
        return Descent(mean_HA)

    def sample(self, search: Descent, num_samples: int, generator: torch.Generator) -> Tensor:
        if search.points_SHA is not None:
            return search.points_SHA
        noise = torch.randn(num_samples, *search.mean_HA.shape, generator=generator)
        noise[0] = 0.0
        return search.mean_HA + self.deviation * noise

    def descend(self, search: Descent, actions_SHA: Tensor, cost_S: Tensor, gradient_SHA: Tensor) -> Descent:
        count = len(actions_SHA) if search.points_SHA is None else len(search.points_SHA)  # warm starts stay in
        actions, gradient = actions_SHA[-count:], gradient_SHA[-count:]
        first = torch.zeros_like(actions) if search.first_SHA is None else search.first_SHA
        second = torch.zeros_like(actions) if search.second_SHA is None else search.second_SHA
        first = torch.lerp(gradient, first, self.decays[0])
        second = torch.lerp(gradient.square(), second, self.decays[1])
        step = search.iteration + 1
        size = (second / (1 - self.decays[1] ** step)).sqrt() + 1e-8
        points = actions - self.rate * first / (1 - self.decays[0] ** step) / size
        return Descent(search.mean_HA, points, first, second, step)
