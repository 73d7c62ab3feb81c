"""HDF5 logs: one file, one group per episode, one contiguous dataset per sensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np

from forethought.data.durable import JournalledFile, ReadOnlyFile, recover
from forethought.data.experience import Experience
from forethought.data.schema import (
    FORMAT,
    VERSION,
    check_episode,
    check_numbers,
    explain,
    natural,
    spec_from_json,
    spec_to_json,
)
from forethought.errors import DataError
from forethought.types import Array, Episode, ExperienceSpec

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # what h5py raises on damaged files
_LIBVER = ("v108", "v108")  # compact groups, and a superblock without the "open for writing" mark that outlives a kill
_SPARSE = 2000  # declared bytes per stored byte that no honest compression reaches


@contextmanager
def _reading(path: Path, place: str) -> Iterator[None]:
    """What h5py raises on damaged files, as a DataError."""
    try:
        yield
    except _BROKEN as error:
        raise DataError(f"cannot be read ({explain(error)}); copy the file again", path, place) from None


@final
class Hdf5Reader:
    """Reads HDF5 logs of our schema."""

    name = "hdf5"
    suffixes = (".h5", ".hdf5")

    def detect(self, path: Path) -> bool:
        """Does it start like HDF5 (user blocks allowed)?"""
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(2048 + len(_SIGNATURE))
        return any(head[start:].startswith(_SIGNATURE) for start in (0, 512, 1024, 2048))

    def open(self, path: Path) -> Experience:
        """Open the log; first finishes what a killed writer had committed."""
        recover(path)
        return Hdf5Experience(path)


@final
class Hdf5Experience(Experience):
    """Episodes of one HDF5 file, read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        try:
            self._file = h5py.File(ReadOnlyFile(path), "r")
        except OSError as error:
            raise DataError(f"is not a whole HDF5 file ({explain(error)}); copy it again", path) from None
        with _reading(path, "/"):
            self.spec = _read_spec(self._file, path)
            episodes = self._file.get("episodes")
            self._names = sorted(episodes or (), key=natural)
        if not isinstance(episodes, h5py.Group):
            raise DataError("the group 'episodes' is missing; put one group per episode there", path, "/")
        self._episodes = episodes

    def __len__(self) -> int:
        return len(self._names)

    def lengths(self) -> tuple[int, ...]:
        return tuple(self._length(name) for name in self._names)

    def ids(self) -> tuple[str, ...]:
        return tuple(self._id(name) for name in self._names)

    def episode(self, index: int) -> Episode:
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        name = self._names[index]
        with _reading(self.path, _place(name)):
            episode = self._read(self._group(name), name)
        return check_episode(episode, self.spec, self.path, _place(name))

    def _group(self, name: str) -> Any:
        with _reading(self.path, _place(name)):
            group = self._episodes[name]
        if not isinstance(group, h5py.Group):
            raise DataError(
                "got a dataset, expected a group with observations and actions; see docs/data.md", self.path, _place(name)
            )
        return group

    def _id(self, name: str) -> str:
        with _reading(self.path, _place(name)):
            return _text(self._group(name), "id", name)

    def _length(self, name: str) -> int:
        with _reading(self.path, _place(name)):
            actions = self._group(name).get("actions")
        if not isinstance(actions, h5py.Dataset) or not actions.shape:
            raise DataError("'actions' is missing; store one row per step", self.path, _place(name))
        return int(actions.shape[0])

    def _read(self, group: Any, name: str) -> Episode:
        place = _place(name)
        for needed in ("observations", "actions"):
            if needed not in group:
                raise DataError(f"'{needed}' is missing; see the schema in docs/data.md", self.path, place)
        return Episode(
            id=_text(group, "id", name),
            observations=self._arrays(group["observations"], f"{place}/observations"),
            actions=self._array(group["actions"], f"{place}/actions"),
            rewards=self._array(group["rewards"], f"{place}/rewards") if "rewards" in group else None,
            terminated=bool(group.attrs.get("terminated", False)),
            truncated=bool(group.attrs.get("truncated", True)),
            metadata=self._arrays(group["metadata"], f"{place}/metadata") if "metadata" in group else {},
        )

    def _arrays(self, group: Any, place: str) -> Mapping[str, Array]:
        if not isinstance(group, h5py.Group):
            raise DataError("got a dataset, expected a group with one dataset per name; see docs/data.md", self.path, place)
        return {name: self._array(group[name], f"{place}/{name}") for name in group}

    def _array(self, dataset: Any, place: str) -> Array:
        if not isinstance(dataset, h5py.Dataset):
            raise DataError("got a group, expected a dataset; see docs/data.md", self.path, place)
        check_numbers(np.empty(0, dataset.dtype), self.path, place)
        if dataset.nbytes > 2**20 and dataset.nbytes > _SPARSE * dataset.id.get_storage_size():
            size = f"{dataset.nbytes:,} bytes declared, {dataset.id.get_storage_size():,} stored"
            raise DataError(f"{size}: the data is not there; write it again", self.path, place)
        result: Array = dataset[()]
        return np.asarray(result)


