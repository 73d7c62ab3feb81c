"""Actions and observations of different moments: "your actions arrive 2 frames late"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np

from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.response import MOST_LAG
from forethought.data.checks.seam import Check, Floats, Log, View

_LAGS = 2 * MOST_LAG + 1
_LEAST = 0.05  # gain: below it no sensor follows the actions closely enough to tell
_SURE = 4.0  # standard errors


@final
class _Gains:
    """Mean gain of each lag and number over the episodes, and its difference from lag 0 with a standard error."""

    def __init__(self, size: int) -> None:
        self._weight = np.zeros((_LAGS, 1))
        self._gain, self._more, self._square = (np.zeros((_LAGS, size)) for _ in range(3))

    def add(self, reach: int, gain_LN: Floats, rows: int) -> None:
        lags = slice(MOST_LAG - reach, MOST_LAG + reach + 1)
        more = gain_LN - gain_LN[reach]
        self._weight[lags] += 1
        self._gain[lags] += gain_LN
        self._more[lags] += more
        self._square[lags] += more**2

    def best(self) -> tuple[int, float, float, float]:
        """(lag, its gain, the gain at lag 0, standard errors between them) of the number that answers best."""
        count = np.maximum(self._weight, 1)
        gain, more = self._gain / count, self._more / count
        spread = np.sqrt(np.maximum(self._square / count - more**2, 0) / count) + 1e-9
        lag, number = np.unravel_index(int(np.argmax(gain)), gain.shape)
        here = gain[lag, number]
        return int(lag) - MOST_LAG, float(here), float(gain[MOST_LAG, number]), float(more[lag, number] / spread[lag, number])


@final
class Delay(Check):
    """`delay`: the sensors answer the actions of another row better than those of their own. Mended by `--shift`."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._gains: dict[str, _Gains] = {}
        self._episodes = 0

    def see(self, view: View) -> None:
        self._episodes += 1
        for name, response in view.responses.items():
            gains = self._gains.setdefault(name, _Gains(response.gain_LN.shape[1]))
            gains.add(response.reach, response.gain_LN, response.rows)

    def findings(self) -> Iterator[Finding]:
        lags = {name: lag for name, gains in self._gains.items() if (lag := _surely(*gains.best())) is not None}
        for name, lag in lags.items():
            if not lag:
                continue
            alone = len(lags) > 1 and 0 in lags.values()
            yield Finding(Severity.WARNING, "delay", _message(name, lag, alone), name, self._episodes)


def _surely(lag: int, gain: float, at_zero: float, errors: float) -> int | None:
    """The lag, if the sensor answers at all and is not in doubt between two; 0 where lag 0 does about as well."""
    if gain < _LEAST:
        return None
    return lag if at_zero < 0.5 * gain and errors > _SURE else 0


def _message(name: str, lag: int, alone: bool) -> str:
    frames = f"{abs(lag)} frame" + "s" * (abs(lag) > 1)
    if alone:
        return f"'{name}' is {frames} {'late' if lag > 0 else 'early'} against the other sensors; align it by its timestamps"
    if lag < 0:
        return f"your actions arrive {frames} late: '{name}' answers before them. Mend it with `--fix OUT --shift {lag}`"
    return (
        f"your actions arrive {frames} early: '{name}' answers {frames} after them. If the robot itself is not that slow, "
        f"mend it with `--fix OUT --shift {lag}`"
    )
