"""What the page shows of a log, gathered in the checks' own pass: a few films, and rows of every number, kept small."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.checks.finding import Finding
from forethought.data.checks.seam import MOST_NUMBERS, Check, Log, View
from forethought.data.schema import flat_rows
from forethought.page.html import shrink
from forethought.types import Array, SensorKind

MOMENTS, POINTS, ROWS = 10, 200, 200_000
"""Pictures of a film, points of a curve, rows of the whole log that histograms and maps are drawn from."""


@final
@dataclass(frozen=True)
class Film:
    """An episode to look at: `frames`, camera -> MOMENTS pictures at `rows`; `curves`, name -> (POINTS, n) at `points`."""

    id: str
    steps: int
    reward: float | None
    rows: NDArray[np.int64]
    frames: Mapping[str, Sequence[NDArray[np.uint8]]]
    points: NDArray[np.int64]
    curves: Mapping[str, Array]


@final
@dataclass
class Table:
    """Rows of one name, episode by episode."""

    parts: list[Array] = field(default_factory=list)

    def rows(self) -> Array:
        """All of them, (N, n); parts of another width than the first are left out."""
        return np.concatenate([part for part in self.parts if part.shape[1] == self.parts[0].shape[1]])


@final
class Gather(Check):
    """Films of the first, shortest, median, longest, best and worst episode; lengths; returns; rows of every number."""

    def __init__(self, log: Log, lengths: Sequence[int]) -> None:
        super().__init__(log)
        self.lengths: dict[int, int] = {}
        self.returns: dict[int, float] = {}
        self.films: dict[str, tuple[int, Film]] = {}
        self.actions, self.sensors, self.metadata = Table(), dict[str, Table](), dict[str, Table]()
        self.centres: dict[str, Table] = {}
        self._share = max(20, ROWS // max(1, len(lengths)))
        order = sorted(range(len(lengths)), key=lambda index: lengths[index])
        picked = {"first": 0, "shortest": order[0], "of median length": order[len(order) // 2], "longest": order[-1]}
        self._wanted = {index: why for why, index in reversed(picked.items())}

    def see(self, view: View) -> None:
        episode = view.episode
        self.lengths[view.index] = episode.num_steps
        if view.index in self._wanted:
            self.films[self._wanted[view.index]] = (view.index, _film(view))
        if episode.rewards is not None:
            self._see_return(view, float(episode.rewards.sum(dtype=np.float64)))
        self._keep(self.actions, episode.actions)
        blind = not any(sensor.kind is SensorKind.VECTOR for sensor in self.log.spec.sensors)
        for sensor in self.log.spec.sensors:
            if sensor.kind is not SensorKind.IMAGE:
                self._keep(self.sensors.setdefault(sensor.name, Table()), episode.observations[sensor.name])
            elif blind:
                self._keep(self.centres.setdefault(sensor.name, Table()), view.numbers[sensor.name])
        for name, values in episode.metadata.items():
            if values.dtype.kind in "fiub" and "timestamp" not in name:
                self._keep(self.metadata.setdefault(name, Table()), values)

    def findings(self) -> Iterator[Finding]:
        return iter(())

    def _see_return(self, view: View, total: float) -> None:
        if not np.isfinite(total):
            return
        if not self.returns or total > max(self.returns.values()):
            self.films["highest return"] = (view.index, _film(view))
        if not self.returns or total < min(self.returns.values()):
            self.films["lowest return"] = (view.index, _film(view))
        self.returns[view.index] = total

    def _keep(self, table: Table, values: Array) -> None:
        table.parts.append(flat_rows(values[spread(len(values), self._share)])[:, :MOST_NUMBERS])


def spread(count: int, most: int) -> NDArray[np.int64]:
    """At most so many rows of `count`, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64)) if count else np.zeros(0, np.int64)


def _film(view: View) -> Film:
    episode, spec = view.episode, view.spec
    rows, points = spread(episode.num_steps + 1, MOMENTS), spread(episode.num_steps, POINTS)
    cameras = [sensor.name for sensor in spec.sensors if sensor.kind is SensorKind.IMAGE]
    others = {s.name: episode.observations[s.name] for s in spec.sensors if s.name not in cameras}
    frames = {name: [shrink(episode.observations[name][row]) for row in rows] for name in cameras}
    curves = {name: flat_rows(values[points]) for name, values in {**others, "action": episode.actions}.items()}
    reward = None if episode.rewards is None else float(episode.rewards.sum(dtype=np.float64))
    return Film(episode.id, episode.num_steps, reward, rows, frames, points, curves)