@final
class Hdf5Writer:
    """Appends episodes to an HDF5 log. Each append is one journalled commit: after `kill -9` the file holds all of them."""

    def __init__(self, path: Path, spec: ExperienceSpec, *, durable: bool = True) -> None:
        self._spec = spec
        self._path = path
        self._ids: set[str] = set()
        self._disk = _open_disk(path, durable)
        new = self._disk.seek(0, 2) == 0
        try:
            self._file = h5py.File(self._disk, "w" if new else "r+", libver=_LIBVER)
            if not new:
                self._continue()
        except _BROKEN as error:
            self._disk.close()
            raise DataError(f"cannot be continued ({explain(error)}); choose a new path", path) from None
        except DataError:
            self._disk.close()
            raise
        if new:
            self._begin()

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, episode: Episode) -> None:
        """Write one whole episode durably. Raises DataError, and the log is as it was; then the writer is closed."""
        if not self._file:
            raise DataError("the writer is closed; open a new one", self._path)
        check_episode(episode, self._spec, self._path)
        if episode.id in self._ids:
            raise DataError("an episode of this id is there already; ids must differ", self._path, f"episode '{episode.id}'")
        try:
            _write_episode(self._file["episodes"].create_group(f"{len(self._ids):06d}"), episode)
            self._commit()
        except (OSError, DataError):
            self.close()
            raise
        self._ids.add(episode.id)

    def close(self) -> None:
        """Finish. Idempotent."""
        if self._file:
            self._file.close()
        self._disk.close()

    def _begin(self) -> None:
        self._file.attrs.update({"format": FORMAT, "version": VERSION, "spec": spec_to_json(self._spec)})
        self._file.create_group("episodes")
        try:
            self._commit()
        except (OSError, DataError):
            self.close()
            self._path.unlink()
            raise

    def _continue(self) -> None:
        found = _read_spec(self._file, self._path)
        if found != self._spec:
            raise DataError("holds a log with another spec; choose a new path, or the same sensors and actions", self._path)
        self._ids = {_text(group, "id", name) for name, group in self._file["episodes"].items()}

    def _commit(self) -> None:
        self._file.flush()
        self._disk.commit()


def _open_disk(path: Path, durable: bool) -> JournalledFile:
    try:
        return JournalledFile(path, durable)
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror}); choose another place", path) from error


def _write_episode(group: Any, episode: Episode) -> None:
    group.attrs.update({"id": episode.id, "terminated": episode.terminated, "truncated": episode.truncated})
    group.create_dataset("actions", data=np.ascontiguousarray(episode.actions))
    if episode.rewards is not None:
        group.create_dataset("rewards", data=episode.rewards)
    for name, arrays in (("observations", episode.observations), ("metadata", episode.metadata)):
        folder = group.create_group(name)
        for key, values in arrays.items():
            folder.create_dataset(key, data=np.ascontiguousarray(values))


def _read_spec(file: Any, path: Path) -> ExperienceSpec:
    missing = [name for name in ("format", "version", "spec") if name not in file.attrs]
    if missing:
        raise DataError(
            f"the attributes {missing} are missing: HDF5, but not our schema; see docs/data.md for how to convert", path, "/"
        )
    if file.attrs["format"] != FORMAT or str(file.attrs["version"]) != str(VERSION):
        got = f"format {file.attrs['format']!r} version {file.attrs['version']}"
        raise DataError(f"got {got}, expected {FORMAT!r} version {VERSION}; upgrade forethought, or convert it", path, "/")
    return spec_from_json(_text(file, "spec", ""), path, "attribute 'spec'")


def _text(group: Any, name: str, default: str) -> str:
    value = group.attrs.get(name, default)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _place(name: str) -> str:
    return f"episodes/{name}"
