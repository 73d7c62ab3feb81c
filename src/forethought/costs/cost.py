"""The cost contract: what is wanted, read off imagined latents. A cost never encodes and never rolls out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from forethought.types import Rollout, Target


@runtime_checkable
class Cost(Protocol):
    """cost_BS of S imagined futures for a batch of B targets; lower is better. Guardrails: satisfied at <= 0."""

    def __call__(self, rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
        """Costs (B, S) for rollout latents (B, S, H, D)."""
