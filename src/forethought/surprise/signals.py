"""The raw signals of surprise at one decision: errors of what was imagined, and how far things are from all that was seen.

A *ghost* is where the model thought, g blocks ago, that the agent would be now, given the blocks that it then really took.
Every decision moves all ghosts on by one block (one small batch through the dynamics), so errors are known for each horizon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forethought.surprise.otherwise import Otherwise
from forethought.surprise.scale import ErrorScale
from forethought.surprise.senses import Floats, Nearest, Sense
from forethought.types import Belief, Expectation
from forethought.world_model import LatentWorldModel

GHOSTS = 10
CALM = -10.0
"""The log likelihood ratio of every other way where nobody is asked."""
ASKED = 1.5
"""The error, in deviations of what is usual here, above which other ways are asked."""
RECENT = 4
"""Blocks over which the effect of actions is compared with what was learned."""


@final
@dataclass(frozen=True)
class Signals:
    """What is looked at, fitted once on the log. `precision_GEE`: the inverse covariance of the error, by horizon; `scale`: how
    large the error of one block usually is, here.
    """

    otherwise: Otherwise
    scene_size: int
    precision_GEE: Floats
    scale: ErrorScale
    nearest: Nearest
    spread_D: Floats
    senses: tuple[Sense, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The order of the signals in a row of them, (K,)."""
        each = [f"{s.sensor.name}: {what}" for s in self.senses for what in ("jump", "place", "rest")]
        return ("prediction", "scene", "latent", *each, *self.otherwise.names)

    @property
    def leaps(self) -> tuple[bool, ...]:
        """Which signals last as long as an odd episode does, (K,): their evidence has no long memory."""
        return (False, True, True, *(what for _ in self.senses for what in (False, True, True)), *[False] * self.ratios)

    @cached_property
    def ratios(self) -> int:
        """How many of the signals, the last ones, are log likelihood ratios."""
        return len(self.otherwise.names)

    def errors(self, expectation: Expectation, z_D: Floats) -> Floats:
        """Size of the error of every ghost, (G,): the shortest horizon first; NaN where the episode is too young."""
        error_GE = z_D[self.scene_size :] - host(expectation.ghosts_GD)[:, self.scene_size :]
        result = np.full(GHOSTS, np.nan, np.float32)
        if len(error_GE):
            result[: len(error_GE)] = sizes(error_GE[:, None], self.precision_GEE[: len(error_GE)])[:, 0]
        return result

    def foretold(self, expectation: Expectation) -> Floats | None:
        """What the usual error of the block that just ended is read from, (X,); None before the first."""
        if expectation.before is None or expectation.block_A is None:
            return None
        before, ghost = host(expectation.before.z_BD[0]), host(expectation.ghosts_GD[0])
        return foretold_from(before, host(expectation.block_A), ghost, self.spread_D)

    def compare(
        self, model: LatentWorldModel, expectation: Expectation, belief: Belief, seen: Mapping[str, Floats]
    ) -> tuple[Expectation, Floats, Floats]:
        """What came against what was expected: the expectation with the record of moves, all signals (K,), NaN where there is
        none yet, and the errors by horizon (G,). `seen`: scaled features by sensor.
        """
        z_D = host(belief.z_BD[0])
        errors, foretold_X = self.errors(expectation, z_D), self.foretold(expectation)
        odd = np.nan if foretold_X is None else float(self.scale.standard(foretold_X, errors[:1])[0])
        values = [np.exp(odd), self._scene(expectation, z_D), self.nearest.distance(z_D / self.spread_D)]
        for sense in self.senses:
            now, before = seen[sense.sensor.name], expectation.seen.get(sense.sensor.name)
            values += [np.nan if before is None else float(np.linalg.norm(now - before)), *sense.look(now)]
        values += self._ratios(model, expectation, belief, foretold_X, odd)
        return replace(expectation, seen=seen, moved=self._moved(expectation, z_D)), np.array(values, np.float32), errors

    def _ratios(
        self, model: LatentWorldModel, expectation: Expectation, belief: Belief, foretold_X: Floats | None, odd: float
    ) -> list[float]:
        """How much better each other way foretold the last block than what was learned, and all the others, did: a wall looks
        like a dead actuator, and not like a weak one. Where all went as foretold, nobody is asked.
        """
        if foretold_X is None or expectation.before is None or expectation.block_A is None:
            return [np.nan] * self.ratios
        if odd <= ASKED:
            return [CALM] * self.ratios
        blocks_RA = self.otherwise.blocks(expectation.block_A, expectation.past_FA)
        z_RD, memory_RM = (t.expand(self.ratios, -1) for t in (expectation.before.z_BD, expectation.before.memory_BM))
        with torch.inference_mode():
            off_RE = host(belief.z_BD - model.dynamics.step(z_RD, memory_RM, blocks_RA)[0])[:, self.scene_size :]
        odd_R = self.scale.standard(foretold_X, sizes(off_RE, self.precision_GEE[0]))
        unlikely_R = 0.5 * np.square(np.maximum(odd_R, 0.0))
        first, second = np.partition(np.append(unlikely_R, 0.5 * odd**2), 1)[:2]
        ratios: list[float] = (np.where(unlikely_R == first, second, first) - unlikely_R).tolist()
        return ratios

    def _scene(self, expectation: Expectation, z_D: Floats) -> float:
        """How far the scene part is from its mean in this episode so far."""
        if not self.scene_size or not expectation.count:
            return np.nan
        off = z_D[: self.scene_size] - expectation.scene_C / expectation.count
        return float(np.linalg.norm(off / self.spread_D[: self.scene_size]))

    def _moved(self, expectation: Expectation, z_D: Floats) -> NDArray[np.float64]:
        """The record of recent (wanted . moved, wanted . wanted), with the block that just ended, at most RECENT rows."""
        if expectation.before is None or not len(expectation.ghosts_GD):
            return expectation.moved
        before, spread = host(expectation.before.z_BD[0]), self.spread_D[self.scene_size :]
        wanted = (host(expectation.ghosts_GD[0]) - before)[self.scene_size :] / spread
        moved = (z_D - before)[self.scene_size :] / spread
        return np.concatenate([expectation.moved, [[wanted @ moved, wanted @ wanted]]])[-RECENT:]


