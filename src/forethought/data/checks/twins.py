"""Leaked test episodes: all but the same as one in another split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np

from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, Floats, Log, Repair, View
from forethought.data.schema import flat_rows
from forethought.data.split import Split
from forethought.types import Array, Episode

_ALIKE = 0.01  # distance between fingerprints, relative to the usual one, below which two episodes are the same
_PARTS = 16


@final
class Twins(Check):
    """`near-duplicate`: then the test is not a test. Mended by leaving the held-out copy out."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._ids: list[str] = []
        self._indices: list[int] = []
        self._prints: list[Floats] = []

    def see(self, view: View) -> None:
        self._ids.append(view.episode.id)
        self._indices.append(view.index)
        self._prints.append(_fingerprint(view.episode))

    def findings(self) -> Iterator[Finding]:
        for copy, other in self._pairs():
            message = f"all but the same as '{self._ids[other]}', which is in another split; leave one of them out"
            yield Finding(Severity.WARNING, "near-duplicate", message, episode=self._ids[copy])

    def repairs(self) -> Iterator[Repair]:
        for copy, _ in self._pairs():
            yield Repair("near-duplicate", "left out held-out copies", self._indices[copy], lambda episode: [])

    def _pairs(self) -> Iterator[tuple[int, int]]:
        """Held-out episodes and what they are copies of."""
        if len(self._prints) < 2:
            return
        table = np.stack(self._prints)
        table = (table - table.mean(axis=0)) / np.maximum(table.std(axis=0), 1e-9)
        varied = table[:, np.abs(table).max(axis=0) > 1e-6]
        splits = np.array([list(Split).index(self.log.split(name)) for name in self._ids])
        for split in (1, 2):
            here, there = np.flatnonzero(splits == split), np.flatnonzero(splits < split)
            if len(here) and len(there):
                yield from _close(varied, here, there)


def _close(table: Array, here: Array, there: Array) -> Iterator[tuple[int, int]]:
    sizes = (table**2).sum(axis=1)
    for chunk in np.array_split(here, max(1, len(here) * len(there) // 10**7)):
        distance = sizes[chunk, None] + sizes[None, there] - 2 * table[chunk] @ table[there].T
        close = distance <= (_ALIKE**2) * 2 * max(1, table.shape[1])
        for i in np.flatnonzero(close.any(axis=1)):
            yield int(chunk[i]), int(there[int(np.argmax(close[i]))])


def _fingerprint(episode: Episode) -> Floats:
    """What the episode did, in a few numbers: actions and sensors, averaged over 16 stretches of time."""
    parts = [_stretches(flat_rows(episode.actions))]
    parts += [_stretches(flat_rows(values)) for values in episode.observations.values()]
    return np.nan_to_num(np.concatenate(parts), posinf=0, neginf=0)


def _stretches(values: Array) -> Floats:
    if not len(values):
        return np.zeros(_PARTS * 4)
    rows = np.linspace(0, len(values) - 1, _PARTS).astype(int)
    folds = np.array_split(values[rows].astype(np.float64), min(4, values.shape[1]), axis=1)
    means = np.stack([fold.mean(axis=1) for fold in folds], axis=1)
    result: Floats = np.pad(means, ((0, 0), (0, 4 - means.shape[1]))).reshape(-1)
    return result
