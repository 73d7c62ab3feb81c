"""From signals to an alarm: evidence that leaks, and a threshold that whole episodes of the unchanged world rarely pass.

Steps of one episode are not exchangeable (an odd room stays odd), episodes are: so the threshold is a conformal quantile of
each episode's largest evidence, and it is the episode to which the error rate belongs. Leaky sums of log p-values are a cusum
(Page 1954) with a short and a long memory: one for leaps, one for drifts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.surprise.conformal import Calibrated

Array64 = NDArray[np.float64]
SHORT, LONG = 0.3, 0.92
FOLDS = 10
ORDINARY = 1.5
"""What a decision's strangeness is held against: an exponential's mean is 1."""
MOST = 6.0
"""A block's ratio counts by its logarithm, and for no more: at contacts, errors have heavier tails than the ratio supposes."""

FARTHEST = 100.0
"""What a score beyond all that was kept counts for at most: an infinite one must be forgotten again."""


@final
@dataclass(frozen=True)
class Evidence:
    """`usual`: each signal's scores in the unchanged world; `scale_KL`: its largest evidence in nearly all episodes;
    `threshold`: of the largest of all, in scales: what an episode passes with a probability of at most `rate`.
    """

    usual: tuple[Calibrated, ...]
    leak_KL: Array64
    scale_KL: Array64
    threshold: float
    rate: float

    @staticmethod
    def fit(episodes: Sequence[NDArray[np.float32]], leaps: Sequence[bool], ratios: int, rate: float) -> Evidence:
        """From signals (T, K) of episodes of the unchanged world; `rate` of episodes may alarm. The last `ratios` signals are
        log likelihood ratios; those that `leaps` have a short memory only.
        """
        usual, leak = _usual(np.concatenate(episodes), ratios), _leaks(leaps)
        peaks = np.array([_peaks(usual, leak, rows) for rows in episodes])
        # scales are the largest evidence seen, so a threshold under 1 would only be luck
        return Evidence(usual, leak, _largest(peaks), max(_heights(peaks).quantile(1 - rate), 1.0), rate)

    @staticmethod
    def of(
        rows_NK: NDArray[np.float32], leaps: Sequence[bool], ratios: int, scale_KL: Array64, threshold: float, rate: float
    ) -> Evidence:
        """As it was fitted before, on the same rows."""
        return Evidence(_usual(rows_NK, ratios), _leaks(leaps), scale_KL, threshold, rate)

    def strangeness(self, row_K: NDArray[np.float32]) -> Array64:
        """-log p of each signal (K,), and beyond all that was kept the more the farther; 0 where there is no signal."""
        return _strangeness(self.usual, row_K)

    def add(self, evidence_KL: Array64, row_K: NDArray[np.float32]) -> Array64:
        """The evidence after one more decision, (K, L)."""
        before = evidence_KL if len(evidence_KL) else np.zeros_like(self.leak_KL)
        return _add(before, self.leak_KL, self.strangeness(row_K))

    def height(self, evidence_KL: Array64) -> tuple[float, int]:
        """Evidence against the threshold (1: alarm), and which signal is loudest."""
        relative = (evidence_KL / self.scale_KL).max(1)
        loudest = int(relative.argmax())
        return float(relative[loudest] / self.threshold), loudest


def _usual(rows_NK: NDArray[np.float32], ratios: int) -> tuple[Calibrated, ...]:
    return tuple(Calibrated.of(column) for column in rows_NK.T[: rows_NK.shape[1] - ratios])


def _leaks(leaps: Sequence[bool]) -> Array64:
    return np.array([(SHORT, SHORT if leap else LONG) for leap in leaps])


def _largest(peaks_EKL: Array64) -> Array64:
    largest: Array64 = np.maximum(peaks_EKL.max(0), 2.0)
    return largest


def _heights(peaks_EKL: Array64) -> Calibrated:
    """Each episode's largest evidence against the scale that the other folds' episodes give (cross-conformal, Vovk 2015)."""
    folds = min(FOLDS, len(peaks_EKL))
    if folds < 2:
        return Calibrated.of(np.ones(1))
    heights = [peaks_EKL[f::folds] / _largest(np.delete(peaks_EKL, np.s_[f::folds], 0)) for f in range(folds)]
    return Calibrated.of(np.concatenate(heights).max((1, 2)))


def _strangeness(usual: tuple[Calibrated, ...], row_K: NDArray[np.float32]) -> Array64:
    result = np.zeros(len(row_K))
    ratios = row_K[len(usual) :]
    result[len(usual) :] = np.sign(ratios) * np.minimum(np.log1p(np.abs(ratios)), MOST) + ORDINARY
    result = np.where(np.isnan(result), ORDINARY, result)
    for index, (kept, score) in enumerate(zip(usual, row_K[: len(usual)].tolist(), strict=True)):
        if math.isnan(score) or not len(kept.sorted_n):
            continue
        result[index] = -math.log(kept.p_value(score))
        most = float(kept.sorted_n[-1])
        if score > most > 0:
            result[index] += min(4.0 * math.log(score / most), FARTHEST)
    return result


def _add(evidence_KL: Array64, leak_KL: Array64, strangeness_K: Array64) -> Array64:
    return np.maximum(leak_KL * evidence_KL + (strangeness_K - ORDINARY)[:, None], 0.0)


def _peaks(usual: tuple[Calibrated, ...], leak_KL: Array64, rows_TK: NDArray[np.float32]) -> Array64:
    evidence = np.zeros_like(leak_KL)
    peak = evidence
    for row in rows_TK:
        evidence = _add(evidence, leak_KL, _strangeness(usual, row))
        peak = np.maximum(peak, evidence)
    return peak