def foretold_from(before_ND: Floats, block_NA: Floats, ghost_ND: Floats, spread_D: Floats) -> Floats:
    """What the usual error is read from, (..., X): where one was, what was done, and how far it should have led."""
    return np.concatenate([before_ND / spread_D, block_NA, (ghost_ND - before_ND) / spread_D], -1)


def sizes(errors_NE: Floats, precision_EE: Floats) -> Floats:
    """The lengths of errors (..., N, E) under an inverse covariance, (..., N)."""
    square = ((errors_NE @ precision_EE) * errors_NE).sum(-1)
    result: Floats = np.sqrt(np.maximum(square, 0.0))
    return result


def host(values: Tensor) -> Floats:
    """A tensor's numbers, wherever it is."""
    numbers: Floats = values.detach().cpu().numpy()
    return numbers


def gain(moved: NDArray[np.float64]) -> tuple[float, float]:
    """From recent (wanted . moved, wanted . wanted): the gain of actions against what was learned, and its standard error."""
    got, wanted = moved[:, 0], moved[:, 1]
    total = float(wanted.sum())
    if total <= 0:
        return np.nan, np.nan
    estimate = float(got.sum()) / total
    return estimate, float(np.sqrt(np.square(got - estimate * wanted).sum())) / total


def begin(model: LatentWorldModel, signals: Signals) -> Expectation:
    """Nothing is expected yet."""
    device = next(model.parameters()).device
    ghosts_GD, memory_GM = (
        torch.zeros(0, size, device=device) for size in (model.encoder.latent_size, model.dynamics.memory_size)
    )
    return Expectation(ghosts_GD, memory_GM, signals.otherwise.nothing().to(device))


def expect(
    model: LatentWorldModel, signals: Signals, expectation: Expectation, belief: Belief, block_A: Tensor, ghosts: int = GHOSTS
) -> Expectation:
    """What to expect after this block: one ghost more (at most `ghosts`), and all of them a block further."""
    z_GD = torch.cat([belief.z_BD, expectation.ghosts_GD[: ghosts - 1]])
    memory_GM = torch.cat([belief.memory_BM, expectation.memory_GM[: ghosts - 1]])
    with torch.inference_mode():
        after, memory = model.dynamics.step(z_GD, memory_GM, block_A.expand(len(z_GD), -1))
    past_FA = expectation.past_FA
    if expectation.block_A is not None:
        past_FA = signals.otherwise.remember(expectation.block_A, past_FA)
    scene = host(belief.z_BD[0, : belief.scene_size])
    return replace(
        expectation,
        ghosts_GD=after,
        memory_GM=memory,
        past_FA=past_FA,
        block_A=block_A,
        before=belief,
        scene_C=expectation.scene_C + scene if expectation.count else scene,
        count=expectation.count + 1,
    )
