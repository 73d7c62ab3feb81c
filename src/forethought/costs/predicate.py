"""Goals that are predicates: how far from true, read by a probe off imagined latents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
        return self._short(self.expression, quantities_NQ, quantities_NQ)

    def shortfall_within(self, low_NQ: Tensor, high_NQ: Tensor) -> Tensor:
        """The largest shortfall (N,) that quantities anywhere between `low` and `high` can have, or more; never less.

        Each comparison takes its unfavourable ends, so where this is at most 0 the predicate holds in the whole box.
        """
        return self._short(self.expression, low_NQ, high_NQ)

    def leans_on(self) -> tuple[tuple[int, int], ...]:
        """The ends of intervals that `shortfall_within` reads: (quantity, 0 for its low end, 1 for its high end)."""
        return tuple(sorted(set(self._ends(self.expression, 0))))

    def _short(self, expression: Expression, low_NQ: Tensor, high_NQ: Tensor) -> Tensor:
        if isinstance(expression, Above):
            return (self._value(expression.right, high_NQ) - self._value(expression.left, low_NQ)) / self._unit(expression)
        if isinstance(expression, Not):  # the negative of the part's smallest shortfall
            return -self._short(expression.part, high_NQ, low_NQ)
        parts = torch.stack([self._short(part, low_NQ, high_NQ) for part in expression.parts])
        return parts.amax(0) if isinstance(expression, Both) else parts.amin(0)

    def _ends(self, expression: Expression, turned: int) -> Iterator[tuple[int, int]]:
        if isinstance(expression, Above):
            ends = ((expression.left, turned), (expression.right, 1 - turned))
            yield from ((self.names.index(canonical(t.text, self.names)), end) for t, end in ends if isinstance(t, Name))
        else:
            parts = (expression.part,) if isinstance(expression, Not) else expression.parts
            for part in parts:
                yield from self._ends(part, 1 - turned if isinstance(expression, Not) else turned)

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
