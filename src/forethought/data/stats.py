"""One pass over a log: what range its numbers live in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.config import from_json, to_json
from forethought.data.dataset import Dataset
from forethought.errors import UsageError, unknown_name
from forethought.types import Array

PERCENTILES = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0)
_CHUNK = 4096
_SAMPLE = 20_000
_FRAMES = 4096
_USUAL = 2048


@final
@dataclass(frozen=True)
class Column:
    """Statistics of one sensor or of the actions, per number: per channel for images, per entry otherwise.

    Images are measured on about 4,096 evenly spaced frames (every pixel of a log took longer than some trainings).
    percentiles[i] holds the PERCENTILES of number i, from an evenly spaced sample of at most 20,000 rows.
    """

    name: str
    count: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    percentiles: tuple[tuple[float, ...], ...]


@final
@dataclass(frozen=True)
class Statistics:
    """Statistics of a log: each sensor, and the actions as encoded (in [-1, 1], or one-hot)."""

    sensors: tuple[Column, ...]
    actions: Column

    def sensor(self, name: str) -> Column:
        """The statistics of one sensor. Raises UsageError."""
        known = {column.name: column for column in self.sensors}
        if name not in known:
            raise unknown_name("sensor", name, known)
        return known[name]

    def to_json(self) -> str:
        """JSON text; `from_json` is the inverse."""
        return to_json(self)

    @staticmethod
    def from_json(text: str) -> Statistics:
        """Read them back. Raises ConfigError."""
        return from_json(Statistics, text)


def measure(dataset: Dataset) -> Statistics:
    """The statistics of a dataset (of the training split: that is what normalisation may know)."""
    measured = {name: _some_frames(values) for name, values in dataset.sensors.items()}
    sensors = tuple(_column(name, _chunks(values), _every(values)) for name, values in measured.items())
    taken = np.ones(dataset.num_rows, dtype=bool)
    taken[dataset.ends()] = False
    actions = (part[keep] for part, keep in _pairs(dataset.actions_NA, taken))
    return Statistics(sensors, _column("actions", actions, _every(dataset.actions_NA)))


def usual_frame(frames_NHWC: Array) -> tuple[NDArray[np.float32], float]:
    """The mean frame (H, W, C) and the root mean square difference from it, of about 2,048 evenly spaced frames."""
    some = frames_NHWC[:: max(1, len(frames_NHWC) // _USUAL)]
    total, squares = np.zeros(some.shape[1:]), np.zeros(some.shape[1:])
    for at in range(0, len(some), 256):
        chunk = some[at : at + 256].astype(np.float32)
        total, squares = total + chunk.sum(0), squares + np.square(chunk).sum(0)
    usual = total / len(some)
    return usual.astype(np.float32), float(np.sqrt(np.mean(squares / len(some) - np.square(usual)).clip(0)))


def _every(values: Array) -> int:
    return max(1, len(values) * 8 // _SAMPLE)


def _some_frames(values: Array) -> Array:
    return values[:: max(1, len(values) // _FRAMES)] if values.ndim == 4 else values


def _chunks(values: Array) -> Iterator[Array]:
    for at in range(0, len(values), _CHUNK):
        chunk = values[at : at + _CHUNK]
        yield chunk.reshape(len(chunk), -1, chunk.shape[-1]) if chunk.ndim == 4 else chunk.reshape(len(chunk), 1, -1)


def _pairs(values: Array, keep: NDArray[np.bool_]) -> Iterator[tuple[Array, NDArray[np.bool_]]]:
    for at, chunk in zip(range(0, len(values), _CHUNK), _chunks(values), strict=True):
        yield chunk, keep[at : at + _CHUNK]


def _column(name: str, chunks: Iterable[Array], every: int) -> Column:
    """Chan's parallel form of Welford's update: exact whatever the chunking, stable for large means."""
    count, mean, squares, low, high = 0, np.zeros(1), np.zeros(1), np.array(np.inf), np.array(-np.inf)
    sample: list[Array] = []
    for chunk in chunks:
        if not chunk.size:
            continue
        sample.append(chunk[::every, :: max(1, chunk.shape[1] // 8)])
        rows = chunk.reshape(-1, chunk.shape[-1]).astype(np.float64)
        more, new_mean = len(rows), rows.mean(axis=0)
        delta, total = new_mean - mean, count + len(rows)
        squares = squares + ((rows - new_mean) ** 2).sum(axis=0) + delta**2 * count * more / total
        mean, count = mean + delta * more / total, total
        low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
    if not count:
        raise UsageError(f"'{name}' has no rows to measure; give a dataset with at least one action")
    return _finish(name, count, mean, np.sqrt(squares / count), low, high, sample)


def _finish(name: str, count: int, mean: Array, std: Array, low: Array, high: Array, sample: list[Array]) -> Column:
    rows = np.concatenate([part.reshape(-1, part.shape[-1]) for part in sample])
    rows = rows[:: max(1, len(rows) // _SAMPLE)]
    marks = np.percentile(rows.astype(np.float64), PERCENTILES, axis=0).T
    return Column(name, count, _floats(mean), _floats(std), _floats(low), _floats(high), tuple(map(_floats, marks)))


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
