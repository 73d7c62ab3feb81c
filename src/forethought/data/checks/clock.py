"""Clocks: numbers named "timestamp", in the sensors or the metadata, against themselves, each other and the spec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from forethought.data.checks.cuts import keep_stretches
from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, EpisodeCheck, Floats, Log, Repair, View
from forethought.types import Array, Episode

_GAP = 1.8  # usual intervals: a longer one lost frames
_JITTER = 0.15  # of the usual interval, at the 90th percentile
_DRIFT = 0.02
_OTHER_RATE = 0.2


@final
class Clock(EpisodeCheck):
    """`time-backwards`, `time-repeats`, `clock-gap` (mended by cutting), `clock-jitter`, `clock-drift` of two clocks."""

    def look(self, view: View) -> Iterator[Finding]:
        spans = {}
        for name, times in clocks(view.episode):
            spans[name] = times[-1] - times[0]
            yield from _one(view, name, np.diff(times))
        names = list(spans)
        for other in names[1:]:
            if abs(spans[other] - spans[names[0]]) > _DRIFT * abs(spans[names[0]]):
                ratio = spans[other] / spans[names[0]] if spans[names[0]] else np.inf
                message = f"'{other}' runs {ratio:.3g} times as fast as '{names[0]}'; set the clocks by one source"
                yield view.at(Severity.WARNING, "clock-drift", message, other)

    def repairs(self) -> Iterator[Repair]:
        yield from self.mend("time-backwards", "cut where time runs backwards", _cut)
        yield from self.mend("time-repeats", "cut where rows were logged twice", _cut)
        yield from self.mend("clock-gap", "cut where frames were lost", _cut)


def _one(view: View, name: str, intervals: Floats) -> Iterator[Finding]:
    back, usual = intervals < 0, float(np.median(intervals))
    if back.any():
        message = f"'{name}' runs backwards; sort the rows, or cut the episode there"
        yield view.at(Severity.ERROR, "time-backwards", message, name, np.concatenate([[False], back]))
    if usual <= 0:
        return
    for code, rows, message in (
        ("time-repeats", intervals == 0, f"'{name}' stands still: rows logged twice; cut the episode there"),
        ("clock-gap", intervals > _GAP * usual, f"'{name}' leaps: frames are missing there; cut the episode at the gap"),
    ):
        if rows.any():
            yield view.at(Severity.WARNING, code, message, name, np.concatenate([[False], rows]))
    uneven = float(np.percentile(np.abs(intervals - usual), 90)) / usual
    if uneven > _JITTER and not (intervals > _GAP * usual).mean() > 0.1:
        message = (
            f"'{name}' jitters by {100 * uneven:.0f} % of its interval; record at a steady rate, or resample by the timestamps"
        )
        yield view.at(Severity.WARNING, "clock-jitter", message, name)


@final
@dataclass(frozen=True)
class _Rate:
    index: int
    episode: str
    usual: float


@final
class Rate(Check):
    """`clock-rate`: episodes at another rate than the others (other units are mended); `clock-drift`: than the spec says."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._rates: dict[str, list[_Rate]] = {}

    def see(self, view: View) -> None:
        for name, times in clocks(view.episode):
            usual = float(np.median(np.diff(times)))
            if usual > 0:
                self._rates.setdefault(name, []).append(_Rate(view.index, view.episode.id, usual))

    def findings(self) -> Iterator[Finding]:
        for name, rate, ratio in self._others():
            message = (
                f"'{name}' counts {ratio:.3g} times the usual interval: another rate, or other units (milliseconds?); resample "
                "these episodes, or keep them in a log of their own"
            )
            yield Finding(Severity.WARNING, "clock-rate", message, name, 1, rate.episode)
        for name, rates in self._rates.items():
            yield from self._against_spec(name, float(np.median([rate.usual for rate in rates])))

    def repairs(self) -> Iterator[Repair]:
        for name, rate, ratio in self._others():
            unit = 1000.0 ** round(np.log(ratio) / np.log(1000.0))
            if abs(ratio / unit - 1) < _OTHER_RATE and unit != 1:
                yield Repair("clock-rate", "times in the usual unit", rate.index, _rescale(name, unit))

    def _others(self) -> Iterator[tuple[str, _Rate, float]]:
        for name, rates in self._rates.items():
            usual = float(np.median([rate.usual for rate in rates]))
            yield from ((name, rate, rate.usual / usual) for rate in rates if abs(rate.usual / usual - 1) > _OTHER_RATE)

    def _against_spec(self, name: str, usual: float) -> Iterator[Finding]:
        told = self.log.spec.steps_per_second
        if not told:
            return
        unit = 1000.0 ** round(np.log(usual * told) / np.log(1000.0))  # seconds, milliseconds, ...
        if abs(usual * told / unit - 1) > _DRIFT:
            rates = f"{unit / usual:.4g} steps a second, the spec {told:.4g}"
            message = f"'{name}' says {rates}; correct the spec, or the clock that drifts"
            yield Finding(Severity.WARNING, "clock-drift", message, name)


def clocks(episode: Episode) -> list[tuple[str, Floats]]:
    """Names and readings (T+1,) of the episode's clocks, those that are finite."""
    named = [
        (name, values.reshape(-1).astype(np.float64))
        for name, values in (*episode.observations.items(), *episode.metadata.items())
        if "timestamp" in name.lower() and values.size == len(values) > 1
    ]
    return [(name, times) for name, times in named if np.isfinite(times).all()]


def _rescale(name: str, unit: float) -> Callable[[Episode], list[Episode]]:
    def apply(episode: Episode) -> list[Episode]:
        def scaled(arrays: Mapping[str, Array]) -> dict[str, Array]:
            return {key: (values / unit).astype(values.dtype) if key == name else values for key, values in arrays.items()}

        return [replace(episode, observations=scaled(episode.observations), metadata=scaled(episode.metadata))]

    return apply


def _cut(episode: Episode) -> list[Episode]:
    bad = np.zeros(episode.num_steps, dtype=bool)
    for _, times in clocks(episode):
        intervals = np.diff(times)
        usual = float(np.median(intervals))
        bad |= (intervals <= 0) & (usual > 0) | (intervals < 0) | ((intervals > _GAP * usual) & (usual > 0))
    return keep_stretches(episode, np.zeros(len(bad) + 1, dtype=bool), bad)
