"""What is in a log, and what is wrong with it: each finding names the episode and row, and says what to do."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.experience import Experience
from forethought.data.schema import flat_rows
from forethought.data.split import Split, split_of
from forethought.errors import DataError
from forethought.types import Array, BoxSpace, DiscreteSpace, Episode, ExperienceSpec, SensorKind

_MIN_STEPS = 8
_IDLE_SHARE = 0.2
_STILL = 1e-3  # of half the action range: an action this near the middle asks for nothing
_ALIKE = 0.01  # distance between fingerprints, relative to the usual one, below which two episodes are the same
_PARTS = 16


class Severity(enum.Enum):
    """How bad: ERROR training refuses, WARNING results will suffer, INFO good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@final
@dataclass(frozen=True)
class Finding:
    """One thing found `count` times, first at `episode` and `row` (None: the whole log); the message says the remedy."""

    severity: Severity
    code: str
    message: str
    sensor: str | None = None
    count: int = 1
    episode: str | None = None
    row: int | None = None


@final
@dataclass
class _Tally:
    """Findings under way: the same code and sensor are counted, the first place is kept."""

    first: dict[tuple[str, str | None], Finding] = field(default_factory=dict)
    counts: dict[tuple[str, str | None], int] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        key = (finding.code, finding.sensor)
        self.first.setdefault(key, finding)
        self.counts[key] = self.counts.get(key, 0) + finding.count

    def findings(self) -> Iterator[Finding]:
        for key, f in self.first.items():
            yield Finding(f.severity, f.code, f.message, f.sensor, self.counts[key], f.episode, f.row)


@final
@dataclass(frozen=True)
class Summary:
    """What is in a log. `splits`: episodes for training, calibration, testing."""

    spec: ExperienceSpec
    episodes: int
    steps: int
    shortest: int
    longest: int
    splits: tuple[int, int, int]


def summarise(experience: Experience, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)) -> Summary:
    """Count what is there, without reading the episodes' arrays."""
    lengths = experience.lengths() or (0,)
    parts = [split_of(name, fractions) for name in experience.ids()]
    train, calibrate, test = (parts.count(split) for split in Split)
    return Summary(experience.spec, len(experience), sum(lengths), min(lengths), max(lengths), (train, calibrate, test))


def check_log(experience: Experience, *, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)) -> tuple[Finding, ...]:
    """Look at every episode once. Never raises for what is in the log; worst findings first."""
    if not len(experience):
        return (Finding(Severity.ERROR, "no-episodes", "the log has no episodes; record some"),)
    tally = _Tally()
    ids: list[str] = []
    prints: list[NDArray[np.float64]] = []
    used = _UsedActions(experience.spec)
    for index in range(len(experience)):
        try:
            episode = experience.episode(index)
        except DataError as error:
            tally.add(Finding(Severity.ERROR, "unreadable", str(error), episode=f"number {index}"))
            continue
        for finding in _check_episode(episode, experience.spec):
            tally.add(finding)
        used.see(episode)
        ids.append(episode.id)
        prints.append(_fingerprint(episode))
    for finding in (*used.findings(), *_check_ids(ids, fractions), *_check_twins(ids, prints, fractions)):
        tally.add(finding)
    order = list(Severity)
    return tuple(sorted(tally.findings(), key=lambda f: order.index(f.severity)))


def _check_episode(episode: Episode, spec: ExperienceSpec) -> Iterator[Finding]:
    yield from _not_finite(episode)
    yield from _bounds(episode, spec)
    yield from _motion(episode, spec)
    yield from _clock(episode)
    if episode.num_steps < _MIN_STEPS:
        message = f"{episode.num_steps} steps; too short for most windows. Leave it out, or join it with the next"
        yield Finding(Severity.WARNING, "short-episode", message, episode=episode.id)


def _not_finite(episode: Episode) -> Iterator[Finding]:
    arrays = [("actions", episode.actions), *episode.observations.items()]
    if episode.rewards is not None:
        arrays.append(("rewards", episode.rewards))
    for name, values in arrays:
        bad = _bad_rows(values)
        if bad.any():
            message = f"'{name}' is NaN or infinite; leave the episode out, or repair the sensor's values"
            yield _at(Severity.ERROR, "not-finite", message, episode, bad, name)


