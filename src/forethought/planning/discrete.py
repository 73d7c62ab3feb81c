"""Categorical CEM, for discrete actions: refit each action's probabilities to the best samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from forethought.planning.gaussian import elites


@final
@dataclass(frozen=True)
class Categorical:
    """probability_HFA over the actions of each frame of each block."""

    probability_HFA: Tensor


@final
@dataclass(frozen=True)
class CategoricalCEM:
    """For one-hot actions of `count` kinds. `smoothing` keeps every action possible."""

    count: int
    elites: int = 8
    smoothing: float = 0.05
    trust: float = 0.5

    def init(self, mean_HA: Tensor) -> Categorical:
        rows = mean_HA.reshape(len(mean_HA), -1, self.count)
        uniform = torch.full_like(rows, 1 / self.count)
        return Categorical(torch.where(rows.sum(-1, keepdim=True) > 0, self.trust * rows + (1 - self.trust) * uniform, uniform))

    def sample(self, search: Categorical, num_samples: int, generator: torch.Generator) -> Tensor:
        shape = search.probability_HFA.shape
        drawn = torch.multinomial(search.probability_HFA.reshape(-1, self.count), num_samples, True, generator=generator)
        one_hot = functional.one_hot(drawn.T, self.count).float()
        return one_hot.reshape(num_samples, shape[0], -1)

    def update(self, search: Categorical, actions_SHA: Tensor, cost_S: Tensor) -> Categorical:
        best = elites(actions_SHA, cost_S, self.elites).mean(0)
        rows = best.reshape(len(best), -1, self.count)
        return Categorical((1 - self.smoothing) * rows + self.smoothing / self.count)
