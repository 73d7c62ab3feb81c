"""Gymnasium spaces as Minari writes them in `metadata.json`, without Gymnasium: sensors and actions out of JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from forethought.data.formats.raw import sensor_for
from forethought.data.schema import explain
from forethought.errors import DataError
from forethought.types import BoxSpace, DiscreteSpace, ExperienceSpec, Sensor, SensorKind, Space

Json: TypeAlias = Mapping[str, Any]
_DEEPEST = 8
_BROKEN = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, MemoryError)


def parse(text: Any, path: Path, place: str) -> Json:
    """A space: JSON text, or JSON inside it. Raises DataError."""
    try:
        space = json.loads(text) if isinstance(text, str) else text
        return {str(key): value for key, value in space.items()}
    except _BROKEN as error:
        raise DataError(f"got no space ({explain(error)}), expected one as JSON; copy the file again", path, place) from None


def leaves(space: Json, path: Path, prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], Json]:
    """The spaces below nested Dict and Tuple spaces, by their keys from the top. Raises DataError."""
    below = space.get("subspaces")
    if space.get("type") not in ("Dict", "Tuple"):
        return {prefix: space}
    if len(prefix) >= _DEEPEST or not isinstance(below, (dict, list)):
        raise DataError("got a Dict space without subspaces, or too many in each other; mend it", path, "observation_space")
    parts = below.items() if isinstance(below, dict) else ((f"_index_{i}", part) for i, part in enumerate(below))
    found: dict[tuple[str, ...], Json] = {}
    for key, part in parts:
        found |= leaves(parse(part, path, "observation_space"), path, (*prefix, str(key)))
    return found


def sensor_of(name: str, space: Json, path: Path) -> Sensor | None:
    """The sensor that readings of this space are; None for text. Raises DataError."""
    try:
        kind = space["type"]
        if kind == "Text":
            return None
        if kind == "Discrete":
            return Sensor(name, SensorKind.TOKENS, (1,), "int64", int(space["n"]))
        if kind == "MultiDiscrete":
            sizes = np.asarray(space["nvec"])
            return Sensor(name, SensorKind.TOKENS, (sizes.size,), str(space["dtype"]), int(sizes.max()))
        shape = tuple(int(n) for n in (space["shape"] if kind == "Box" else np.atleast_1d(space["n"])))
        dtype = np.dtype(str(space["dtype"]) if kind == "Box" else "int8")
        return sensor_for(name, np.broadcast_to(np.zeros((), dtype), (1, *shape)), path)
    except _BROKEN as error:
        text = f"got a space that is not understood ({explain(error)}); expected Box, Discrete, Multi* or Text; convert it"
        raise DataError(text, path, f"observation_space: {name}") from None


def action_space_of(space: Json, path: Path) -> Space | None:
    """The action space; None for a box without finite bounds, which the actions themselves must tell. Raises DataError."""
    try:
        if space["type"] == "Discrete":
            return DiscreteSpace(int(space["n"]))
        low, high = (np.asarray(space[name], np.float64).reshape(-1) for name in ("low", "high"))
        if space["type"] == "Box":
            bounded = bool(np.isfinite(low).all() and np.isfinite(high).all())
            return BoxSpace(tuple(low.tolist()), tuple(high.tolist())) if bounded else None
    except _BROKEN as error:
        raise DataError(f"cannot be read ({explain(error)}); copy the file again", path, "action_space") from None
    raise DataError(f"got {space['type']} actions, expected Box or Discrete; convert them", path, "action_space")


def is_jpeg(space: Json) -> bool:
    """Does Minari store this space as JPEG? It does from 32 pixels a side on, if it spans 0 to 255."""
    shape = space.get("shape")
    large = isinstance(shape, list) and len(shape) in (2, 3) and min(shape[:2]) >= 32
    return large and space.get("dtype") == "uint8" and bool(np.all(np.asarray(space["high"]) == 255))


def observation_space_json(spec: ExperienceSpec) -> str:
    """The sensors as one Dict space."""
    return json.dumps({"type": "Dict", "subspaces": {sensor.name: _sensor_json(sensor) for sensor in spec.sensors}})


def action_space_json(space: Space) -> str:
    """The action space as Minari writes it. Raises DataError."""
    if isinstance(space, DiscreteSpace):
        return json.dumps({"type": "Discrete", "dtype": "int64", "start": 0, "n": space.count})
    if isinstance(space, BoxSpace):
        bounds = {"low": list(space.low), "high": list(space.high)}
        return json.dumps({"type": "Box", "dtype": "float32", "shape": [space.size], **bounds})
    raise DataError(f"got action space {type(space).__name__}, expected BoxSpace or DiscreteSpace; convert it first")


def _sensor_json(sensor: Sensor) -> Json:
    shape = list(sensor.shape)
    if sensor.kind is SensorKind.TOKENS:
        zeros = np.zeros(shape, np.int64)
        nvec = (zeros + sensor.vocabulary).tolist()
        return {"type": "MultiDiscrete", "dtype": sensor.dtype, "nvec": nvec, "start": zeros.tolist()}
    low, high = (0, 255) if sensor.kind is SensorKind.IMAGE else (-np.inf, np.inf)
    bounds = {"low": np.full(shape, low).tolist(), "high": np.full(shape, high).tolist()}
    return {"type": "Box", "dtype": str(np.dtype(sensor.dtype)), "shape": shape, **bounds}
