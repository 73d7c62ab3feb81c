"""The monitor: at each decision, how surprising what came is, whether an alarm is due, and why, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from forethought.surprise.conformal import Calibrated, adapted
from forethought.surprise.evidence import Evidence
from forethought.surprise.reasons import reason
from forethought.surprise.scale import Moves, fit_scale
from forethought.surprise.senses import Floats
from forethought.surprise.signals import ASKED, Signals, begin, expect
from forethought.types import Belief, Expectation, Observation, Surprise
from forethought.world_model import LatentWorldModel

RATE = 1e-4
ODD, CLEARLY = 0.5, 1.0
"""The height at which a sensor, and the evidence at which another way of the body, is named as the reason."""
LEVEL = 0.05
"""Of the test whether a plan in hand still holds: in the long run, that share of plans is dropped for nothing."""
FLOOR = 0.01
"""Below it the level does not go: where all is surprising, the test would else call that ordinary in ten blocks."""


@final
@dataclass(frozen=True)
class Traces:
    """Signals rows_NK of whole episodes, end to end, lengths_E decisions each; and errors_MG by horizon of the log's episodes.

    What an agent does is stranger to a log than to itself: once its own episodes are known, those say what is usual.
    """

    rows_NK: Floats
    errors_MG: Floats
    lengths_E: NDArray[np.int64]

    @staticmethod
    def of(episodes: Sequence[tuple[Floats, Floats]]) -> Traces:
        """From the signals and errors of each of the log's episodes."""
        rows, errors = zip(*episodes, strict=True)
        return Traces(np.concatenate(rows), np.concatenate(errors), np.array([len(r) for r in rows]))

    def with_own(self, own: Sequence[Floats]) -> Traces:
        """The signals of the agent's own episodes; errors by horizon stay the log's."""
        return Traces(np.concatenate(own), self.errors_MG, np.array([len(rows) for rows in own]))

    def horizons(self) -> tuple[Calibrated, ...]:
        """The errors that the log's episodes showed, one set a horizon."""
        return tuple(Calibrated.of(e) for e in self.errors_MG.T)

    def episodes(self) -> list[Floats]:
        """Each episode's signals."""
        return np.split(self.rows_NK, np.cumsum(self.lengths_E)[:-1])


@final
@dataclass(frozen=True)
class Monitor:
    """Signals, what they usually are, the errors of imagination that held-out episodes showed, one set a horizon, and some of
    the log's moves: the usual error is fitted again when the agent's own are known.
    """

    signals: Signals
    evidence: Evidence
    horizons: tuple[Calibrated, ...]
    traces: Traces
    moves: Moves

    @staticmethod
    def fit(signals: Signals, traces: Traces, moves: Moves, rate: float = RATE) -> Monitor:
        """From held-out episodes of the unchanged world. `rate`: false alarms a step of the environment.

        Half of the rate is used, the rest is for the threshold's own error. Too few episodes for the rate: the threshold is the
        largest evidence among them.
        """
        steps = signals.otherwise.frameskip * float(traces.lengths_E.mean())
        share = max(0.5 * rate * steps, 1.0 / (len(traces.lengths_E) + 1))
        evidence = Evidence.fit(traces.episodes(), signals.leaps, signals.ratios, share)
        return Monitor(signals, evidence, traces.horizons(), traces, moves)

    def at_home(self, own: Moves) -> Monitor:
        """With the usual error fitted on the agent's own moves too; its evidence must be seen afresh, on other episodes."""
        return replace(self, signals=replace(self.signals, scale=fit_scale([self.moves, own])))

    def seen(self, own: Sequence[Floats]) -> Monitor:
        """With the signals of these of the agent's own episodes as what is usual."""
        return Monitor.fit(self.signals, self.traces.with_own(own), self.moves)

    def begin(self, model: LatentWorldModel) -> Expectation:
        """An episode begins."""
        return replace(begin(model, self.signals), level=LEVEL)

    def look(
        self, model: LatentWorldModel, expectation: Expectation, belief: Belief, observation: Observation
    ) -> tuple[Surprise, Expectation]:
        """Compare what came with what was expected."""
        seen = {s.sensor.name: s.scaled(observation[s.sensor.name]) for s in self.signals.senses}
        expectation, row, errors = self.signals.compare(model, expectation, belief, seen)
        evidence = self.evidence.add(expectation.evidence, row)
        heights_K = self.evidence.heights(evidence)
        height = float(heights_K.max())
        p_value = self.horizons[0].p_value(float(errors[0]))
        missed = p_value < expectation.level
        level = expectation.level if np.isnan(p_value) else adapted(expectation.level, LEVEL, missed)
        why = reason(self.signals.names[self._told(heights_K, evidence)], expectation, self.signals) if height >= 1 else ""
        after = replace(
            expectation,
            evidence=evidence,
            level=min(max(level, FLOOR), 1.0),
            raised=expectation.raised + 1 if height >= 1 else 0,
            alarm=(expectation.alarm or why) if why else "",
        )
        asked = self.signals.ratios if row[0] > np.exp(ASKED) else 0
        passes = asked + len(expectation.ghosts_GD)
        return Surprise(p_value, expectation.level, height, errors, row, why, passes), after

    def _told(self, heights_K: NDArray[np.float64], evidence_KL: NDArray[np.float64]) -> int:
        """What to say: the loudest signal; but why a block went another way is said better by a sensor that is odd by itself,
        or else by the way that it went.
        """
        first = len(heights_K) - self.signals.ratios
        odd, ways = heights_K[1:first], evidence_KL[first:].max(1)
        if heights_K[1:].max() > heights_K[0] or max(odd.max() / ODD, ways.max() / CLEARLY) < 1:
            return int(heights_K.argmax())
        return 1 + int(odd.argmax()) if odd.max() >= ODD else first + int(ways.argmax())

    def expect(self, model: LatentWorldModel, expectation: Expectation, belief: Belief, block_A: Tensor) -> Expectation:
        """What to expect after the block that is about to be taken."""
        return expect(model, self.signals, expectation, belief, block_A, 1)
