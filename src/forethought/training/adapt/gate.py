"""What a correction must show before it is kept. Poisoned experience is that which no correction explains, or that explains too
much: a world that stands still is foretold perfectly by believing that nothing one does has any effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from forethought.agent.worlds import after_look
from forethought.dynamics.base import Dynamics
from forethought.perception.lens import Lens
from forethought.surprise.ruler import Ruler
from forethought.training.adapt.fit import HOPELESS, MOST, lengths, moves_errors
from forethought.training.adapt.moves import Moves
from forethought.types import Observation

FEWEST_MOVES, FEWEST_STRETCHES = 60, 6
UNEXPLAINED = 0.25
"""The share of stretches that may be left unexplained: whose median held-out error is HOPELESS of the median move. Not held
against the log's own errors: who explores a body that behaves oddly bumps into more than whoever made the log.
"""
SURPRISED = 0.15
"""Fewer are no reason to learn."""
STILL = 0.1
"""Of the log's usual movement, or of an action's usual effect: less is standing still."""
BETTER = 0.05
"""Level of the sign test over stretches."""
FORGOTTEN = 1.02
"""By so much the errors in the old world may grow, with the version chosen as it is in use."""


@final
@dataclass(frozen=True)
class Figures:
    """Held-out errors, in largest ordinary ones: means (each move for at most 10) before and after, and shares beyond 1.

    `unexplained`, `moved`, `effect`, `forgotten`: what UNEXPLAINED, STILL and FORGOTTEN bound.
    """

    moves: int = 0
    stretches: int = 0
    before: float = 0.0
    after: float = 0.0
    surprised_before: float = 0.0
    surprised_after: float = 0.0
    unexplained: float = 0.0
    moved: float = 0.0
    effect: float = 0.0
    forgotten: float = 0.0


def too_little(new: Moves, old: Moves, ruler: Ruler, before_N: NDArray[np.float64]) -> str:
    """Why this experience teaches nothing, before anything is fitted; empty if it may."""
    stretches = len(np.unique(new.stretch_N))
    if len(new) < FEWEST_MOVES or stretches < FEWEST_STRETCHES:
        return f"{len(new)} moves in {stretches} stretches, and it takes {FEWEST_MOVES} in {FEWEST_STRETCHES}: record more"
    moved = movement(new, ruler) / max(movement(old, ruler), 1e-9)
    if moved < STILL:
        return f"the sensors stand still: they move {moved:.2f} of what they did in the log, whatever is done"
    surprised = float(np.mean(before_N > 1))
    if surprised < SURPRISED:
        return f"nothing to learn: {surprised:.0%} of moves are surprising, as in the log about 5 % are"
    return ""


def movement(moves: Moves, ruler: Ruler) -> float:
    """How far a block usually moves the latent where something is done."""
    strength = moves.block_NA.abs().mean(1)
    active = strength >= strength.median()
    return float(ruler.length((moves.after_ND - moves.before_ND)[active]).median())


@torch.no_grad()
def effect(dynamics: Dynamics, moves: Moves, ruler: Ruler) -> float:
    """How far, in the mean, the actions taken lead from where doing nothing would."""
    done, _ = dynamics.step(moves.before_ND, moves.memory_NM, moves.block_NA)
    nothing, _ = dynamics.step(moves.before_ND, moves.memory_NM, torch.zeros_like(moves.block_NA))
    return float(ruler.length(done - nothing).mean())


def unexplained(errors_N: NDArray[np.float64], new: Moves, ruler: Ruler) -> float:
    """The share of stretches that held-out errors show to be not understood."""
    usual = HOPELESS * float(np.median(lengths(new, ruler)))
    return float(np.mean([np.median(errors_N[new.stretch_N == s]) > usual for s in np.unique(new.stretch_N)]))


def objections(figures: Figures, before_N: NDArray[np.float64], after_N: NDArray[np.float64], new: Moves) -> Iterator[str]:
    """Each thing that speaks against keeping it."""
    if figures.unexplained > UNEXPLAINED:
        yield f"does not explain {figures.unexplained:.0%} of held-out stretches, and {UNEXPLAINED:.0%} may be left"
    chance = chance_of_luck(before_N, after_N, new.stretch_N)
    if chance > BETTER:
        yield f"is not clearly better than what was known: a sign test over held-out stretches gives p = {chance:.2g}"
    if figures.effect < STILL:
        yield f"would have it that actions have {figures.effect:.2f} of their effect: such a world cannot be acted in"
    if figures.forgotten > FORGOTTEN:
        yield f"is mistaken for the old world: errors there grow by {figures.forgotten - 1:.0%}, and {FORGOTTEN - 1:.0%} may be"


def chance_of_luck(before_N: NDArray[np.float64], after_N: NDArray[np.float64], stretch_N: NDArray[np.int64]) -> float:
    """The exact one-sided sign test over stretches' mean errors (each move's for at most MOST)."""
    count = int(stretch_N.max()) + 1
    sums = np.bincount(stretch_N, np.minimum(before_N, MOST) - np.minimum(after_N, MOST), count)
    better, tried = int((sums > 0).sum()), int((sums != 0).sum())
    return sum(comb(tried, k) for k in range(better, tried + 1)) / 2.0**tried if tried else 1.0


@torch.no_grad()
def forgotten(
    known: Dynamics, learned: Dynamics, lens: Lens, old: Moves, pictures: Sequence[Observation], ruler: Ruler
) -> float:
    """Errors in the old world with the version chosen as an agent chooses, before a move is seen, against those of what was
    known there. Where there is a lens, it chooses by what pictures of the log look like.
    """
    errors = np.stack([np.minimum(moves_errors(d, old, ruler).double().numpy(), MOST) for d in (known, learned)])
    if lens.patches:
        mistaken = float(np.mean([lens.fit(picture) >= 0.5 for picture in pictures]))
        return 1.0 + mistaken * max(float(errors[1].mean() / max(errors[0].mean(), 1e-9)) - 1.0, 0.0)
    score, version, chosen = np.zeros(2), 0, np.zeros(len(old), np.int64)
    for n in range(len(old)):
        chosen[n] = version
        score, version = after_look(score, version, errors[:, n], np.ones(2))
    return float(errors[chosen, np.arange(len(old))].mean() / max(errors[0].mean(), 1e-9))
