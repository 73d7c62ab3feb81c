"""Logs laid end to end: one column per quantity over all steps, and where each episode begins and ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.experience import Experience
from forethought.data.formats.raw import LAST_ACTION, Steps, sensor_for, space_for, to_episode
from forethought.data.schema import check_spec
from forethought.errors import DataError
from forethought.types import Array, Episode, ExperienceSpec

_LOOK = 16  # rows by which a sensor's kind is decided
_CHUNK = 65_536


class Table(ABC):
    """Columns of one file."""

    path: Path

    @abstractmethod
    def rows(self, column: str) -> int:
        """How many rows a column has. Raises DataError."""

    @abstractmethod
    def array(self, column: str, start: int, stop: int) -> Array:
        """Some rows of a column. Raises DataError."""


@final
@dataclass(frozen=True)
class Roles:
    """Which column is what. sensors, after (what the action led to), metadata: name -> column.

    `on_arrival`: rewards and terminals stand at the row that the action led to, not at the row it was taken at.
    """

    sensors: Mapping[str, str]
    actions: str
    rewards: str | None = None
    terminals: str | None = None
    after: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    on_arrival: bool = False


@final
class ColumnExperience(Experience):
    """Episodes cut from columns: `bounds` (episodes, 2) are first row and end; tasks and which holds in each episode."""

    def __init__(
        self,
        table: Table,
        roles: Roles,
        bounds: NDArray[np.int64],
        dropped: tuple[str, ...] = (),
        tasks: tuple[str, ...] = (),
        task_of: tuple[int, ...] = (),
    ) -> None:
        self.path: Path = table.path
        self._table, self._roles, self._task_of = table, roles, task_of
        rows = table.rows(roles.actions)
        if len(bounds) and (bounds.min() < 0 or bounds.max() > rows or (bounds[:, 0] >= bounds[:, 1]).any()):
            raise DataError(f"got episodes that leave the {rows} rows of '{roles.actions}'; copy the file again", table.path)
        self._bounds = bounds
        sensors = (sensor_for(name, table.array(column, 0, _LOOK), table.path) for name, column in roles.sensors.items())
        named = tuple(sensor for sensor in sensors if sensor is not None)
        self.spec = check_spec(
            ExperienceSpec(
                named, space_for(self._actions(rows), table.path, roles.actions), roles.rewards is not None, tasks=tasks
            ),
            table.path,
        )
        self.dropped = (() if roles.after or roles.on_arrival else (LAST_ACTION,)) + dropped

    def __len__(self) -> int:
        return len(self._bounds)

    def ids(self) -> tuple[str, ...]:
        return tuple(f"episode-{index:06d}" for index in range(len(self)))

    def lengths(self) -> tuple[int, ...]:
        lengths = self._bounds[:, 1] - self._bounds[:, 0] - (0 if self._roles.after else 1)
        return tuple(int(length) for length in lengths)

    def episode(self, index: int) -> Episode:
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        start, stop = (int(row) for row in self._bounds[index])
        roles, table = self._roles, self._table
        shift = int(roles.on_arrival)
        after = {name: table.array(column, stop - 1, stop) for name, column in roles.after.items()}
        steps = Steps(
            {name: table.array(column, start, stop) for name, column in roles.sensors.items()},
            table.array(roles.actions, start, stop),
            table.array(roles.rewards, start + shift, stop) if roles.rewards else None,
            after or None,
            {name: table.array(column, start, stop) for name, column in roles.metadata.items()},
            {"task_index": self._task_of[index]} if self._task_of else {},
            self._terminated(stop),
        )
        return to_episode(self.ids()[index], steps, self.spec, self.path, f"rows {start} to {stop}")

    def _terminated(self, stop: int) -> bool:
        """Did the last action that is kept end it? Of an action that is left out, the flag is left out too."""
        if self._roles.terminals is None or not (self._roles.after or self._roles.on_arrival):
            return False
        flag = self._table.array(self._roles.terminals, stop - 1, stop)
        return bool(flag.dtype.kind in "biuf" and np.nan_to_num(flag).any())

    def _actions(self, rows: int) -> Iterator[Array]:
        return (self._table.array(self._roles.actions, at, min(rows, at + _CHUNK)) for at in range(0, rows, _CHUNK))
