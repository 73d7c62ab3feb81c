"""What each sensor usually looks like, by itself: how far a reading is from all that was seen, and from the one before it.

The latent alone is not enough: an encoder maps what it has never seen to somewhere, often to a place that looks usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.types import Array, Sensor, SensorKind

Floats = NDArray[np.float32]
CELLS, AXES, KEPT, NEAREST = 8, 24, 2048, 3


@final
@dataclass(frozen=True)
class Nearest:
    """Points seen, (M, K): `distance` of a new one to its nearest three. Exact; one matrix product a question."""

    points_MK: Floats
    square_M: Floats

    @staticmethod
    def of(points_NK: Floats, generator: np.random.Generator, kept: int = KEPT) -> Nearest:
        """Keep a random `kept` of them."""
        return Nearest.at(np.ascontiguousarray(points_NK[generator.permutation(len(points_NK))[:kept]], np.float32))

    @staticmethod
    def at(points_MK: Floats) -> Nearest:
        """Exactly those points."""
        return Nearest(points_MK, np.einsum("mk,mk->m", points_MK, points_MK))

    def distance(self, point_K: Floats) -> float:
        """Mean distance to the nearest three."""
        square = self.square_M - 2.0 * (self.points_MK @ point_K) + point_K @ point_K
        count = min(NEAREST, len(square))
        near = np.partition(square, count - 1)[:count] if count < len(square) else square
        return float(np.sqrt(np.maximum(near, 0.0)).mean())


@final
@dataclass(frozen=True)
class Sense:
    """One sensor's usual readings: the main axes of its features, the points seen along them, and the rest's scale."""

    sensor: Sensor
    mean_F: Floats
    scale_F: Floats
    axes_FK: Floats
    nearest: Nearest

    @staticmethod
    def fit(sensor: Sensor, readings_N: Array, rows: NDArray[np.int64], generator: np.random.Generator) -> Sense:
        """From some rows of the log's readings (N, ...), looked at a few at a time: pictures may be large."""
        features_NF = np.concatenate(
            [features(sensor, readings_N[part]) for part in np.array_split(rows, -(-len(rows) // 128))]
        )
        mean, scale = features_NF.mean(0), features_NF.std(0)
        scale = np.maximum(scale, 0.1 * float(scale.max()) + 1e-6).astype(np.float32)
        scaled = (features_NF - mean) / scale
        covariance = scaled.T @ scaled / len(scaled)
        _, vectors = np.linalg.eigh(covariance.astype(np.float64))
        axes = np.ascontiguousarray(vectors[:, ::-1][:, :AXES], np.float32)
        return Sense(sensor, mean, scale, axes, Nearest.of(scaled @ axes, generator))

    def scaled(self, reading: Array) -> Floats:
        """Features of one reading in deviations, (F,)."""
        result: Floats = (features(self.sensor, reading[None])[0] - self.mean_F) / self.scale_F
        return result

    def look(self, scaled_F: Floats) -> tuple[float, float]:
        """How far from all readings seen along the main axes; and the length of what no main axis holds."""
        along = scaled_F @ self.axes_FK
        whole = len(self.axes_FK) == self.axes_FK.shape[1]  # then nothing is left but rounding, which is no signal
        rest = 0.0 if whole else float(scaled_F @ scaled_F) - float(along @ along)
        return self.nearest.distance(along), float(np.sqrt(max(rest, 0.0)))


def features(sensor: Sensor, readings_N: Array) -> Floats:
    """(N, F): an image's mean colours and contrast in 8 x 8 cells; a vector or tokens as they are."""
    if sensor.kind is not SensorKind.IMAGE:
        return np.ascontiguousarray(readings_N, np.float32).reshape(len(readings_N), -1)
    count, height, width, channels = readings_N.shape
    tall, wide = max(1, height // CELLS), max(1, width // CELLS)
    rows, columns = height // tall, width // wide
    picture = readings_N[:, : rows * tall, : columns * wide].astype(np.float32)
    down, across, colours = _pooling(rows, tall, columns, wide, channels)
    means = down @ picture.reshape(count, rows * tall, -1) @ colours
    grey = picture[..., channels // 2]
    centre = means.reshape(count, rows, columns, channels)[..., channels // 2]
    contrast = np.sqrt(np.maximum(down @ np.square(grey) @ across - np.square(centre), 0.0))
    return np.concatenate([means.reshape(count, -1), contrast.reshape(count, -1)], 1)


@cache
def _pooling(rows: int, tall: int, columns: int, wide: int, channels: int) -> tuple[Floats, Floats, Floats]:
    """Means over cells as matrix products, several times faster than reductions: down, across, and across each colour."""
    down = np.repeat(np.eye(rows, dtype=np.float32), tall, 1)
    across: Floats = np.repeat(np.eye(columns, dtype=np.float32), wide, 0) / np.float32(tall * wide)
    colours: Floats = np.kron(across, np.eye(channels, dtype=np.float32)).astype(np.float32)
    return down, across, colours
