"""Partly leaked tests: the same stretch of rows inside episodes of different splits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, Log, Repair, View
from forethought.data.schema import flat_rows
from forethought.data.split import Split
from forethought.types import Array, Episode

_LONG = 16  # rows: a shared stretch is at least so long
_KEEP = 2  # one hash in so many is kept, chosen by its own value: the same ones in every episode
_SMALL_WORLD = 0.3  # share of episodes that share stretches with others of their own split: then the world repeats itself


@final
class Stretches(Check):
    """`shared-stretch`: 16 rows or more that are the same, to the bit, in two splits. The held-out episode is left out."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._ids: list[str] = []
        self._indices: list[int] = []
        self._parts: list[NDArray[np.int64]] = []

    def see(self, view: View) -> None:
        hashes, rows = _hashes(view.episode)
        number = np.full(len(hashes), len(self._ids), dtype=np.int64)
        self._parts.append(np.stack([hashes.view(np.int64), number, rows], axis=1))
        self._ids.append(view.episode.id)
        self._indices.append(view.index)

    def findings(self) -> Iterator[Finding]:
        severity = Severity.INFO if self._repeats() else Severity.WARNING
        for copy, row, other in self._shared():
            message = f"shares a stretch with '{self._ids[other]}', which is in another split; leave one of them out"
            yield Finding(severity, "shared-stretch", message, None, 1, self._ids[copy], row)

    def repairs(self) -> Iterator[Repair]:
        if not self._repeats():
            for copy, _, _ in self._shared():
                yield Repair(
                    "shared-stretch", "left out held-out episodes with leaked stretches", self._indices[copy], lambda e: []
                )

    def _table(self) -> NDArray[np.int64]:
        table = np.concatenate(self._parts) if self._parts else np.zeros((0, 3), np.int64)
        return table[np.lexsort((table[:, 2], table[:, 1], table[:, 0]))]

    def _splits(self) -> NDArray[np.int64]:
        return np.array([list(Split).index(self.log.split(name)) for name in self._ids], dtype=np.int64)

    def _repeats(self) -> bool:
        """Do stretches repeat within a split as well, in many episodes? Small worlds do that, and it is no leak."""
        table, splits = self._table(), self._splits()
        same = (table[1:, 0] == table[:-1, 0]) & (table[1:, 1] != table[:-1, 1])
        inside = same & (splits[table[1:, 1]] == splits[table[:-1, 1]]) if len(self._ids) else same
        return bool(len(np.unique(table[1:, 1][inside])) > _SMALL_WORLD * len(self._ids))

    def _shared(self) -> Iterator[tuple[int, int, int]]:
        """(held-out episode, its first shared row, an episode of an earlier split)."""
        table, splits = self._table(), self._splits()
        seen: dict[int, tuple[int, int]] = {}
        starts = np.flatnonzero(np.concatenate([[True], table[1:, 0] != table[:-1, 0]])) if len(table) else np.zeros(0, int)
        for first, last in zip(starts, np.append(starts[1:], len(table)), strict=False):
            if last - first < 2:
                continue
            numbers, rows = table[first:last, 1], table[first:last, 2]
            here = splits[numbers]
            for number, row in zip(numbers[here > here.min()], rows[here > here.min()], strict=True):
                if int(number) not in seen or seen[int(number)][0] > row:
                    seen[int(number)] = (int(row), int(numbers[np.argmin(here)]))
        for number, (row, other) in sorted(seen.items()):
            yield number, row, other


def _hashes(episode: Episode) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of _LONG rows of actions and sensors, those kept, and where each begins. Still stretches are skipped."""
    count = episode.num_steps
    if count < _LONG:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    row = _rows(episode.actions)
    for values in episode.observations.values():
        row = (row ^ _rows(values[:count])) * np.uint64(0x9E3779B97F4A7C15)
    windows = np.lib.stride_tricks.sliding_window_view(row, _LONG)
    powers = np.cumprod(np.full(_LONG, 0x100000001B3, np.uint64))
    hashes: NDArray[np.uint64] = (windows * powers).sum(1, dtype=np.uint64)
    hashes ^= hashes >> np.uint64(29)
    varied = np.array([len(np.unique(window)) > _LONG // 2 for window in windows])
    kept = np.flatnonzero((hashes % np.uint64(_KEEP) == 0) & varied)
    return hashes[kept], kept.astype(np.int64)


def _rows(values: Array) -> NDArray[np.uint64]:
    """One hash a row, of the row's bytes."""
    flat = flat_rows(values if values.ndim > 1 else values[:, None])
    bytes_TN = np.ascontiguousarray(flat).view(np.uint8).reshape(len(flat), -1)
    pad = -bytes_TN.shape[1] % 8
    words = np.pad(bytes_TN, ((0, 0), (0, pad))).view(np.uint64)
    keys = np.random.default_rng(0).integers(1, 2**63, words.shape[1], dtype=np.uint64) | np.uint64(1)
    mixed: NDArray[np.uint64] = (words * keys).sum(1, dtype=np.uint64)
    return mixed ^ (mixed >> np.uint64(31))
