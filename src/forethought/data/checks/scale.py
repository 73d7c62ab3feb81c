"""Episodes in other units or with other colours than most of their log, as logs put together from several machines have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np

from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, Floats, Log, View
from forethought.data.schema import flat_rows
from forethought.types import SensorKind

_JUMP = 30.0  # times the usual size: degrees for radians are 57, centimetres for metres 100
_TELL = 10.0  # of 255: channels nearer to one another cannot be told apart
_LEAST = 5  # episodes, before there is a usual one


@final
class Scale(Check):
    """`unit-jump` (numbers larger than usual only: small ones may be rest), `image-range`, `channel-swap`."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._ids: list[str] = []
        self._rows: dict[str, list[Floats]] = {sensor.name: [] for sensor in log.spec.sensors}

    def see(self, view: View) -> None:
        self._ids.append(view.episode.id)
        for sensor in self.log.spec.sensors:
            values = view.episode.observations[sensor.name]
            if sensor.kind is SensorKind.IMAGE:
                sample = values[:: max(1, len(values) // 8)]
                self._rows[sensor.name].append(np.array([*sample.mean((0, 1, 2)), sample.max()], np.float64))
            else:
                norms = np.linalg.norm(np.nan_to_num(flat_rows(values).astype(np.float64)), axis=1)
                self._rows[sensor.name].append(np.array([np.median(norms)]))

    def findings(self) -> Iterator[Finding]:
        if len(self._ids) < _LEAST:
            return
        for sensor in self.log.spec.sensors:
            table = np.stack(self._rows[sensor.name])
            if sensor.kind is SensorKind.IMAGE:
                yield from self._pictures(sensor.name, table)
            elif sensor.kind is SensorKind.VECTOR:
                usual = np.median(table)
                message = f"'{sensor.name}' is over {_JUMP:.0f} times as large as in most episodes; convert it to their units"
                yield from self._each("unit-jump", message, sensor.name, (table[:, 0] > _JUMP * usual) & (usual > 0))

    def _pictures(self, name: str, table: Floats) -> Iterator[Finding]:
        colours, peak = table[:, :-1], table[:, -1]
        dark = (peak <= 1) & (np.median(peak) > 32)
        message = f"'{name}' holds 0 and 1 where other episodes reach 255; multiply by 255 before it becomes uint8"
        yield from self._each("image-range", message, name, dark)
        if colours.shape[1] != 3:
            return
        usual = np.median(colours, axis=0)
        off, swapped = (np.linalg.norm(each - usual, axis=1) for each in (colours, colours[:, ::-1]))
        message = f"'{name}' has red and blue exchanged against most episodes; write its channels in one order"
        yield from self._each("channel-swap", message, name, (off > _TELL) & (swapped < 0.25 * off) & ~dark)

    def _each(self, code: str, message: str, sensor: str, wrong: np.ndarray) -> Iterator[Finding]:
        for index in np.flatnonzero(wrong):
            yield Finding(Severity.WARNING, code, message, sensor, 1, self._ids[index])
