"""Sensors whose range ends too early: readings cut off at its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np

from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, Floats, Log, View
from forethought.types import SensorKind

_CUT_OFF = 0.15  # share of rows at one end of the range


@final
class CutOff(Check):
    """`saturated-sensor`: many rows stand exactly at one end of a number's range."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._ends: dict[str, tuple[Floats, Floats, Floats, Floats]] = {}
        self._rows = 0

    def see(self, view: View) -> None:
        self._rows += view.episode.num_steps + 1
        for sensor in self.log.spec.sensors:
            if sensor.kind is not SensorKind.VECTOR:
                continue
            values = view.numbers[sensor.name]
            low, high = np.nanmin(values, 0, initial=np.inf), np.nanmax(values, 0, initial=-np.inf)
            at = (values == low).sum(0).astype(np.float64), (values == high).sum(0).astype(np.float64)
            old = self._ends.get(sensor.name, (low, high, np.zeros_like(low), np.zeros_like(high)))
            self._ends[sensor.name] = (
                np.minimum(low, old[0]), np.maximum(high, old[1]),
                _held(low, old[0], at[0], old[2], low < old[0]), _held(high, old[1], at[1], old[3], high > old[1]),
            )  # fmt: skip

    def findings(self) -> Iterator[Finding]:
        for name, (low, high, at_low, at_high) in self._ends.items():
            share = np.maximum(at_low, at_high) / max(self._rows, 1)
            between = 1 - (at_low + at_high) / max(self._rows, 1)
            cut = np.flatnonzero((share > _CUT_OFF) & (between > 0.2) & (low < high))
            if len(cut):
                message = (
                    f"'{name}' numbers {cut.tolist()} stand at one end of their range {100 * share[cut].max():.0f} % of the "
                    "time: a sensor cut off; widen its range"
                )
                yield Finding(Severity.WARNING, "saturated-sensor", message, name, len(cut))


def _held(new: Floats, old: Floats, at_new: Floats, at_old: Floats, beyond: Floats) -> Floats:
    """Rows at the end of the range so far: a new end begins a new count, the same end adds to it."""
    held: Floats = np.where(beyond, at_new, np.where(new == old, at_old + at_new, at_old))
    return held
