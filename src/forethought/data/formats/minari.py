"""Minari datasets, HDF5 and Arrow, without Minari. Layout: its HDF5Storage and ArrowStorage, version 0.5.

`NAME-vN/data` holds `metadata.json` (spaces as JSON) and either `main_data.hdf5` (`episode_N` groups) or a folder a episode
with `part-0.arrow`, whose last row pads all but the observations.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, final

import h5py
import numpy as np

from forethought.data.experience import Experience
from forethought.data.extras import optional
from forethought.data.formats import spaces
from forethought.data.formats.hdf5_file import Hdf5File, reading
from forethought.data.formats.raw import as_actions, readings, space_for
from forethought.data.schema import check_episode, check_spec, explain, natural, spec_from_json
from forethought.errors import DataError
from forethought.types import Array, Episode, ExperienceSpec

MAIN, METADATA, OWN_SPEC = "main_data.hdf5", "metadata.json", "forethought_spec"
_DEEPEST = 8


def data_folder(path: Path) -> Path:
    """Where a dataset's files lie: the folder itself, or `data` in it."""
    return path / "data" if (path / "data" / METADATA).is_file() else path


@final
class MinariReader:
    """Reads Minari datasets: the dataset's folder, or the `data` in it."""

    name = "minari"

    def detect(self, path: Path) -> bool:
        """A folder with `metadata.json` and `main_data.hdf5`, or with `metadata.json` and folders of `part-0.arrow`."""
        folder = data_folder(path)
        if not (folder / METADATA).is_file():
            return False
        return (folder / MAIN).is_file() or any(folder.glob("[0-9]*/part-0.arrow"))

    def open(self, path: Path) -> Experience:
        """Open the dataset."""
        folder = data_folder(path)
        return MinariExperience(path, Hdf5Store(folder) if (folder / MAIN).is_file() else ArrowStore(folder))


class Store(Protocol):
    """Episodes of one kind of file. A column is named by its keys from the top ("observations", "arm", "angle")."""

    path: Path
    names: tuple[str, ...]

    def length(self, name: str) -> int:
        """Actions in an episode."""

    def array(self, name: str, column: tuple[str, ...], space: spaces.Json | None) -> Array:
        """A column's numbers; observations and infos have one row more than the rest."""

    def texts(self, name: str, column: tuple[str, ...]) -> list[str]:
        """A column's words."""

    def infos(self, name: str) -> list[tuple[str, ...]]:
        """The columns of numbers below "infos"."""

    def attribute(self, name: str, key: str, default: Any) -> Any:
        """A word about an episode."""


