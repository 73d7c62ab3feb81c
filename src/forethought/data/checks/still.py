"""What does not change though it should: stuck and frozen sensors, rows logged twice, actions that do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.checks.cuts import keep_stretches
from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, EpisodeCheck, Log, Mask, Repair, View
from forethought.types import BoxSpace, Episode, SensorKind

_IDLE_SHARE = 0.2
_STILL = 1e-3  # of half the action range: an action this near the middle asks for nothing
_FROZEN = 8  # equal rows in a row
_USUAL = 0.9  # share of the other rows that change, for a sensor that should
_RARE = 0.1  # share of the episodes
_AS_MUCH = 0.85  # of the usual action: a coarse sensor also repeats itself, after small ones
_THAW = 3.0  # times the usual step: a sensor that wakes up finds that the world went on without it
_TWICE = 0.05  # share of rows that stand alone as a copy of the one before


@final
class Motion(EpisodeCheck):
    """`stuck-sensor`, `idle-action`: nothing changes in a whole episode, or after actions that ask for different things."""

    def look(self, view: View) -> Iterator[Finding]:
        if view.episode.num_steps < 2:
            return
        for name, changed in view.changed.items():
            if not changed.any():
                message = f"'{name}' never changes within an episode; check the sensor, or leave it out if it is meant to"
                yield Finding(Severity.WARNING, "stuck-sensor", message, name, 1, view.episode.id, 0)
        idle = _idle(view)
        if idle.mean() > _IDLE_SHARE:
            message = "actions after which no sensor changes; check that actions and observations are of the same moment"
            yield view.at(Severity.WARNING, "idle-action", message, "actions", idle)

    def repairs(self) -> Iterator[Repair]:
        yield from self.mend("stuck-sensor", "left out episodes with a stuck sensor", lambda episode: [])
        yield from self.mend("idle-action", "cut out stretches in which nothing answers", self._awake)

    def _awake(self, episode: Episode) -> list[Episode]:
        idle = _idle(View(0, episode, self.log.spec))
        long = np.zeros_like(idle)
        for first, last in runs(idle):
            long[first:last] = last - first >= _FROZEN
        return keep_stretches(episode, np.zeros(len(idle) + 1, dtype=bool), long)


@final
class Frozen(Check):
    """`frozen-sensor`: long runs of equal rows while actions go both ways, or with a leap at their end. Cut out.

    Sensors that often stand still (a gripper, a battery) are only blamed where such runs are rare.
    """

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._runs: dict[str, list[tuple[int, Finding, bool]]] = {}
        self._episodes = 0

    def see(self, view: View) -> None:
        self._episodes += 1
        for name, changed in view.changed.items():
            frozen = _frozen(view, name)
            if frozen.any():
                message = f"'{name}' stands still while the actions go on; cut the stretch out, and check the sensor's driver"
                finding = view.at(Severity.WARNING, "frozen-sensor", message, name, frozen)
                usually = bool(changed[~frozen].size and changed[~frozen].mean() >= _USUAL)
                self._runs.setdefault(name, []).append((view.index, finding, usually))

    def _blamed(self) -> Iterator[tuple[int, Finding]]:
        for runs_of_sensor in self._runs.values():
            rare = len(runs_of_sensor) <= max(1, _RARE * self._episodes)
            yield from ((index, finding) for index, finding, usually in runs_of_sensor if usually or rare)

    def findings(self) -> Iterator[Finding]:
        yield from (finding for _, finding in self._blamed())

    def repairs(self) -> Iterator[Repair]:
        sensors: dict[int, list[str]] = {}
        for index, finding in self._blamed():
            sensors.setdefault(index, []).append(str(finding.sensor))
        for index, names in sensors.items():
            yield Repair("frozen-sensor", "cut out frozen stretches", index, lambda e, names=names: self._cut(e, names))  # type: ignore[misc]

    def _cut(self, episode: Episode, names: list[str]) -> list[Episode]:
        view = View(0, episode, self.log.spec)
        frozen = np.any([_frozen(view, name) for name in names], axis=0)
        return keep_stretches(episode, np.zeros(len(frozen) + 1, dtype=bool), frozen)


@final
class Repeats(Check):
    """`repeated-rows`: single rows equal to the one before, again and again, as slow cameras and resampled logs leave them."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._alone: dict[str, NDArray[np.float64]] = {}
        self._first: dict[str, tuple[str, int]] = {}

    def see(self, view: View) -> None:
        size = np.linalg.norm(np.clip(np.nan_to_num(view.actions_TA), -1, 1), axis=1)
        tokens = {sensor.name for sensor in self.log.spec.sensors if sensor.kind is SensorKind.TOKENS}
        for name, changed in view.changed.items():
            if name in tokens:  # few values repeat by chance
                continue
            same = np.concatenate([[False], ~changed & asks(view), [False]])
            alone = same[1:-1] & ~same[:-2] & ~same[2:]
            seen = np.array([alone.sum(), len(changed), size[alone].sum(), size.sum()])
            self._alone[name] = self._alone.get(name, np.zeros(4)) + seen
            if alone.any():
                self._first.setdefault(name, (view.episode.id, int(np.argmax(alone)) + 1))

    def findings(self) -> Iterator[Finding]:
        for name, (alone, rows, asked, asked_in_all) in self._alone.items():
            if alone > _TWICE * rows and asked / alone > _AS_MUCH * asked_in_all / rows:
                message = (
                    f"'{name}' repeats single rows ({100 * alone / rows:.0f} % of all): a sensor slower than the log, or rows "
                    f"written twice. Record at the sensor's rate, or use frameskip {max(2, round(rows / (rows - alone)))}"
                )
                episode, row = self._first[name]
                yield Finding(Severity.WARNING, "repeated-rows", message, name, int(alone), episode, row)


