"""Numbers that leap further than they ever do elsewhere: restarts, wrapped angles, misread values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from forethought.data.checks.cuts import keep_stretches
from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, Floats, Log, Mask, Repair, View
from forethought.types import Episode

_LEAST_EPISODES = 8
_LEAP = 2.5  # times the largest step of nine episodes in ten; more where the largest steps themselves differ much


@final
@dataclass(frozen=True)
class _Largest:
    """One episode's largest step of each number (N,), the row after it, and whether the value comes back at once."""

    index: int
    episode: str
    step: Floats
    row: Floats
    back: Mask


@final
class Leaps(Check):
    """`jump` and `spike`; mended by cutting there."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._largest: dict[str, list[_Largest]] = {}

    def see(self, view: View) -> None:
        for name, values in view.numbers.items():
            if len(values) > 2:
                self._largest.setdefault(name, []).append(_measure(view, values))

    def findings(self) -> Iterator[Finding]:
        for name, leap, number in self._leaps():
            if leap.back[number]:
                code, what = "spike", "leaps and comes back: a misread value; leave the row out"
            else:
                code = "jump"
                what = (
                    "leaps: a restart, a wrapped angle, or two episodes in one; cut there, or log sine and cosine of an angle"
                )
            message = f"'{name}' number {number} {what}"
            yield Finding(Severity.WARNING, code, message, name, 1, leap.episode, int(leap.row[number]))

    def repairs(self) -> Iterator[Repair]:
        for name, leap, number in self._leaps():
            code = "spike" if leap.back[number] else "jump"
            yield Repair(code, "cut at leaps and spikes", leap.index, self._cutter(name, _limits(self._largest[name])))

    def _leaps(self) -> Iterator[tuple[str, _Largest, int]]:
        for name, largest in self._largest.items():
            if len(largest) >= _LEAST_EPISODES:
                limits = _limits(largest)
                for one in largest:
                    number = int(np.argmax(one.step / limits))
                    if one.step[number] > limits[number]:
                        yield name, one, number

    def _cutter(self, sensor: str, limits: Floats) -> Callable[[Episode], list[Episode]]:
        def cut(episode: Episode) -> list[Episode]:
            steps = np.abs(np.diff(View(0, episode, self.log.spec).numbers[sensor], axis=0))
            return keep_stretches(episode, np.zeros(len(steps) + 1, dtype=bool), np.asarray((steps > limits).any(1)))

        return cut


def _limits(largest: list[_Largest]) -> Floats:
    """(N,) steps beyond which a number leaps."""
    usual, most = np.percentile([one.step for one in largest], [50, 90], axis=0)
    limits: Floats = most * np.maximum(_LEAP, (most / np.maximum(usual, 1e-9)) ** 2) + 1e-9
    return limits


def _measure(view: View, values_TN: Floats) -> _Largest:
    change = np.abs(np.diff(values_TN, axis=0))
    change = np.where(np.isfinite(change), change, 0.0)
    largest, last = change.max(0), len(change)
    row = (change > 0.5 * largest).argmax(0)  # a spike is two leaps: where it goes up, not where it comes down
    numbers = np.arange(change.shape[1])
    after, before = values_TN[np.minimum(row + 2, last), numbers], values_TN[row, numbers]
    back = (np.abs(after - before) < 0.3 * largest) & (row + 2 <= last)
    return _Largest(view.index, view.episode.id, largest, row + 1.0, back)