@final
class MinariExperience(Experience):
    """Episodes of a dataset. Nested spaces become sensors joined by dots, words (a mission) tasks, infos metadata."""

    def __init__(self, path: Path, store: Store) -> None:
        self.path: Path = path
        self._store = store
        metadata = read_metadata(store.path / METADATA)
        top = spaces.parse(metadata.get("observation_space"), store.path / METADATA, "observation_space")
        self._jpeg = bool(metadata.get("jpeg_encoding", True))
        self._leaves = {".".join(keys): (keys, leaf) for keys, leaf in spaces.leaves(top, path).items()}
        if "" in self._leaves:
            self._leaves = {"observation": self._leaves[""]}
        self._action = spaces.parse(metadata.get("action_space"), store.path / METADATA, "action_space")
        self._words = [name for name, (_, leaf) in self._leaves.items() if leaf.get("type") == "Text"]
        own = metadata.get(OWN_SPEC)
        self._own = isinstance(own, str)
        self.spec = spec_from_json(str(own), path, OWN_SPEC) if self._own else check_spec(self._spec(), path)

    def __len__(self) -> int:
        return len(self._store.names)

    def ids(self) -> tuple[str, ...]:
        return tuple(str(self._store.attribute(name, "forethought_id", name)) for name in self._store.names)

    def lengths(self) -> tuple[int, ...]:
        return tuple(self._store.length(name) for name in self._store.names)

    def episode(self, index: int) -> Episode:
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        name, store = self._store.names[index], self._store
        ended = [bool(store.array(name, (flag,), None)[-1:].any()) for flag in ("terminations", "truncations")]
        rewards = store.array(name, ("rewards",), None).reshape(-1).astype(np.float32) if self.spec.has_reward else None
        episode = Episode(
            str(store.attribute(name, "forethought_id", name)),
            {sensor.name: self._readings(name, sensor.name) for sensor in self.spec.sensors},
            self._actions(name),
            rewards,
            bool(store.attribute(name, "terminated", ended[0])),
            bool(store.attribute(name, "truncated", ended[1])),
            self._metadata(name),
        )
        return check_episode(episode, self.spec, self.path, name)

    def _readings(self, name: str, sensor: str) -> Array:
        keys, leaf = self._leaves.get(sensor, ((sensor,), {}))
        stored = leaf if self._jpeg and spaces.is_jpeg(leaf) else None
        values = self._store.array(name, ("observations", *keys), stored or {**leaf, "raw": True})
        return readings(values - _start(leaf), self.spec.sensor(sensor), self.path, f"{name}: {sensor}")

    def _actions(self, name: str) -> Array:
        values = self._store.array(name, ("actions",), {**self._action, "raw": True})
        return as_actions(values - _start(self._action), self.spec.action_space, self.path, f"{name}: actions")

    def _metadata(self, name: str) -> dict[str, Array]:
        rows = self._store.length(name) + 1
        found = {".".join(keys): self._store.array(name, ("infos", *keys), None) for keys in self._store.infos(name)}
        if self._words and self.spec.tasks and not self._own:
            words = self._store.texts(name, ("observations", *self._leaves[self._words[0]][0]))
            found["task_index"] = np.array([self.spec.tasks.index(word) for word in words], np.int64)
        return {key: values for key, values in found.items() if values.ndim and len(values) == rows}

    def _spec(self) -> ExperienceSpec:
        store = self._store
        sensors = (spaces.sensor_of(name, leaf, self.path) for name, (_, leaf) in self._leaves.items())
        column = self._leaves[self._words[0]][0] if self._words else ()
        words = {word for name in store.names if self._words for word in store.texts(name, ("observations", *column))}
        self.dropped = tuple(f"'observations.{name}': one text is kept, '{self._words[0]}'" for name in self._words[1:])
        space = spaces.action_space_of(self._action, self.path)
        if space is None:
            space = space_for((store.array(name, ("actions",), self._action) for name in store.names), self.path, "actions")
        return ExperienceSpec(tuple(s for s in sensors if s is not None), space, True, tasks=tuple(sorted(words)))


