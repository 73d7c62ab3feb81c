"""Actions and tokens outside what the spec allows, and actions that use next to nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import final

import numpy as np

from forethought.data.checks.cuts import keep_stretches
from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import EpisodeCheck, Log, Mask, Repair, View
from forethought.data.schema import flat_rows
from forethought.types import BoxSpace, DiscreteSpace, Episode, ExperienceSpec, Sensor, SensorKind

LITTLE = 0.05  # of the bounds' width: a log that uses less has other units than its spec


@final
class Bounds(EpisodeCheck):
    """`action-out-of-bounds` (mended by clipping, or cutting if discrete), `token-out-of-vocabulary` (cut), `action-range`."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._low, self._high = np.full(log.spec.action_space.size, np.inf), np.full(log.spec.action_space.size, -np.inf)

    def look(self, view: View) -> Iterator[Finding]:
        space, actions = self.log.spec.action_space, view.episode.actions
        outside = _outside(view.episode, self.log.spec)
        severity = Severity.ERROR if isinstance(space, DiscreteSpace) else Severity.WARNING
        allowed = f"{space.low} to {space.high}" if isinstance(space, BoxSpace) else f"0 to {space.size - 1}"
        if outside.any():
            message = f"actions leave the bounds {allowed}; correct the spec's bounds, or clip what was logged"
            yield view.at(severity, "action-out-of-bounds", message, "actions", outside)
        if isinstance(space, BoxSpace) and len(actions):
            self._low, self._high = np.fmin(self._low, actions.min(0)), np.fmax(self._high, actions.max(0))
        yield from self._tokens(view)

    def _tokens(self, view: View) -> Iterator[Finding]:
        for sensor in self.log.spec.sensors:
            if sensor.kind is not SensorKind.TOKENS:
                continue
            unknown = _unknown(view.episode, sensor)
            if unknown.any():
                message = f"tokens leave 0 to {sensor.vocabulary - 1}; correct the spec's vocabulary"
                yield view.at(Severity.ERROR, "token-out-of-vocabulary", message, sensor.name, unknown)

    def findings(self) -> Iterator[Finding]:
        yield from super().findings()
        space = self.log.spec.action_space
        if not isinstance(space, BoxSpace):
            return
        share = (self._high - self._low) / (np.asarray(space.high) - np.asarray(space.low))
        little = np.flatnonzero((share > 0) & (share < LITTLE))
        if len(little):
            message = (
                f"actions {little.tolist()} use only {100 * share[little].max():.1g} % of the spec's bounds; are these other "
                "units? Set the bounds to what the robot takes"
            )
            yield Finding(Severity.WARNING, "action-range", message, "actions", len(little))

    def repairs(self) -> Iterator[Repair]:
        if isinstance(self.log.spec.action_space, BoxSpace):
            yield from self.mend("action-out-of-bounds", "clipped actions", lambda episode: [_clipped(episode, self.log.spec)])
        else:
            yield from self.mend("action-out-of-bounds", "cut at unknown actions", self._known)
        yield from self.mend("token-out-of-vocabulary", "cut at unknown tokens", self._known)

    def _known(self, episode: Episode) -> list[Episode]:
        unknown = np.zeros(episode.num_steps + 1, dtype=bool)
        for sensor in self.log.spec.sensors:
            if sensor.kind is SensorKind.TOKENS:
                unknown |= _unknown(episode, sensor)
        wrong = isinstance(self.log.spec.action_space, DiscreteSpace) & _outside(episode, self.log.spec)
        return keep_stretches(episode, unknown, wrong)


def _unknown(episode: Episode, sensor: Sensor) -> Mask:
    values = flat_rows(episode.observations[sensor.name])
    unknown: Mask = np.asarray(((values < 0) | (values >= sensor.vocabulary)).any(axis=1))
    return unknown


def _outside(episode: Episode, spec: ExperienceSpec) -> Mask:
    space, actions = spec.action_space, episode.actions
    if isinstance(space, BoxSpace):
        low, high = np.asarray(space.low), np.asarray(space.high)
        slack = 1e-5 * (high - low)
        outside: Mask = ((actions < low - slack) | (actions > high + slack)).any(axis=1)
        return outside
    return np.asarray((actions < 0) | (actions >= space.size))


def _clipped(episode: Episode, spec: ExperienceSpec) -> Episode:
    assert isinstance(spec.action_space, BoxSpace)
    low, high = (np.asarray(bound, episode.actions.dtype) for bound in (spec.action_space.low, spec.action_space.high))
    return replace(episode, actions=np.clip(episode.actions, low, high))
