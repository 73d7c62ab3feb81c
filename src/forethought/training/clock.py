"""The time dial: one wall clock for a whole run, over all the calls that it takes, shared out to the stages as they come."""

from __future__ import annotations

import time
from typing import final

from forethought.training.config import ENOUGH, SHARES
from forethought.training.run import RunFolder

CALIBRATION = 0.01
"""Share of the clock that is kept for the last writes, beside what calibration is expected to take."""


@final
class Clock:
    """What is spent and what is left. Without `seconds` it only counts.

    A stage's share is taken from what is really left when it begins, less what the steps still to come are expected to take
    (the whole log through the encoder, graphs): an estimate that was wrong is made up for by the stages after it.
    """

    def __init__(self, run: RunFolder, seconds: float | None = None, began: float | None = None) -> None:
        self.run, self.seconds = run, seconds
        self.before, self.started = run.spent(), time.perf_counter() if began is None else began
        self.expected: dict[str, float] = {}

    def spent(self) -> float:
        """Seconds that this run took so far, in all calls."""
        return self.before + time.perf_counter() - self.started

    def save(self) -> None:
        """Keep `spent` in the run, for a later call."""
        self.run.save_spent(self.spent())

    def expect(self, costs: dict[str, float]) -> None:
        """Keep free that many seconds for steps that have a fixed amount of work, by name."""
        self.expected = dict(costs)

    def done(self, step: str) -> None:
        """A step of fixed work is over."""
        self.expected.pop(step, None)
        self.save()

    def share(self, stage: str, used: float = 0.0) -> float | None:
        """Seconds of wall clock for a stage, the `used` ones of earlier calls among them; None without a clock."""
        if self.seconds is None or stage not in SHARES:  # a stage that is not on the dial keeps to its updates
            return None
        left = self.seconds * (1 - CALIBRATION) - (self.spent() - used) - sum(self.expected.values())
        waiting = sum(share for name, share in SHARES.items() if not self.run.is_finished(name))
        share = max(left * SHARES[stage] / max(waiting, SHARES[stage]), 0.005 * self.seconds)
        return min(share, ENOUGH.get(stage, share))
