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
from forethought.surprise.senses import Floats
from forethought.surprise.signals import Signals, begin, expect
from forethought.types import Belief, Expectation, Observation, Surprise
from forethought.world_model import LatentWorldModel

RATE = 1e-4
LEVEL = 0.05
"""Of the test whether a plan in hand still holds: in the long run, that share of plans is dropped for nothing."""


@final
@dataclass(frozen=True)
class Traces:
    """Signals rows_NK and errors by horizon errors_NG of whole episodes, end to end; lengths_E: decisions of each.

    The first `logged` episodes are the log's, whose errors are known for all horizons; then come the agent's own.
    """

    rows_NK: Floats
    errors_NG: Floats
    lengths_E: NDArray[np.int64]
    logged: int

    @staticmethod
    def of(episodes: Sequence[tuple[Floats, Floats]]) -> Traces:
        """From the signals and errors of each of the log's episodes."""
        rows, errors = zip(*episodes, strict=True)
        return Traces(np.concatenate(rows), np.concatenate(errors), np.array([len(r) for r in rows]), len(rows))

    def with_own(self, own: Sequence[tuple[Floats, Floats]]) -> Traces:
        """The log's episodes and these of the agent's own, in place of any it had."""
        count = int(self.lengths_E[: self.logged].sum())
        rows, errors = zip((self.rows_NK[:count], self.errors_NG[:count]), *own, strict=True)
        lengths = np.concatenate([self.lengths_E[: self.logged], [len(r) for r in rows[1:]]]).astype(np.int64)
        return Traces(np.concatenate(rows), np.concatenate(errors), lengths, self.logged)

    def horizons(self) -> tuple[Calibrated, ...]:
        """The errors that the log's episodes showed, one set a horizon."""
        return tuple(Calibrated.of(e) for e in self.errors_NG[: int(self.lengths_E[: self.logged].sum())].T)

    def episodes(self) -> list[Floats]:
        """Each episode's signals."""
        return np.split(self.rows_NK, np.cumsum(self.lengths_E)[:-1])


@final
@dataclass(frozen=True)
class Monitor:
    """Signals, what they usually are, and the errors of imagination that held-out episodes showed, one set a horizon."""

    signals: Signals
    evidence: Evidence
    horizons: tuple[Calibrated, ...]
    traces: Traces

    @staticmethod
    def fit(signals: Signals, traces: Traces, rate: float = RATE) -> Monitor:
        """From held-out episodes of the unchanged world. `rate`: false alarms a decision.

        Half of the rate is used, the rest is for the threshold's own error. Too few episodes for the rate: the threshold is the
        largest evidence among them.
        """
        share = max(0.5 * rate * float(traces.lengths_E.mean()), 1.0 / (len(traces.lengths_E) + 1))
        evidence = Evidence.fit(traces.episodes(), signals.leaps, signals.ratios, share)
        return Monitor(signals, evidence, traces.horizons(), traces)

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
        height, loudest = self.evidence.height(evidence)
        p_value = self.horizons[0].p_value(float(errors[0]))
        missed = p_value < expectation.level
        level = expectation.level if np.isnan(p_value) else adapted(expectation.level, LEVEL, missed)
        why = reason(self.signals.names[loudest], expectation, self.signals) if height >= 1 else ""
        after = replace(
            expectation,
            evidence=evidence,
            level=min(max(level, 0.0), 1.0),
            raised=expectation.raised + 1 if height >= 1 else 0,
            alarm=(expectation.alarm or why) if why else "",
        )
        asked = self.signals.ratios if errors[0] > self.signals.calm else 0
        passes = asked + len(expectation.ghosts_GD)
        return Surprise(p_value, expectation.level, height, errors, row, why, passes), after

    def expect(self, model: LatentWorldModel, expectation: Expectation, belief: Belief, block_A: Tensor) -> Expectation:
        """What to expect after the block that is about to be taken."""
        return expect(model, self.signals, expectation, belief, block_A, 1)