@final
class Hdf5Store:
    """`main_data.hdf5`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = Hdf5File(path / MAIN)
        self.names = tuple(name for name in self._file.names() if name.startswith("episode_"))

    def length(self, name: str) -> int:
        return self._file.rows(f"{name}/rewards")

    def array(self, name: str, column: tuple[str, ...], space: spaces.Json | None) -> Array:
        where = "/".join((name, *column))
        if space is None or "raw" in space:
            return self._file.array(where)
        with reading(self._file.path, where):
            return np.stack([_decode(np.asarray(one, np.uint8).tobytes()) for one in self._file.node(where)[()]])

    def texts(self, name: str, column: tuple[str, ...]) -> list[str]:
        where = "/".join((name, *column))
        with reading(self._file.path, where):
            return [one.decode("utf-8", "replace") for one in self._file.node(where)[()]]

    def infos(self, name: str) -> list[tuple[str, ...]]:
        return list(self._below(name, ("infos",)))

    def attribute(self, name: str, key: str, default: Any) -> Any:
        with reading(self._file.path, name):
            return self._file.group(name).attrs.get(key, default)

    def _below(self, name: str, column: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for key in self._file.names("/".join((name, *column))) if len(column) < _DEEPEST else ():
            node = self._file.find("/".join((name, *column, key)))
            if isinstance(node, h5py.Group):
                yield from self._below(name, (*column, key))
            elif node is not None and node.dtype.kind in "biuf":
                yield (*column[1:], key)


@final
class ArrowStore:
    """A folder an episode, each with `part-0.arrow`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = tuple(sorted((entry.parent.name for entry in path.glob("[0-9]*/part-0.arrow")), key=natural))
        self._last: tuple[str, Any] = ("", None)

    def length(self, name: str) -> int:
        return max(0, len(self._table(name)) - 1)

    def array(self, name: str, column: tuple[str, ...], space: spaces.Json | None) -> Array:
        pyarrow, _ = _pyarrow()
        with _arrow(self.path / name, ".".join(column)):
            values = self._column(name, column)
            if space is not None and "raw" not in space:
                return np.stack([_decode(one) for one in values.to_pylist()])
            if column[0] not in ("observations", "infos"):
                values = values[:-1]
            if not pyarrow.types.is_fixed_size_list(values.type):
                return np.asarray(values.to_numpy(zero_copy_only=False))
            flat = np.asarray(values.flatten().to_numpy(zero_copy_only=False))
            shape = [-1] if space is None else list(space.get("shape", [-1]))
            return flat.reshape(len(values), *shape) if len(values) else flat.reshape(0, values.type.list_size)

    def texts(self, name: str, column: tuple[str, ...]) -> list[str]:
        with _arrow(self.path / name, ".".join(column)):
            return [str(one) for one in self._column(name, column).to_pylist()]

    def infos(self, name: str) -> list[tuple[str, ...]]:
        types = _pyarrow()[0].types
        with _arrow(self.path / name, "infos"):
            if "infos" not in self._table(name).column_names:
                return []
            fields = self._column(name, ("infos",)).type
            return [(field.name,) for field in fields if _is_numbers(field.type, types)]

    def attribute(self, name: str, key: str, default: Any) -> Any:
        return f"episode_{name}" if key == "forethought_id" else default

    def _column(self, name: str, column: tuple[str, ...]) -> Any:
        values = self._table(name).column(column[0]).combine_chunks()
        for key in column[1:]:
            values = values.field(key)
        return values

    def _table(self, name: str) -> Any:
        """The episode's rows; the last one read is kept, for a reader asks for many columns of one episode."""
        if self._last[0] != name:
            pyarrow, ipc = _pyarrow()
            path = self.path / name / "part-0.arrow"
            with _arrow(path, ""), pyarrow.OSFile(str(path)) as file:
                # without threads: where a process may start no more, pyarrow would raise what nobody expects
                table = ipc.open_file(file, options=ipc.IpcReadOptions(use_threads=False)).read_all()
                table.validate(full=True)
            self._last = (name, table)
        return self._last[1]


@contextmanager
def _arrow(path: Path, place: str) -> Iterator[None]:
    """What pyarrow and Pillow raise on damaged files (all of it OSError, ValueError, KeyError and the like), as a DataError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError, MemoryError) as error:
        raise DataError(f"cannot be read ({explain(error)}); copy it again", path, place) from None


def _is_numbers(kind: Any, types: Any) -> bool:
    inner = kind.value_type if types.is_fixed_size_list(kind) else kind
    return bool(types.is_integer(inner) or types.is_floating(inner) or types.is_boolean(inner))


def _pyarrow() -> tuple[Any, Any]:
    first, second = (optional(name, "Minari's Arrow format", "minari") for name in ("pyarrow", "pyarrow.ipc"))
    return first, second


def _decode(data: bytes) -> Array:
    picture = optional("PIL.Image", "images stored as JPEG", "minari")
    try:
        return np.array(picture.open(io.BytesIO(data)), np.uint8)
    except (SyntaxError, picture.DecompressionBombError) as error:  # its other errors are OSError and ValueError
        raise ValueError(str(error)) from None


def _start(space: Mapping[str, Any]) -> Any:
    """Discrete spaces may begin elsewhere than at 0."""
    start = space.get("start", 0)
    return np.asarray(start).astype(np.int64) if np.any(start) else np.uint8(0)


def read_metadata(path: Path) -> dict[str, Any]:
    """What `metadata.json` says. Raises DataError."""
    try:
        return {str(key): value for key, value in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"cannot be read ({explain(error)}); copy it again", path) from None
