"""Fit a correction of the dynamics to new moves, and measure it on moves that it did not see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forethought.dynamics.adapted import Adapted
from forethought.dynamics.base import Dynamics
from forethought.surprise.ruler import Ruler
from forethought.training.adapt.moves import Moves
from forethought.types import Space

BATCH, OVER = 256, 0.5
"""Moves an update; the share of them drawn by how badly they are foretold."""
ALONE, LOOSER = 1.0, 0.1
"""Weight of a residual that leaves alone what the log showed; and where the world looks otherwise than it did there."""
FOLDS, HOPELESS = 3, 0.65
"""Folds of stretches; a correction is given up whose median held-out error, early on, is such a share of the median move: to
expect the same place always makes 0.7 of what is drawn at random.
"""
MOST = 10.0
"""What one move counts for at most, in largest ordinary errors: contacts have heavy tails."""


@final
@dataclass(frozen=True)
class Change:
    """A kind of correction: its name, the residual's width (0: none), updates of Adam (0: the dynamics stays), and the weight
    of leaving alone what the log showed.
    """

    name: str
    width: int
    updates: int
    alone: float = ALONE


CHANGES = (
    Change("nothing but what the cameras show", 0, 0),
    Change("what actuators make of actions", 0, 600),
    Change("actuators and a residual", 192, 1500),
)
"""In order of size: the first that does about as well as the best is taken."""


def fit(base: Dynamics, space: Space, change: Change, new: Moves, old: Moves, ruler: Ruler, seed: int = 0) -> Adapted:
    """The correction after `change.updates` updates on new moves; on old ones the residual is held small."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = Adapted(base, space, change.width).to(new.before_ND.device)
    if not change.updates or not adapted.own():
        return adapted.eval().requires_grad_(False)
    actuators = [p for p in (adapted.gain, adapted.bias) if p.requires_grad]
    rest = list(adapted.residual.parameters()) if adapted.residual is not None else []
    groups = [{"params": actuators, "lr": 3e-2}, {"params": rest, "lr": 3e-3}]
    optimizer = torch.optim.Adam([group for group in groups if group["params"]])
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: 1 - update / change.updates)
    weight_N = torch.ones(len(new))
    for update in range(change.updates):
        if change.width and update % 200 == 0:
            weight_N = moves_errors(adapted, new, ruler) + 1e-6
        loss = _loss(adapted, change.alone, new, old, ruler, weight_N, generator)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        decay.step()
    return adapted.eval().requires_grad_(False)


def _loss(
    adapted: Adapted, alone: float, new: Moves, old: Moves, ruler: Ruler, weight_N: Tensor, generator: torch.Generator
) -> Tensor:
    over = int(OVER * BATCH) if adapted.residual is not None else 0
    rows = torch.cat([
        torch.multinomial(weight_N, over, True, generator=generator) if over else torch.zeros(0, dtype=torch.long),
        torch.randint(len(new), (BATCH - over,), generator=generator),
    ]).to(new.before_ND.device)  # fmt: skip
    after, _ = adapted.step(new.before_ND[rows], new.memory_NM[rows], new.block_NA[rows])
    loss = (1 + ruler.length(after - new.after_ND[rows]).square()).sqrt().mean()
    if adapted.residual is not None:
        some = torch.randint(len(old), (BATCH,), generator=generator).to(rows.device)
        added = adapted.added(old.before_ND[some], old.block_NA[some])
        loss = loss + alone * (1 + ruler.length(added).square()).sqrt().mean()
    return loss


@torch.no_grad()
def moves_errors(dynamics: Dynamics, moves: Moves, ruler: Ruler) -> Tensor:
    """Every move's error, (N,), on the host."""
    return ruler.errors(dynamics, moves.before_ND, moves.memory_NM, moves.block_NA, moves.after_ND).cpu()


def lengths(moves: Moves, ruler: Ruler) -> NDArray[np.float64]:
    """How far every move goes, (N,), in largest ordinary errors."""
    return (ruler.length(moves.after_ND - moves.before_ND) / ruler.ordinary).cpu().double().numpy()


def cost(errors_N: NDArray[np.float64]) -> float:
    """What corrections are compared by: the mean error, each move's for at most MOST."""
    return float(np.minimum(errors_N, MOST).mean())


def out_of_fold(
    base: Dynamics, space: Space, change: Change, new: Moves, old: Moves, ruler: Ruler, seed: int = 0
) -> NDArray[np.float64] | None:
    """Every move's error under a correction fitted without its stretch and others of the fold, (N,).

    None if a third of the updates on the first fold leaves most of the movement unexplained: it is not worth the rest.
    """
    fold_N, errors = new.stretch_N % FOLDS, np.zeros(len(new))

    def held_out(fold: int, tried: Change) -> NDArray[np.float64]:
        adapted = fit(base, space, tried, new.take(fold_N != fold), old, ruler, seed)
        return moves_errors(adapted, new.take(fold_N == fold), ruler).double().numpy()

    early = held_out(0, replace(change, updates=change.updates // 3))
    if np.median(early) > HOPELESS * np.median(lengths(new.take(fold_N == 0), ruler)):
        return None
    for fold in range(FOLDS):
        errors[fold_N == fold] = held_out(fold, change)
    return errors
