"""Costs add, and guardrails come first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.costs.cost import Cost
from forethought.types import Rollout, Target


@final
@dataclass(frozen=True)
class Sum:
    """The weighted sum of costs."""

    parts: tuple[tuple[float, Cost], ...]

    def __call__(self, rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
        return torch.stack([weight * cost(rollout, actions_BSHA, target) for weight, cost in self.parts]).sum(0)


@final
@dataclass(frozen=True)
class Guarded:
    """A cost under guardrails (satisfied at <= 0): whatever breaks one ranks after everything that breaks none."""

    cost: Cost
    guardrails: tuple[Cost, ...]
    penalty: float = 1e6

    def __call__(self, rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
        total = self.cost(rollout, actions_BSHA, target)
        for guardrail in self.guardrails:
            excess = guardrail(rollout, actions_BSHA, target).clamp_min(0.0)
            total = total + torch.where(excess > 0, self.penalty * (1 + excess), torch.zeros_like(excess))
        return total
