"""The log schema, version 1: what a spec looks like as JSON, and what every episode must satisfy."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from forethought.config import from_json, to_json
from forethought.errors import ConfigError, DataError, ForethoughtError, unknown_name
from forethought.types import Array, BoxSpace, DiscreteSpace, Episode, ExperienceSpec, Sensor, SensorKind, Space

FORMAT = "forethought-log"
VERSION = 1
_DTYPE_KINDS = {SensorKind.IMAGE: "u", SensorKind.VECTOR: "f", SensorKind.TOKENS: "iu"}
_EXPECTED = {SensorKind.IMAGE: "uint8", SensorKind.VECTOR: "floating point", SensorKind.TOKENS: "integers"}


class ActionKind(enum.Enum):
    """How actions are stored."""

    BOX = "box"
    DISCRETE = "discrete"


@final
@dataclass(frozen=True)
class ActionRecord:
    """An action space as JSON: bounds for a box, a count for discrete actions."""

    kind: ActionKind
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    count: int = 0


@final
@dataclass(frozen=True)
class SpecRecord:
    """An ExperienceSpec as JSON."""

    format: str
    version: int
    sensors: tuple[Sensor, ...]
    actions: ActionRecord
    has_reward: bool = False
    steps_per_second: float | None = None
    tasks: tuple[str, ...] = ()


def spec_to_json(spec: ExperienceSpec) -> str:
    """The spec as JSON text; `spec_from_json` is its exact inverse."""
    actions = _action_record(spec.action_space)
    return to_json(SpecRecord(FORMAT, VERSION, spec.sensors, actions, spec.has_reward, spec.steps_per_second, spec.tasks))


def spec_from_json(text: str, path: Path, place: str = "spec") -> ExperienceSpec:
    """Read a spec. Raises DataError with file and place."""
    try:
        record = from_json(SpecRecord, text)
    except ConfigError as error:
        raise DataError(f"the spec cannot be read: {error} (schema: docs/data.md)", path, place) from None
    if record.format != FORMAT:
        raise DataError(f"got format {record.format!r}, expected {FORMAT!r}; is this another program's file?", path, place)
    if record.version != VERSION:
        raise DataError(f"got schema version {record.version}, expected {VERSION}; upgrade forethought", path, place)
    space = _space(record.actions, path, place)
    spec = ExperienceSpec(record.sensors, space, record.has_reward, record.steps_per_second, record.tasks)
    return check_spec(spec, path, place)


def check_spec(spec: ExperienceSpec, path: Path | None = None, place: str = "spec") -> ExperienceSpec:
    """The same spec, if it makes sense. Raises DataError."""
    names = [sensor.name for sensor in spec.sensors]
    if not names:
        raise DataError("no sensors; name at least one", path, place)
    if len(set(names)) != len(names):
        raise DataError(f"sensor names {names} repeat; give each sensor its own name", path, place)
    for sensor in spec.sensors:
        _check_sensor(sensor, path, f"{place}: sensor '{sensor.name}'")
    if isinstance(spec.action_space, BoxSpace):
        _check_box(spec.action_space, path, place)
    return spec


def check_episode(episode: Episode, spec: ExperienceSpec, path: Path | None = None, place: str = "") -> Episode:
    """The same episode, if its names, shapes and dtypes are those of the spec. Raises DataError; values are not looked at."""
    place = place or f"episode '{episode.id}'"
    _check_actions(episode.actions, spec.action_space, path, f"{place}: actions")
    rows = episode.num_steps + 1
    known = {sensor.name: sensor for sensor in spec.sensors}
    for name in episode.observations:
        if name not in known:
            raise DataError(str(unknown_name("sensor", name, known)) + " Add it to the spec, or drop it.", path, place)
    for name, sensor in known.items():
        if name not in episode.observations:
            got = ", ".join(sorted(episode.observations)) or "none"
            raise DataError(f"sensor '{name}' is missing; got {got}. Log it, or take it out of the spec", path, place)
        _check_readings(episode.observations[name], sensor, rows, path, f"{place}: observations/{name}")
    for name, values in episode.metadata.items():
        _check_metadata(values, rows, path, f"{place}: metadata/{name}")
    _check_rewards(episode, spec, path, place)
    return episode


def check_numbers(array: Array, path: Path | None, place: str) -> Array:
    """The same array, if it holds plain numbers. Raises DataError for objects, strings and records."""
    if array.dtype.kind not in "biuf":
        what = "Python objects (a pickle, which is never loaded)" if array.dtype.kind == "O" else f"dtype {array.dtype}"
        raise DataError(f"got {what}, expected plain numbers; save it as a numeric array", path, place)
    return array


def flat_rows(values: Array) -> Array:
    """(rows, ...) as (rows, n), zero rows included."""
    return values.reshape(len(values), int(np.prod(values.shape[1:])))


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts 'episode 2' before 'episode 10'."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def safe_name(name: str, path: Path | None, place: str) -> str:
    """A sensor or metadata name that can be stored: not empty, no '/', not '.' alone."""
    if not name or "/" in name or "\x00" in name or name.strip(".") == "":
        raise DataError(f"got the name {name!r}, expected one without '/' that is not empty; rename it", path, place)
    return name


def _action_record(space: Space) -> ActionRecord:
    if isinstance(space, BoxSpace):
        return ActionRecord(ActionKind.BOX, tuple(map(float, space.low)), tuple(map(float, space.high)))
    if isinstance(space, DiscreteSpace):
        return ActionRecord(ActionKind.DISCRETE, count=int(space.count))
    raise DataError(f"got action space {type(space).__name__}, expected BoxSpace or DiscreteSpace; convert it first")


def _space(record: ActionRecord, path: Path, place: str) -> Space:
    if record.kind is ActionKind.BOX:
        return BoxSpace(record.low, record.high)
    if record.count < 1:
        raise DataError(f"got {record.count} discrete actions, expected at least 1; set actions.count", path, place)
    return DiscreteSpace(record.count)


def _check_box(space: BoxSpace, path: Path | None, place: str) -> None:
    low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
    if len(low) != len(high) or not len(low):
        raise DataError(f"got {len(low)} low and {len(high)} high bounds; give one of each per action number", path, place)
    if not (np.isfinite(low) & np.isfinite(high) & (low < high)).all():
        raise DataError(f"got action bounds {space.low} to {space.high}, expected finite low < high; set them", path, place)


def _check_sensor(sensor: Sensor, path: Path | None, place: str) -> None:
    safe_name(sensor.name, path, place)
    try:
        dtype = np.dtype(sensor.dtype)
    except TypeError:
        raise DataError(
            f"got dtype {sensor.dtype!r}, expected a numpy dtype name; write for example 'float32'", path, place
        ) from None
    if dtype.kind not in _DTYPE_KINDS[sensor.kind] or (sensor.kind is SensorKind.IMAGE and dtype != np.uint8):
        expected = _EXPECTED[sensor.kind]
        raise DataError(f"got dtype {dtype}, a sensor of kind {sensor.kind.value} needs {expected}; convert it", path, place)
    if len(sensor.shape) != (3 if sensor.kind is SensorKind.IMAGE else 1) or min(sensor.shape) < 1:
        form = "(height, width, channels)" if sensor.kind is SensorKind.IMAGE else "(n,)"
        raise DataError(f"got shape {sensor.shape}, {sensor.kind.value} needs {form}, all at least 1; reshape it", path, place)
    if sensor.kind is SensorKind.TOKENS and sensor.vocabulary < 1:
        raise DataError(f"got vocabulary {sensor.vocabulary}, tokens need at least 1; set 'vocabulary'", path, place)


def _check_actions(actions: Array, space: Space, path: Path | None, place: str) -> None:
    check_numbers(actions, path, place)
    if isinstance(space, DiscreteSpace):
        if actions.ndim != 1 or actions.dtype.kind not in "iu":
            got = f"shape {actions.shape}, dtype {actions.dtype}"
            raise DataError(f"got {got}, expected integers (T,) for {space.count} discrete actions; convert them", path, place)
    elif actions.ndim != 2 or actions.shape[1] != space.size or actions.dtype.kind != "f":
        got = f"shape {actions.shape}, dtype {actions.dtype}"
        raise DataError(f"got {got}, expected floating point (T, {space.size}); convert them, or correct the spec", path, place)


def _check_readings(values: Array, sensor: Sensor, rows: int, path: Path | None, place: str) -> None:
    check_numbers(values, path, place)
    if values.dtype != np.dtype(sensor.dtype):
        raise DataError(f"got dtype {values.dtype}, the spec says {sensor.dtype}; convert one or the other", path, place)
    if values.shape != (rows, *sensor.shape):
        raise DataError(
            f"got shape {values.shape}, expected {(rows, *sensor.shape)}: one row more than the {rows - 1} actions; "
            "log the observation after the last action too",
            path,
            place,
        )


def _check_metadata(values: Array, rows: int, path: Path | None, place: str) -> None:
    safe_name(place.rpartition("metadata/")[2], path, place)
    check_numbers(values, path, place)
    if values.ndim < 1 or len(values) != rows:
        raise DataError(f"got shape {values.shape}, expected {rows} rows like the observations; pad or drop it", path, place)


def _check_rewards(episode: Episode, spec: ExperienceSpec, path: Path | None, place: str) -> None:
    if (episode.rewards is not None) != spec.has_reward:
        got = "rewards" if episode.rewards is not None else "no rewards"
        raise DataError(f"got {got}, but the spec says has_reward={spec.has_reward}; make them agree", path, place)
    if episode.rewards is not None:
        check_numbers(episode.rewards, path, f"{place}: rewards")
        if episode.rewards.shape != (episode.num_steps,) or episode.rewards.dtype != np.float32:
            got = f"shape {episode.rewards.shape}, dtype {episode.rewards.dtype}"
            raise DataError(f"got {got}, expected float32 ({episode.num_steps},); convert them", path, f"{place}: rewards")


def explain(error: Exception) -> str:
    """An unexpected reading error in one line."""
    return str(error) if isinstance(error, ForethoughtError) else f"{type(error).__name__}: {error}".splitlines()[0][:300]