def _bad_rows(values: Array) -> NDArray[np.bool_]:
    if values.dtype.kind != "f":
        return np.zeros(len(values), dtype=bool)
    return np.asarray(np.logical_not(np.isfinite(flat_rows(values))).any(axis=1), dtype=bool)


def _bounds(episode: Episode, spec: ExperienceSpec) -> Iterator[Finding]:
    space, actions = spec.action_space, episode.actions
    if isinstance(space, DiscreteSpace):
        outside: NDArray[np.bool_] = np.asarray((actions < 0) | (actions >= space.count))
        severity, allowed = Severity.ERROR, f"0 to {space.count - 1}"
    else:
        assert isinstance(space, BoxSpace)  # there are two kinds
        low, high = np.asarray(space.low), np.asarray(space.high)
        slack = 1e-5 * (high - low)
        outside = ((actions < low - slack) | (actions > high + slack)).any(axis=1)
        severity, allowed = Severity.WARNING, f"{space.low} to {space.high}"
    if outside.any():
        message = f"actions leave the bounds {allowed}; correct the spec's bounds, or clip what was logged"
        yield _at(severity, "action-out-of-bounds", message, episode, outside, "actions")
    for sensor in spec.sensors:
        if sensor.kind is not SensorKind.TOKENS:
            continue
        values = flat_rows(episode.observations[sensor.name])
        unknown: NDArray[np.bool_] = np.asarray(((values < 0) | (values >= sensor.vocabulary)).any(axis=1))
        if unknown.any():
            message = f"tokens leave 0 to {sensor.vocabulary - 1}; correct the spec's vocabulary"
            yield _at(Severity.ERROR, "token-out-of-vocabulary", message, episode, unknown, sensor.name)


def _motion(episode: Episode, spec: ExperienceSpec) -> Iterator[Finding]:
    """Stuck sensors, and actions after which nothing at all is different."""
    if episode.num_steps < 2:
        return
    moved = {name: _changed(values) for name, values in episode.observations.items()}
    for name, changed in moved.items():
        if not changed.any():
            message = f"'{name}' never changes within an episode; check the sensor, or leave it out if it is meant to"
            yield Finding(Severity.WARNING, "stuck-sensor", message, name, 1, episode.id, 0)
    idle = np.logical_not(np.stack(list(moved.values())).any(axis=0)) & _asks(episode.actions, spec)
    if idle.mean() > _IDLE_SHARE:
        message = "actions after which no sensor changes; check that actions and observations are of the same moment"
        yield _at(Severity.WARNING, "idle-action", message, episode, idle, "actions")


def _changed(values: Array) -> NDArray[np.bool_]:
    """Does each row differ from the one before, (T,)?"""
    flat = flat_rows(values)
    different: NDArray[np.bool_] = (flat[1:] != flat[:-1]).any(axis=1)
    return different


def _asks(actions: Array, spec: ExperienceSpec) -> NDArray[np.bool_]:
    """Does each action ask for something? In a box, the zero action (and the middle) do not."""
    if not isinstance(spec.action_space, BoxSpace):
        return np.ones(len(actions), dtype=bool)
    asks: NDArray[np.bool_] = (np.abs(spec.action_space.encode(actions)) > _STILL).any(axis=1) & (actions != 0).any(axis=1)
    return asks


def _clock(episode: Episode) -> Iterator[Finding]:
    for name, values in (*episode.observations.items(), *episode.metadata.items()):
        if "timestamp" in name.lower() and values.size == len(values) > 1:
            back = np.diff(values.reshape(-1).astype(np.float64)) < 0
            if back.any():
                message = f"'{name}' runs backwards; sort the rows, or cut the episode there"
                yield _at(Severity.ERROR, "time-backwards", message, episode, np.concatenate([[False], back]), name)


