"""Goals that are predicates: how far from true, read by a probe off imagined latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.grammar import Above, Both, Expression, Name, Not, Term, canonical, names_in, parse
from forethought.types import Rollout, Target


@final
@dataclass(frozen=True)
class Predicate:
    """A predicate over quantities in a known order. `unit_Q`: what counts as one unit of each, so that parts compare."""

    expression: Expression
    names: tuple[str, ...]
    unit_Q: tuple[float, ...]

    def shortfall(self, quantities_NQ: Tensor) -> Tensor:
        """How far (N,) each row is from making it true, in units: negative where it holds with something to spare.

        A part's shortfall is a difference; "and" takes the largest, "or" the smallest, "not" the negative: it has a gradient
        almost everywhere, and its sign is the predicate's truth (at exactly 0 it is either).
        """
        return self._short(self.expression, quantities_NQ)

    def _short(self, expression: Expression, quantities_NQ: Tensor) -> Tensor:
        if isinstance(expression, Above):
            gap = self._value(expression.right, quantities_NQ) - self._value(expression.left, quantities_NQ)
            return gap / self._unit(expression)
        if isinstance(expression, Not):
            return -self._short(expression.part, quantities_NQ)
        parts = torch.stack([self._short(part, quantities_NQ) for part in expression.parts])
        return parts.amax(0) if isinstance(expression, Both) else parts.amin(0)

    def _value(self, term: Term, quantities_NQ: Tensor) -> Tensor:
        if isinstance(term, Name):
            return quantities_NQ[:, self.names.index(canonical(term.text, self.names))]
        return quantities_NQ.new_full((len(quantities_NQ),), term)

    def _unit(self, above: Above) -> float:
        terms = [term for term in (above.left, above.right) if isinstance(term, Name)]
        return max((self.unit_Q[self.names.index(canonical(term.text, self.names))] for term in terms), default=1.0)


def read_predicate(text: str, names: tuple[str, ...], unit_Q: tuple[float, ...] | None = None) -> Predicate:
    """Parse a predicate and check its names. Raises UsageError for what cannot be read or is not known."""
    expression = parse(text)
    for name in names_in(expression):
        canonical(name, names)
    return Predicate(expression, names, unit_Q or (1.0,) * len(names))


@final
@dataclass(frozen=True)
class PredicateCost:
    """Shortfall of the path's end, plus `path_weight` times its mean over the path: of two plans, the one that is sooner true.

    probe(z (N, D)) -> quantities (N, Q). Where the predicate holds, `spare` more units of margin are still worth having: the
    probe errs, and an edge is a bad place to stand.
    """

    probe: Callable[[Tensor], Tensor]
    predicate: Predicate
    path_weight: float = 0.2
    spare: float = 0.1

    def __call__(self, rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
        z = rollout.z_BSHD
        short_BSH = self.predicate.shortfall(self.probe(z.flatten(0, 2))).reshape(z.shape[:3]) + self.spare
        left_BSH = torch.where(short_BSH < 0, torch.zeros_like(short_BSH), short_BSH)  # not clamp: NaN has to stay NaN
        return left_BSH[..., -1] + self.path_weight * left_BSH.mean(-1)
