"""From signals to an alarm: evidence that leaks, and a threshold that whole episodes of the unchanged world rarely pass.

Steps of one episode are not exchangeable (an odd room stays odd), episodes are: so the threshold is a conformal quantile of
each episode's largest evidence, and it is the episode to which the error rate belongs. Leaky sums of log p-values are a cusum
(Page 1954) with a short and a long memory: one for leaps, one for drifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.surprise.conformal import Calibrated

Array64 = NDArray[np.float64]
SHORT, LONG = 0.3, 0.92
FOLDS, KNOTS = 10, 64
ORDINARY = 1.5
"""What a decision's strangeness is held against: an exponential's mean is 1."""
MOST = 6.0
"""A block's ratio counts by its logarithm, and for no more: at contacts, errors have heavier tails than the ratio supposes."""
BEYOND = 4.0
"""What each factor of e beyond all that was kept counts for."""
FARTHEST = 100.0
"""What a score beyond all that was kept counts for at most: an infinite one must be forgotten again."""


@final
@dataclass(frozen=True)
class Usual:
    """Each signal's scores in the unchanged world, by knots (K, J): whoever passes knot j has a p-value of at most exp(-worth).

    Knots lie close where scores are rare, and one comparison answers for all signals.
    """

    knots_KJ: Array64
    worth_KJ: Array64

    @staticmethod
    def of(rows_NK: NDArray[np.float32]) -> Usual:
        """From the signals of N decisions; NaN where there was none."""
        kept = [Calibrated.of(column).sorted_n for column in rows_NK.T]
        knots, worth = np.full((len(kept), KNOTS), np.inf), np.zeros((len(kept), KNOTS))
        for k, sorted_n in enumerate(kept):
            if count := len(sorted_n):
                above = np.geomspace(count, 1, KNOTS).astype(int) - 1  # so many scores lie above each knot
                knots[k], worth[k] = sorted_n[count - 1 - above], -np.log((above + 1) / (count + 1))
        return Usual(knots, worth)

    def strangeness(self, scores_NK: Array64) -> Array64:
        """-log p of each score (..., K), and beyond all that was kept the more the farther; 0 where there is none."""
        passed = (self.knots_KJ < scores_NK[..., None]).sum(-1)
        worth = self.worth_KJ[np.arange(len(self.knots_KJ)), np.maximum(passed - 1, 0)] * (passed > 0)
        most_K = self.knots_KJ[:, -1]
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.where((scores_NK > most_K) & (most_K > 0), scores_NK / most_K, 1.0)
        result: Array64 = worth + np.minimum(BEYOND * np.log(factor), FARTHEST)
        return result


@final
@dataclass(frozen=True)
class Evidence:
    """`usual`: each signal's scores in the unchanged world; `scale_KL`: its largest evidence in nearly all episodes;
    `threshold`: of the largest of all, in scales: what an episode passes with a probability of at most `rate`.
    """

    usual: Usual
    leak_KL: Array64
    scale_KL: Array64
    threshold: float
    rate: float

    @staticmethod
    def fit(episodes: Sequence[NDArray[np.float32]], leaps: Sequence[bool], ratios: int, rate: float) -> Evidence:
        """From signals (T, K) of episodes of the unchanged world; `rate` of episodes may alarm. The last `ratios` signals are
        log likelihood ratios; those that `leaps` have a short memory only.
        """
        usual, leak = _usual(episodes, ratios), _leaks(leaps)
        # scales are the largest evidence seen, so a threshold under 1 would only be luck
        threshold = max(_heights(episodes, leak, ratios).quantile(1 - rate), 1.0)
        return Evidence(usual, leak, _largest(_peaks(usual, leak, episodes)), threshold, rate)

    @staticmethod
    def of(
        rows_NK: NDArray[np.float32], leaps: Sequence[bool], ratios: int, scale_KL: Array64, threshold: float, rate: float
    ) -> Evidence:
        """As it was fitted before, on the same rows."""
        return Evidence(_usual([rows_NK], ratios), _leaks(leaps), scale_KL, threshold, rate)

    def add(self, evidence_KL: Array64, row_K: NDArray[np.float32]) -> Array64:
        """The evidence after one more decision, (K, L)."""
        before = evidence_KL if len(evidence_KL) else np.zeros_like(self.leak_KL)
        return _add(before, self.leak_KL, _strangeness(self.usual, row_K))

    def heights(self, evidence_KL: Array64) -> Array64:
        """Each signal's evidence against the threshold (K,); the largest from 1: alarm."""
        heights: Array64 = (evidence_KL / self.scale_KL).max(1) / self.threshold
        return heights


def _usual(episodes: Sequence[NDArray[np.float32]], ratios: int) -> Usual:
    rows = np.concatenate(episodes)
    return Usual.of(rows[:, : rows.shape[1] - ratios])


def _leaks(leaps: Sequence[bool]) -> Array64:
    return np.array([(SHORT, SHORT if leap else LONG) for leap in leaps])


def _largest(peaks_EKL: Array64) -> Array64:
    largest: Array64 = np.maximum(peaks_EKL.max(0), 2.0)
    return largest


def _heights(episodes: Sequence[NDArray[np.float32]], leak_KL: Array64, ratios: int) -> Calibrated:
    """Each episode's largest evidence, by what is usual in the other folds' episodes, against the largest of theirs
    (cross-conformal, Vovk 2015): an episode that helped to say what is usual never looks strange.
    """
    folds, heights = min(FOLDS, len(episodes)), []
    if folds < 2:
        return Calibrated.of(np.ones(1))
    for fold in range(folds):
        others = [episode for i, episode in enumerate(episodes) if i % folds != fold]
        usual = _usual(others, ratios)
        heights.append(_peaks(usual, leak_KL, episodes[fold::folds]) / _largest(_peaks(usual, leak_KL, others)))
    return Calibrated.of(np.concatenate(heights).max((1, 2)))


def _strangeness(usual: Usual, rows_NK: NDArray[np.float32]) -> Array64:
    """Of all signals (..., K): log likelihood ratios, the last of them, are on that scale already."""
    count = len(usual.knots_KJ)
    ratios = rows_NK[..., count:].astype(np.float64)
    known = np.sign(ratios) * np.minimum(np.log1p(np.abs(ratios)), MOST) + ORDINARY
    first = usual.strangeness(rows_NK[..., :count].astype(np.float64))
    return np.concatenate([first, np.where(np.isnan(known), ORDINARY, known)], -1)


def _add(evidence_KL: Array64, leak_KL: Array64, strangeness_K: Array64) -> Array64:
    return np.maximum(leak_KL * evidence_KL + (strangeness_K - ORDINARY)[..., None], 0.0)


def _peaks(usual: Usual, leak_KL: Array64, episodes: Sequence[NDArray[np.float32]]) -> Array64:
    """The largest evidence of each signal in each episode, (E, K, L); all episodes at once, the shorter ones ending in calm."""
    lengths = [len(episode) for episode in episodes]
    strange = np.zeros((max(lengths), len(episodes), len(leak_KL)))
    for index, rows in enumerate(np.split(_strangeness(usual, np.concatenate(episodes)), np.cumsum(lengths)[:-1])):
        strange[: len(rows), index] = rows
    evidence = np.zeros((len(episodes), *leak_KL.shape))
    peak = evidence
    for row_EK in strange:
        evidence = _add(evidence, leak_KL, row_EK)
        peak = np.maximum(peak, evidence)
    return peak
