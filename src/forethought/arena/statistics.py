"""The few statistics that a success figure needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray


@final
@dataclass(frozen=True)
class Interval:
    """A share and its confidence interval, all in [0, 1]."""

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.share:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def wilson(successes: int, count: int, z: float = 1.959964) -> Interval:
    """Wilson's 95 % score interval (1927); an empty sample knows nothing: [0, 1].

    >>> str(wilson(97, 100))
    '97.0 % [91.5, 99.0]'
    """
    if count == 0:
        return Interval(math.nan, 0.0, 1.0)
    share = successes / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))  # rounding at 0 and 1


def mcnemar(first: list[bool], second: list[bool]) -> float:
    """Exact two-sided McNemar p-value of two agents on the same pairs.

    >>> round(mcnemar([True] * 6, [False] * 6), 4)
    0.0312
    """
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    differ = only_first + only_second
    if differ == 0:
        return 1.0
    tail = sum(math.comb(differ, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, float(2 * tail / int(2**differ)))  # whole numbers: a float overflows beyond 1,023 differences


def rule_of_three(count: int) -> float:
    """Upper 95 % bound on the share of failures when none was seen in `count` (3 / count).

    >>> rule_of_three(300)
    0.01
    """
    return min(1.0, 3.0 / count) if count else 1.0


def clopper_pearson(failures: int, count: int, confidence: float = 0.95) -> float:
    """The exact one-sided upper bound on a share (Clopper and Pearson 1934): at it, so few failures have 1 - confidence.

    >>> round(clopper_pearson(0, 3000), 6), round(clopper_pearson(1, 100), 4)
    (0.000998, 0.0466)
    """
    if failures >= count:
        return 1.0
    low, high = failures / count, 1.0
    for _ in range(60):
        share = (low + high) / 2
        few = sum(math.exp(_log_binomial(k, count, share)) for k in range(failures + 1))
        low, high = (share, high) if few > 1 - confidence else (low, share)
    return high


def _log_binomial(successes: int, count: int, share: float) -> float:
    ways = math.lgamma(count + 1) - math.lgamma(successes + 1) - math.lgamma(count - successes + 1)
    return ways + successes * math.log(max(share, 1e-300)) + (count - successes) * math.log1p(-min(share, 1 - 1e-16))


def bootstrap(values: NDArray[np.float64], generator: np.random.Generator, draws: int = 2000) -> tuple[float, float]:
    """The 95 % percentile interval of a mean, for figures that are not shares (steps, milliseconds); NaN for no values."""
    if not len(values):
        return math.nan, math.nan
    means = [values[generator.integers(len(values), size=len(values))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile; NaN for no values.

    >>> percentile([3.0, 1.0, 2.0], 0.5)
    2.0
    """
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]