def asks(view: View) -> Mask:
    """Does each action ask for something? In a box, the zero action (and the middle) do not."""
    actions = view.episode.actions
    if not isinstance(view.spec.action_space, BoxSpace):
        return np.ones(len(actions), dtype=bool)
    asked: Mask = (np.abs(view.spec.action_space.encode(actions)) > _STILL).any(axis=1) & (actions != 0).any(axis=1)
    return asked


def _idle(view: View) -> Mask:
    """Steps (T,) after which no sensor changes though the actions ask for different things; pushing at a wall is no fault."""
    idle: Mask = np.logical_not(np.stack(list(view.changed.values())).any(axis=0)) & asks(view)
    for first, last in runs(idle):
        idle[first:last] = _differ(view.actions_TA[first:last])
    return idle


def _frozen(view: View, name: str) -> Mask:
    """Steps (T,) inside long runs without change, where the actions go both ways, or after which the sensor leaps."""
    changed = view.changed[name]
    frozen = np.zeros(len(changed), dtype=bool)
    for first, last in runs(~changed):
        if _FROZEN <= last - first < len(changed):
            frozen[first:last] = _differ(view.actions_TA[first:last]) or _thaws(view.numbers.get(name), changed, last)
    return frozen


def _thaws(numbers_TN: NDArray[np.float64] | None, changed: Mask, last: int) -> bool:
    """Does the sensor leap when it moves again, beyond what it usually does in a step?"""
    if numbers_TN is None or last >= len(changed):
        return False
    steps = np.abs(np.diff(numbers_TN, axis=0))
    usual = np.nanpercentile(steps[changed], 90, axis=0) if np.isfinite(steps[changed]).any() else np.inf
    return bool((steps[last] > _THAW * usual + 1e-9).any())


def _differ(actions_KA: NDArray[np.float64]) -> bool:
    """Do some of these actions point against others? Whatever holds a body against a wall, its opposite sets it free."""
    size = np.linalg.norm(actions_KA, axis=1)
    strong = actions_KA[size > max(0.5 * size.mean(), _STILL)]
    units = strong / np.linalg.norm(strong, axis=1, keepdims=True)
    return bool(((units @ units.T) < -0.5).any(1).sum() >= 3)


def runs(mask: Mask) -> list[tuple[int, int]]:
    """First and past-the-last index of each run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
