"""HDF5 logs: one file, one group per episode, one contiguous dataset per sensor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np

from forethought.data.durable import JournalledFile, recover
from forethought.data.experience import Experience
from forethought.data.formats.hdf5_file import BROKEN, Hdf5File, looks_like_hdf5, reading
from forethought.data.schema import FORMAT, VERSION, check_episode, explain, spec_from_json, spec_to_json
from forethought.errors import DataError
from forethought.types import Array, Episode, ExperienceSpec

LIBVER = ("v108", "v108")  # compact groups, and a superblock without the "open for writing" mark that outlives a kill


@final
class Hdf5Reader:
    """Reads HDF5 logs of our schema, and answers for HDF5 that is of no known dialect."""

    name = "hdf5"
    suffixes = (".h5", ".hdf5")

    def detect(self, path: Path) -> bool:
        """Does it start like HDF5? Registered after the dialects, which look inside and leave our own files alone."""
        return looks_like_hdf5(path)

    def open(self, path: Path) -> Experience:
        """Open the log; first finishes what a killed writer had committed."""
        recover(path)
        return Hdf5Experience(path)


@final
class Hdf5Experience(Experience):
    """Episodes of one HDF5 file, read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._file = Hdf5File(path)
        with reading(path, "/"):
            self.spec = _spec_of(self._file.root.attrs, path)
        self._names = self._file.names("episodes")
        if not isinstance(self._file.find("episodes"), h5py.Group):
            raise DataError("the group 'episodes' is missing; put one group per episode there", path, "/")

    def __len__(self) -> int:
        return len(self._names)

    def lengths(self) -> tuple[int, ...]:
        return tuple(self._length(name) for name in self._names)

    def ids(self) -> tuple[str, ...]:
        return tuple(self._file.text(_place(name), "id", name) for name in self._names)

    def episode(self, index: int) -> Episode:
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        name = self._names[index]
        with reading(self.path, _place(name)):
            episode = self._read(self._group(name), name)
        return check_episode(episode, self.spec, self.path, _place(name))

    def _group(self, name: str) -> Any:
        group = self._file.find(_place(name))
        if not isinstance(group, h5py.Group):
            raise DataError(
                "got a dataset, expected a group with observations and actions; see docs/data.md", self.path, _place(name)
            )
        return group

    def _length(self, name: str) -> int:
        self._group(name)
        actions = self._file.find(f"{_place(name)}/actions")
        if not isinstance(actions, h5py.Dataset) or not actions.shape:
            raise DataError("'actions' is missing; store one row per step", self.path, _place(name))
        return int(actions.shape[0])

    def _read(self, group: Any, name: str) -> Episode:
        place, file = _place(name), self._file
        for needed in ("observations", "actions"):
            if needed not in group:
                raise DataError(f"'{needed}' is missing; see the schema in docs/data.md", self.path, place)
        return Episode(
            id=file.text(place, "id", name),
            observations=self._arrays(f"{place}/observations"),
            actions=file.array(f"{place}/actions"),
            rewards=file.array(f"{place}/rewards") if "rewards" in group else None,
            terminated=bool(group.attrs.get("terminated", False)),
            truncated=bool(group.attrs.get("truncated", True)),
            metadata=self._arrays(f"{place}/metadata") if "metadata" in group else {},
        )

    def _arrays(self, place: str) -> Mapping[str, Array]:
        self._file.group(place)
        return {name: self._file.array(f"{place}/{name}") for name in self._file.names(place)}


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
            self._file = h5py.File(self._disk, "w" if new else "r+", libver=LIBVER)
            if not new:
                self._continue()
        except BROKEN as error:
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
        with reading(self._path, "/"):
            found = _spec_of(self._file.attrs, self._path)
        if found != self._spec:
            raise DataError("holds a log with another spec; choose a new path, or the same sensors and actions", self._path)
        self._ids = {str(group.attrs.get("id", name)) for name, group in self._file["episodes"].items()}

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


def _spec_of(attributes: Any, path: Path) -> ExperienceSpec:
    missing = [name for name in ("format", "version", "spec") if name not in attributes]
    if missing:
        raise DataError(
            f"the attributes {missing} are missing: HDF5, but not our schema; see docs/data.md for how to convert", path, "/"
        )
    if attributes["format"] != FORMAT or str(attributes["version"]) != str(VERSION):
        got = f"format {attributes['format']!r} version {attributes['version']}"
        raise DataError(f"got {got}, expected {FORMAT!r} version {VERSION}; upgrade forethought, or convert it", path, "/")
    text = attributes["spec"]
    return spec_from_json(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text), path, "attribute 'spec'")


def _place(name: str) -> str:
    return f"episodes/{name}"
