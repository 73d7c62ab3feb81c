"""The seam of the checks: a new check is one file with one class, and one line in `checks/__init__.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.response import Response, respond
from forethought.data.motion import moving_centre
from forethought.data.schema import flat_rows
from forethought.data.split import Split, split_of
from forethought.types import Array, DiscreteSpace, Episode, ExperienceSpec, SensorKind

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
MOST_NUMBERS = 16  # of one sensor, or of the actions: more are not followed one by one


@final
@dataclass(frozen=True)
class Log:
    """What a check knows before it sees an episode: the spec, and how episodes are split."""

    spec: ExperienceSpec
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)

    def split(self, name: str) -> Split:
        """The part that an episode of that id belongs to."""
        return split_of(name, self.fractions)


@final
class View:
    """One episode as the checks see it: `index` in the log, and what several checks need, worked out once."""

    def __init__(self, index: int, episode: Episode, spec: ExperienceSpec) -> None:
        self.index, self.episode, self.spec = index, episode, spec

    @cached_property
    def actions_TA(self) -> Floats:
        """Actions as training sees them: in [-1, 1], or one-hot; at most MOST_NUMBERS of them."""
        space, actions = self.spec.action_space, self.episode.actions
        if isinstance(space, DiscreteSpace):
            actions = np.clip(actions, 0, space.count - 1)
        return space.encode(actions)[:, :MOST_NUMBERS].astype(np.float64)

    @cached_property
    def numbers(self) -> Mapping[str, Floats]:
        """Sensor -> (T+1, n) numbers to follow: a vector's own; of a picture, the centre (x, y) of what moves in it."""
        readings = self.episode.observations
        found: dict[str, Floats] = {}
        for sensor in self.spec.sensors:
            if sensor.kind is SensorKind.VECTOR:
                found[sensor.name] = readings[sensor.name][:, :MOST_NUMBERS].astype(np.float64)
            elif sensor.kind is SensorKind.IMAGE:
                found[sensor.name] = moving_centre(readings[sensor.name])
        return found

    @cached_property
    def responses(self) -> Mapping[str, Response]:
        """Sensor -> how its numbers answer the actions; those of which nothing can be said are left out."""
        found = {name: respond(self.actions_TA, values) for name, values in self.numbers.items()}
        return {name: response for name, response in found.items() if response is not None}

    @cached_property
    def changed(self) -> Mapping[str, Mask]:
        """Sensor -> (T,): does each reading differ from the one before?"""
        return {name: _changed(values) for name, values in self.episode.observations.items()}

    def at(self, severity: Severity, code: str, message: str, sensor: str | None = None, rows: Mask | None = None) -> Finding:
        """A finding in this episode, at the first of the rows that are true; without rows, once and about all of it."""
        if rows is None:
            return Finding(severity, code, message, sensor, 1, self.episode.id)
        return Finding(severity, code, message, sensor, int(rows.sum()), self.episode.id, int(np.argmax(rows)))


@final
@dataclass(frozen=True)
class Repair:
    """How one episode is mended: `index` in the log (None: every episode), and what becomes of it (nothing: left out)."""

    code: str
    what: str
    index: int | None
    apply: Callable[[Episode], list[Episode]]


class Check(ABC):
    """Sees every episode once, in order, and keeps only small numbers of each: a log may be larger than memory."""

    def __init__(self, log: Log) -> None:
        self.log = log

    @abstractmethod
    def see(self, view: View) -> None:
        """Look at one episode."""

    @abstractmethod
    def findings(self) -> Iterator[Finding]:
        """What was found, in any order; the same code and sensor are counted together."""

    def repairs(self) -> Iterator[Repair]:
        """How what was found can be mended; most cannot."""
        return iter(())


class EpisodeCheck(Check):
    """A check that needs to see no more than one episode at a time."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._found: list[Finding] = []
        self._indices: dict[str, list[int]] = {}

    def see(self, view: View) -> None:
        for finding in self.look(view):
            self._found.append(finding)
            self._indices.setdefault(finding.code, []).append(view.index)

    @abstractmethod
    def look(self, view: View) -> Iterator[Finding]:
        """What is wrong in this episode."""

    def findings(self) -> Iterator[Finding]:
        return iter(self._found)

    def mend(self, code: str, what: str, apply: Callable[[Episode], list[Episode]]) -> Iterator[Repair]:
        """The same repair for every episode in which `code` was found."""
        return (Repair(code, what, index, apply) for index in dict.fromkeys(self._indices.get(code, ())))


def _changed(values: Array) -> Mask:
    flat = flat_rows(values)
    different: Mask = (flat[1:] != flat[:-1]).any(axis=1)
    return different
