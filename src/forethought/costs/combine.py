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
    """A cost under guardrails (satisfied at <= 0): whatever breaks one ranks after everything that breaks none.

    Costs are cut at +- `penalty`, and what breaks a guardrail lies above that, by how much it breaks them. A guardrail that
    cannot be computed (NaN) counts as broken, and the candidate's cost is NaN: it never wins.
    """

    cost: Cost
    guardrails: tuple[Cost, ...]
    penalty: float = 1e6

    def __call__(self, rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
        total = self.cost(rollout, actions_BSHA, target)
        if not self.guardrails:
            return total
        excess = torch.stack([guard(rollout, actions_BSHA, target) for guard in self.guardrails]).clamp_min(0.0).sum(0)
        kept = torch.where(torch.isfinite(total), total.clamp(-self.penalty, self.penalty), total)
        return torch.where(excess == 0, kept, kept + self.penalty * (2 + excess))
