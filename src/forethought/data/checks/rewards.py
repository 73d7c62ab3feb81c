"""Rewards that say nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np

from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, Log, View


@final
class Rewards(Check):
    """`constant-reward`: they are all the same. No fault of the recording, but nothing to learn from either."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._low, self._high = np.inf, -np.inf

    def see(self, view: View) -> None:
        if view.episode.rewards is not None and view.episode.num_steps:
            self._low = float(np.fmin(self._low, view.episode.rewards.min()))
            self._high = float(np.fmax(self._high, view.episode.rewards.max()))

    def findings(self) -> Iterator[Finding]:
        if self._low == self._high:
            message = (
                f"every reward is {self._low:g}: a goal never reached, so much for each step, or rewards not logged. Goals by "
                "observation do not need them; to maximise reward, record episodes that earn some"
            )
            yield Finding(Severity.INFO, "constant-reward", message, "rewards")
