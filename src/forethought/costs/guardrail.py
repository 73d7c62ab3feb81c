"""Guardrails: what must hold on the whole way, whatever the goal. `Guarded` puts them before a cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.errors import UsageError, unknown_name
from forethought.types import Rollout, Target


@final
@dataclass(frozen=True)
class Guardrail:
    """excess(z (N, D)) -> (N,), satisfied at <= 0; the worst step of the path counts."""

    excess: Callable[[Tensor], Tensor]

    def __call__(self, rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
        z = rollout.z_BSHD
        return self.excess(z.flatten(0, 2)).reshape(z.shape[:3]).amax(-1)


def keep_between(
    probe: Callable[[Tensor], Tensor],
    names: tuple[str, ...],
    quantity: str,
    low: float | None = None,
    high: float | None = None,
) -> Guardrail:
    """A guardrail on one named quantity that probe(z (N, D)) -> (N, Q) reads, in the order of `names`. Raises UsageError."""
    if quantity not in names:
        raise unknown_name("quantity", quantity, names)
    if low is None and high is None:
        raise UsageError(f"the guardrail on '{quantity}' has neither low nor high; give at least one")
    column = names.index(quantity)

    def excess(z_ND: Tensor) -> Tensor:
        value = probe(z_ND)[:, column]
        sides = ([low - value] if low is not None else []) + ([value - high] if high is not None else [])
        return torch.stack(sides).amax(0)

    return Guardrail(excess)
