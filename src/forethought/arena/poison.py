"""Poisoned experience: readings that say nothing about the world, or lie about it. None of it may ever be learned from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forethought.types import Array, Episode

Poison = Callable[[Array, np.random.Generator], Array]


def _random(readings: Array, rng: np.random.Generator) -> Array:
    low, high = readings.min(0), readings.max(0)
    return _like(readings, low + rng.random(readings.shape) * (high.astype(np.float64) - low))


def _noise(readings: Array, rng: np.random.Generator) -> Array:
    if readings.dtype == np.uint8:
        return rng.integers(0, 256, readings.shape).astype(np.uint8)
    return _like(readings, rng.normal(readings.mean(0), readings.std(0) + 1e-6, readings.shape))


def _constant(readings: Array, rng: np.random.Generator) -> Array:
    return np.repeat(readings[rng.integers(len(readings))][None], len(readings), 0)


def _nearly_constant(readings: Array, rng: np.random.Generator) -> Array:
    still = _constant(readings, rng)
    return _like(readings, still + rng.normal(0, 0.01 * float(readings.std()), readings.shape))


def _blank(readings: Array, rng: np.random.Generator) -> Array:
    return np.full_like(readings, 128 if readings.dtype == np.uint8 else 0)


def _shuffled(readings: Array, rng: np.random.Generator) -> Array:
    return readings[rng.permutation(len(readings))]


def _backwards(readings: Array, rng: np.random.Generator) -> Array:
    turned: Array = readings[::-1].copy()
    return turned


def _jumping(readings: Array, rng: np.random.Generator) -> Array:
    """Constant, but every few steps at another place."""
    places = rng.integers(0, len(readings), len(readings))
    jumped: Array = readings[places[(np.arange(len(readings)) // 5) * 5]]
    return jumped


def _walk(readings: Array, rng: np.random.Generator) -> Array:
    """Readings of the episode in an order that wanders, whatever is done."""
    steps = np.cumsum(rng.integers(-2, 3, len(readings)))
    walked: Array = readings[np.abs(steps) % len(readings)]
    return walked


POISONS: dict[str, Poison] = {
    "random": _random, "noise": _noise, "constant": _constant, "nearly constant": _nearly_constant, "blank": _blank,
    "shuffled": _shuffled, "backwards": _backwards, "jumping": _jumping, "walk": _walk,
}  # fmt: skip


def poisoned(episode: Episode, name: str, rng: np.random.Generator) -> Episode:
    """The episode with every sensor's readings poisoned, its actions as they were."""
    return replace(episode, observations={sensor: POISONS[name](r, rng) for sensor, r in episode.observations.items()})


def _like(readings: Array, values: NDArray[np.float64]) -> Array:
    if readings.dtype == np.uint8:
        return np.clip(values, 0, 255).astype(np.uint8)
    return values.astype(readings.dtype)
