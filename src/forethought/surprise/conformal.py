"""Conformal prediction: p-values, quantiles and an online level, valid where what comes is exchangeable with what was kept.

Split conformal and its Mondrian form (one calibration set per class, here: per horizon step) after Vovk, Gammerman and Shafer,
"Algorithmic Learning in a Random World"; the adaptive level after Gibbs and Candès (2021), "Adaptive conformal inference under
distribution shift".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True)
class Calibrated:
    """Scores of held-out cases, sorted upwards, (n,). Larger is stranger."""

    sorted_n: Floats

    @staticmethod
    def of(scores: NDArray[np.floating]) -> Calibrated:
        """Keep the finite ones."""
        values = np.asarray(scores, np.float64).ravel()
        return Calibrated(np.sort(values[np.isfinite(values)]))

    def p_value(self, score: float) -> float:
        """The share of cases (this one among them) at least as strange; NaN for NaN, 1 if nothing was kept.

        >>> Calibrated.of(np.arange(1.0, 100.0)).p_value(95.5)
        0.05
        """
        if math.isnan(score):
            return math.nan
        count = len(self.sorted_n)
        return (count - int(self.sorted_n.searchsorted(score, "left")) + 1) / (count + 1)

    def quantile(self, level: float) -> float:
        """The score that a fresh case exceeds with probability at most 1 - level; infinite if too few were kept.

        >>> Calibrated.of(np.arange(1.0, 100.0)).quantile(0.9)
        90.0
        """
        rank = math.ceil(level * (len(self.sorted_n) + 1) - 1e-9)
        return float(self.sorted_n[rank - 1]) if 1 <= rank <= len(self.sorted_n) else math.inf


def adapted(level: float, target: float, missed: bool, rate: float = 0.005) -> float:
    """The next level of an online test: over T steps the share of misses is within 1 / (rate T) + rate / rate T of `target`,
    whatever comes (Gibbs and Candès, proposition 4.1).

    >>> round(adapted(0.1, 0.1, missed=True), 4)
    0.0955
    """
    return level + rate * (target - float(missed))
