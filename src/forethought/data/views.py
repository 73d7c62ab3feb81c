"""Parts of a log, and several logs as one: read when asked for, so that they can be copied (`convert`) like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

import numpy as np

from forethought.data.experience import Experience
from forethought.data.split import Split, split_of
from forethought.errors import DataError, UsageError, unknown_name
from forethought.types import Array, Episode


@final
class Part(Experience):
    """Some episodes of a log, in the order given, and some of its sensors (None: all)."""

    def __init__(self, whole: Experience, episodes: Sequence[int], sensors: Sequence[str] | None = None) -> None:
        known = {sensor.name: sensor for sensor in whole.spec.sensors}
        for name in sensors or ():
            if name not in known:
                raise unknown_name("sensor", name, known)
        self.path, self.dropped = whole.path, whole.dropped
        self.spec = replace(whole.spec, sensors=tuple(known[name] for name in known if sensors is None or name in sensors))
        self._whole, self._episodes = whole, tuple(episodes)

    def __len__(self) -> int:
        return len(self._episodes)

    def lengths(self) -> tuple[int, ...]:
        lengths = self._whole.lengths()
        return tuple(lengths[index] for index in self._episodes)

    def ids(self) -> tuple[str, ...]:
        ids = self._whole.ids()
        return tuple(ids[index] for index in self._episodes)

    def episode(self, index: int) -> Episode:
        episode = self._whole.episode(self._episodes[index])
        return replace(episode, observations={s.name: episode.observations[s.name] for s in self.spec.sensors})


def split(whole: Experience, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)) -> dict[Split, Part]:
    """The three parts that training sees, by the same hash of the ids."""
    parts = [split_of(name, fractions) for name in whole.ids()]
    return {part: Part(whole, [i for i, here in enumerate(parts) if here is part]) for part in Split}


def shares(text: str) -> tuple[float, float, float]:
    """Three fractions as text, "0.8,0.1,0.1". Raises UsageError."""
    try:
        train, calibrate, test = map(float, text.split(","))
    except ValueError:
        raise UsageError(f"got the fractions '{text}', expected three numbers such as 0.8,0.1,0.1") from None
    return train, calibrate, test


def fraction(count: int, share: float, seed: int) -> tuple[int, ...]:
    """A random share of `count` episodes, at least one, in their order; (count, share, seed) decides."""
    if not 0 < share <= 1:
        raise UsageError(f"got the fraction {share}, expected more than 0 and at most 1")
    chosen = np.random.default_rng(seed).permutation(count)[: max(1, round(share * count))]
    return tuple(np.sort(chosen).tolist())


def slices(text: str, count: int) -> tuple[int, ...]:
    """Episodes by place: "0:100", "::2", "0:17,18:" (17 left out), "5". As Python counts. Raises UsageError."""
    chosen: list[int] = []
    for part in text.split(","):
        try:
            bounds = [int(bound) if bound.strip() else None for bound in part.split(":")]
            chosen += (
                range(count)[slice(*bounds)]
                if len(bounds) > 1
                else [range(count)[bounds[0] if bounds[0] is not None else count]]
            )
        except (ValueError, TypeError, IndexError):
            raise UsageError(f"got the episodes '{part}' of {count}, expected FROM:TO, FROM:TO:STEP or one number") from None
    return tuple(dict.fromkeys(chosen))


@final
class Joined(Experience):
    """Logs of one spec, end to end. An id that was there before gets its log's name in front: `other/e7`.

    An episode that is the same to the bit as the earlier one of its id is left out. `twins`, `renamed`: how many of each.
    """

    def __init__(self, logs: Sequence[Experience]) -> None:
        self.spec, self.path = logs[0].spec, logs[0].path
        for log in logs[1:]:
            if log.spec != self.spec:
                raise DataError(f"has another spec than {self.path}; bring them to one spec first, such as with "
                                "`forethought data subset --sensors`", log.path)  # fmt: skip
        self.dropped = tuple(dict.fromkeys(what for log in logs for what in log.dropped))
        self.twins = self.renamed = 0
        self._logs = tuple(logs)
        self._places: dict[str, tuple[int, int]] = {}
        self._lengths: list[int] = []
        for number, log in enumerate(logs):
            lengths = log.lengths()
            for index, name in enumerate(log.ids()):
                self._add(name, number, index, lengths[index])

    def _add(self, name: str, log: int, index: int, length: int) -> None:
        if name in self._places:
            there, at = self._places[name]
            if _same(self._logs[there].episode(at), self._logs[log].episode(index)):
                self.twins += 1
                return
            self.renamed += 1
            stem = (self._logs[log].path or Path(f"log-{log}")).stem
            tries = (f"{stem}/{name}", *(f"{stem}-{n}/{name}" for n in range(2, len(self._places) + 3)))
            name = next(one for one in tries if one not in self._places)
        self._places[name] = (log, index)
        self._lengths.append(length)

    def __len__(self) -> int:
        return len(self._lengths)

    def lengths(self) -> tuple[int, ...]:
        return tuple(self._lengths)

    def ids(self) -> tuple[str, ...]:
        return tuple(self._places)

    def episode(self, index: int) -> Episode:
        name = self.ids()[index]
        log, at = self._places[name]
        return replace(self._logs[log].episode(at), id=name)


def _same(one: Episode, other: Episode) -> bool:
    return _bytes(one) == _bytes(other)


def _bytes(episode: Episode) -> list[tuple[str, str, tuple[int, ...], bytes]]:
    named: dict[str, Array] = {**episode.observations, "": episode.actions}
    named |= {f"metadata/{name}": values for name, values in episode.metadata.items()}
    if episode.rewards is not None:
        named["/rewards"] = episode.rewards
    return [(name, str(values.dtype), values.shape, values.tobytes()) for name, values in sorted(named.items())]