@final
class _UsedActions:
    """Which action numbers ever change, over the whole log."""

    def __init__(self, spec: ExperienceSpec) -> None:
        size = spec.action_space.size
        self._discrete = isinstance(spec.action_space, DiscreteSpace)
        self._low, self._high, self._seen = np.full(size, np.inf), np.full(size, -np.inf), np.zeros(size, dtype=np.int64)

    def see(self, episode: Episode) -> None:
        if not episode.num_steps:
            return
        if self._discrete:
            inside = episode.actions[(episode.actions >= 0) & (episode.actions < len(self._seen))]
            self._seen += np.bincount(inside.astype(np.int64), minlength=len(self._seen))
        else:
            self._low = np.fmin(self._low, episode.actions.min(axis=0))
            self._high = np.fmax(self._high, episode.actions.max(axis=0))

    def findings(self) -> Iterator[Finding]:
        never = np.flatnonzero(self._seen == 0) if self._discrete else np.flatnonzero(self._low >= self._high)
        if len(never):
            what = "are never taken" if self._discrete else "never change"
            message = f"actions {never.tolist()} {what}; their effect cannot be learned. Leave them out, or explore them"
            yield Finding(Severity.WARNING, "constant-action", message, "actions", len(never))


def _check_ids(ids: list[str], fractions: tuple[float, float, float]) -> Iterator[Finding]:
    seen: set[str] = set()
    repeated = [name for name in ids if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    if repeated:
        message = "episode ids repeat, so splits and seeds are not sound; give each episode its own id"
        yield Finding(Severity.ERROR, "repeated-id", message, count=len(repeated), episode=repeated[0])
    for split, share in zip(Split, fractions, strict=True):
        if share > 0 and not any(split_of(name, fractions) is split for name in ids):
            message = f"no episode falls in the split '{split.value}' ({len(ids)} in all); record more episodes"
            yield Finding(Severity.WARNING, f"empty-split-{split.value}", message)


def _fingerprint(episode: Episode) -> NDArray[np.float64]:
    """What the episode did, in a few numbers: actions and sensors, averaged over 16 stretches of time."""
    parts = [_stretches(flat_rows(episode.actions))]
    parts += [_stretches(flat_rows(values)) for values in episode.observations.values()]
    return np.nan_to_num(np.concatenate(parts), posinf=0, neginf=0)


def _stretches(values: Array) -> NDArray[np.float64]:
    if not len(values):
        return np.zeros(_PARTS * 4)
    rows = np.linspace(0, len(values) - 1, _PARTS).astype(int)
    folds = np.array_split(values[rows].astype(np.float64), min(4, values.shape[1]), axis=1)
    means = np.stack([fold.mean(axis=1) for fold in folds], axis=1)
    result: NDArray[np.float64] = np.pad(means, ((0, 0), (0, 4 - means.shape[1]))).reshape(-1)
    return result


def _check_twins(ids: list[str], prints: list[NDArray[np.float64]], fractions: tuple[float, float, float]) -> Iterator[Finding]:
    """Episodes in different splits that are all but the same: then the test is not a test."""
    if len(prints) < 2:
        return
    table = np.stack(prints)
    table = (table - table.mean(axis=0)) / np.maximum(table.std(axis=0), 1e-9)
    varied = table[:, np.abs(table).max(axis=0) > 1e-6]
    splits = np.array([list(Split).index(split_of(name, fractions)) for name in ids])
    for split in (1, 2):
        here, there = np.flatnonzero(splits == split), np.flatnonzero(splits < split)
        if len(here) and len(there):
            yield from _twins(ids, varied, here, there)


def _twins(ids: list[str], table: Array, here: Array, there: Array) -> Iterable[Finding]:
    sizes = (table**2).sum(axis=1)
    for chunk in np.array_split(here, max(1, len(here) * len(there) // 10**7)):
        distance = sizes[chunk, None] + sizes[None, there] - 2 * table[chunk] @ table[there].T
        close = distance <= (_ALIKE**2) * 2 * max(1, table.shape[1])
        for i in np.flatnonzero(close.any(axis=1)):
            other = ids[there[int(np.argmax(close[i]))]]
            message = f"all but the same as '{other}', which is in another split; leave one of them out"
            yield Finding(Severity.WARNING, "near-duplicate", message, episode=ids[chunk[i]])


def _at(
    severity: Severity, code: str, message: str, episode: Episode, rows: NDArray[np.bool_], sensor: str | None = None
) -> Finding:
    return Finding(severity, code, message, sensor, int(rows.sum()), episode.id, int(np.argmax(rows)))
