"""Logs that come without a spec: sensors, action spaces and episodes from the arrays of T recorded steps.

One decision for all such formats: an action whose outcome is not in the file is left out, because an episode of T actions
has T + 1 observations. The experience's `dropped` says so. Nothing is repeated or made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np

from forethought.data.schema import check_episode, check_numbers, flat_rows
from forethought.errors import DataError
from forethought.types import Array, BoxSpace, DiscreteSpace, Episode, ExperienceSpec, Sensor, SensorKind, Space

LAST_ACTION = "the last action of each episode, with its reward: what it led to is not in the file"
_MOST_ACTIONS = 2**16
_SMALLEST = 16  # pixels a side from which floating point numbers 0 to 255 are taken for an image


@final
@dataclass(frozen=True)
class Steps:
    """T recorded steps. observations, actions, rewards, metadata: T rows each; after: what the last action led to, if recorded.

    `constants`: metadata that holds all through the episode. `terminated` is of the last step that is kept.
    """

    observations: Mapping[str, Array]
    actions: Array
    rewards: Array | None = None
    after: Mapping[str, Array] | None = None
    metadata: Mapping[str, Array] = field(default_factory=dict)
    constants: Mapping[str, int | bool] = field(default_factory=dict)
    terminated: bool = False


def to_episode(id: str, steps: Steps, spec: ExperienceSpec, path: Path, place: str) -> Episode:
    """The episode of these steps: T actions if it is known what the last one led to, else T - 1. Raises DataError."""
    rows = len(steps.actions)
    kept = rows if steps.after is not None else max(0, rows - 1)
    observations = {}
    for sensor in spec.sensors:
        values = _counted(steps.observations, sensor.name, rows, path, place)
        if steps.after is not None:
            values = np.concatenate([values, _counted(steps.after, sensor.name, 1, path, place)])
        observations[sensor.name] = readings(values, sensor, path, f"{place}: {sensor.name}")
    metadata = {name: _counted(steps.metadata, name, rows, path, place) for name in steps.metadata}
    rewards = None if steps.rewards is None else steps.rewards.reshape(-1)[:kept].astype(np.float32)
    actions = as_actions(steps.actions[:kept], spec.action_space, path, f"{place}: actions")
    padded = {name: values if steps.after is None else _with_unknown(values) for name, values in metadata.items()}
    padded |= {name: np.full(kept + 1, value) for name, value in steps.constants.items()}
    episode = Episode(id, observations, actions, rewards, steps.terminated, not steps.terminated, padded)
    return check_episode(episode, spec, path, place)


def sensor_for(name: str, rows: Array, path: Path) -> Sensor | None:
    """What a column is, by a few of its rows (n, ...); None if its rows hold no numbers. Raises DataError for objects."""
    check_numbers(rows, path, name)
    if not int(np.prod(rows.shape[1:])):
        return None
    if _is_image(rows):
        return Sensor(name, SensorKind.IMAGE, _channels_last(rows).shape[1:], "uint8")
    exact = "float32" if rows.dtype.itemsize <= 2 else "float64"
    dtype = str(rows.dtype) if rows.dtype.kind == "f" else exact
    return Sensor(name, SensorKind.VECTOR, (int(np.prod(rows.shape[1:])),), dtype)


def readings(values: Array, sensor: Sensor, path: Path, place: str) -> Array:
    """A column's rows as the sensor's: images (n, height, width, channels) uint8, all else flat. Raises DataError."""
    check_numbers(values, path, place)
    if sensor.kind is not SensorKind.IMAGE:
        return flat_rows(values).astype(sensor.dtype, copy=False)
    with np.errstate(invalid="ignore"):
        pixels = values.astype(np.uint8, copy=False)
    if not np.array_equal(pixels, values):
        raise DataError("got pixels that are no whole numbers from 0 to 255; scale them", path, place)
    return _channels_last(pixels) if pixels.ndim in (3, 4) else pixels


def space_for(parts: Iterable[Array], path: Path, place: str) -> Space:
    """The action space that all these actions, (n, ...) each, lie in: discrete for one whole number a step, else a box.

    A box is -1 to 1 where that holds them, else from the smallest to the largest number seen.
    """
    low, high, whole = np.full(1, np.inf), np.full(1, -np.inf), True
    for part in parts:
        check_numbers(part, path, place)
        if part.ndim < 1 or not part.size:
            continue
        flat = flat_rows(part)
        whole = whole and flat.dtype.kind in "iu" and flat.shape[1] == 1
        if len(low) not in (1, flat.shape[1]):
            raise DataError(f"got actions of {flat.shape[1]} and of {len(low)} numbers; make them agree", path, place)
        low, high = np.fmin(low, np.fmin.reduce(flat, axis=0)), np.fmax(high, np.fmax.reduce(flat, axis=0))
    if not (np.isfinite(low) & np.isfinite(high)).all():
        raise DataError("got no finite action, expected one row per step; record actions", path, place)
    if whole and low[0] >= 0:
        return _discrete(int(high[0]), path, place)
    if low.min() >= -1 and high.max() <= 1:
        return BoxSpace((-1.0,) * len(low), (1.0,) * len(low))
    flat_bounds = low >= high
    return BoxSpace(tuple(map(float, low - 0.5 * flat_bounds)), tuple(map(float, high + 0.5 * flat_bounds)))


def as_actions(values: Array, space: Space, path: Path, place: str) -> Array:
    """Rows of actions as the space has them: (T,) whole numbers or (T, A) floating point. Raises DataError."""
    check_numbers(values, path, place)
    if isinstance(space, DiscreteSpace):
        return values.reshape(-1)
    flat = flat_rows(values)
    return flat if flat.dtype.kind == "f" else flat.astype(np.float64)


def _discrete(largest: int, path: Path, place: str) -> DiscreteSpace:
    if largest >= _MOST_ACTIONS:
        raise DataError(f"got the discrete action {largest}, expected less than {_MOST_ACTIONS}; renumber them", path, place)
    return DiscreteSpace(largest + 1)


def _is_image(rows: Array) -> bool:
    if rows.dtype == np.uint8:
        return rows.ndim == 3 or (rows.ndim == 4 and min(rows.shape[1], rows.shape[3]) <= 4)
    if rows.dtype.kind != "f" or rows.ndim != 4 or sorted(rows.shape[1:])[1] < _SMALLEST:
        return False
    if min(rows.shape[1], rows.shape[3]) not in (1, 3, 4) or not len(rows):
        return False
    return bool((rows == np.floor(rows)).all() and rows.min() >= 0 and 1 < rows.max() <= 255)


def _channels_last(images: Array) -> Array:
    """(n, H, W) gets a channel; (n, C, H, W) with few channels is turned round."""
    if images.ndim == 3:
        return images[..., None]
    return np.moveaxis(images, 1, -1) if images.shape[1] <= 4 < images.shape[3] else images


def _counted(columns: Mapping[str, Array], name: str, rows: int, path: Path, place: str) -> Array:
    values = columns.get(name)
    got = "nothing" if values is None else f"shape {values.shape}"
    if values is None or values.ndim < 1 or len(values) != rows:
        raise DataError(f"got {got} for '{name}', expected {rows} rows like the actions; leave it out", path, place)
    return values


def _with_unknown(values: Array) -> Array:
    """One row more: of the moment after the last action the file says nothing."""
    known = values if values.dtype.kind == "f" else values.astype(np.float64)
    return np.concatenate([known, np.full((1, *known.shape[1:]), np.nan, known.dtype)])
