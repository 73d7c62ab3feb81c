"""Our schema (docs/data.md) as a Zarr v3 group, the groups and arrays of the HDF5 file under the same names.

Each array is one shard, so an episode is a few files, of chunks of whole rows of about a megabyte (zstd, with its checksum):
some rows are read without the rest, from a store too. A missing chunk is an error, where Zarr would give zeros.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final
from urllib.parse import unquote
from zipfile import BadZipFile, ZipFile

import numpy as np

from forethought.data.durable import atomic_path, sync
from forethought.data.experience import Experience
from forethought.data.extras import optional
from forethought.data.formats.zarr_table import ZarrTable
from forethought.data.schema import FORMAT, VERSION, check_episode, explain, natural, spec_from_json, spec_to_json
from forethought.errors import DataError
from forethought.types import Array, Episode, ExperienceSpec

_CHUNK_BYTES = 2**20
_ROOT = "zarr.json"


@final
class ZarrReader:
    """Reads our schema in Zarr: a folder, or a zip archive of it."""

    name = "zarr"

    def detect(self, path: Path) -> bool:
        """A group whose attributes say that it is our log."""
        try:
            found = json.loads((path / _ROOT).read_bytes() if path.is_dir() else _member(path))
            return bool(found["attributes"]["format"] == FORMAT)
        except (OSError, ValueError, TypeError, KeyError, NotImplementedError, RecursionError, BadZipFile):
            return False

    def open(self, path: Path) -> Experience:
        """Open the log."""
        return ZarrExperience(path)


def _member(path: Path) -> bytes:
    with ZipFile(path) as archive, archive.open(_ROOT) as member:
        return member.read(_CHUNK_BYTES)


@final
class ZarrExperience(Experience):
    """Episodes of a Zarr log, read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._table = ZarrTable(path)
        self.spec = spec_from_json(str(self._table.attributes("").get("spec")), path)
        names = (name for name in self._table.groups("episodes") if not name.startswith("."))  # not what is being written
        self._names = tuple(sorted(names, key=natural))

    def __len__(self) -> int:
        return len(self._names)

    def lengths(self) -> tuple[int, ...]:
        return tuple(self._table.rows(f"episodes/{name}/actions") for name in self._names)

    def ids(self) -> tuple[str, ...]:
        return tuple(str(self._table.attributes(f"episodes/{name}").get("id", name)) for name in self._names)

    def episode(self, index: int) -> Episode:
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        name = self._names[index]
        place = f"episodes/{name}"
        told, arrays, groups = self._table.attributes(place), self._table.names(place), self._table.groups(place)
        episode = Episode(
            id=str(told.get("id", name)),
            observations=self._below(f"{place}/observations"),
            actions=self._array(f"{place}/actions"),
            rewards=self._array(f"{place}/rewards") if "rewards" in arrays else None,
            terminated=bool(told.get("terminated", False)),
            truncated=bool(told.get("truncated", True)),
            metadata=self._below(f"{place}/metadata") if "metadata" in groups else {},
        )
        return check_episode(episode, self.spec, self.path, place)

    def _below(self, group: str) -> Mapping[str, Array]:
        return {unquote(node): self._array(f"{group}/{node}") for node in self._table.names(group)}

    def _array(self, place: str) -> Array:
        """An array in the byte order that it had: Zarr keeps the numbers alone."""
        values = self._table.whole(place, dense=True)
        order = self._table.attributes(place).get("byte_order")
        return values if order is None else values.astype(values.dtype.newbyteorder(">" if order == "big" else "<"))


@final
class ZarrWriter:
    """Appends episodes to a folder, each a group moved into place whole."""

    def __init__(self, path: Path, spec: ExperienceSpec, *, durable: bool = True) -> None:
        self._path, self._spec, self._durable = path, spec, durable
        self._zarr = optional("zarr", "Zarr logs", "zarr")
        if path.exists() and not (path / _ROOT).is_file() and (not path.is_dir() or any(path.iterdir())):
            raise DataError("is something else; choose a new path", path)
        if not (path / _ROOT).exists():
            with self._whole(path) as folder:
                told = {"format": FORMAT, "version": VERSION, "spec": spec_to_json(spec)}
                self._group(folder, told).create_group("episodes")
        for stale in (path / "episodes").glob(".*.tmp"):  # what a killed writer was in the middle of
            shutil.rmtree(stale)
        found = ZarrReader().open(path)
        if found.spec != spec:
            raise DataError("holds a log with another spec; choose a new path, or the same sensors and actions", path)
        self._ids = set(found.ids())

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, episode: Episode) -> None:
        """Write one whole episode. Raises DataError, and the log is as it was."""
        check_episode(episode, self._spec, self._path)
        place = f"episode '{episode.id}'"
        if episode.id in self._ids:
            raise DataError("an episode of this id is there already; ids must differ", self._path, place)
        told = {"id": episode.id, "terminated": bool(episode.terminated), "truncated": bool(episode.truncated)}
        try:
            with self._whole(self._path / "episodes" / f"{len(self):06d}") as folder:
                _write(self._group(folder, told), episode)
        except (TypeError, ValueError) as error:
            raise DataError(f"has no place in Zarr ({explain(error)}); change its name or dtype", self._path, place) from None
        self._ids.add(episode.id)

    def close(self) -> None:
        """Finish. Idempotent; there is nothing to finish."""

    def _group(self, folder: Path, told: Mapping[str, Any]) -> Any:
        store = self._zarr.storage.LocalStore(folder)
        return self._zarr.open_group(store, mode="w", zarr_format=3, attributes=dict(told))

    @contextmanager
    def _whole(self, path: Path) -> Iterator[Path]:
        """A folder that is there when the body is done and all in it is on the disk."""
        if not self._durable:
            yield path
            return
        with atomic_path(path) as temporary:
            yield temporary
            for file in temporary.rglob("*"):
                sync(file)


def _write(group: Any, episode: Episode) -> None:
    _create(group, "actions", episode.actions)
    if episode.rewards is not None:
        _create(group, "rewards", episode.rewards)
    for name, arrays in (("observations", episode.observations), ("metadata", episode.metadata)):
        folder = group.create_group(name)
        for key, values in arrays.items():
            _create(folder, _node(key), values)


def _create(group: Any, node: str, values: Array) -> None:
    """One shard of chunks of whole rows; no chunk is left out for being all zeros."""
    from zarr.codecs import ZstdCodec

    row = max(1, values[:1].nbytes)
    rows = min(max(1, _CHUNK_BYTES // row), max(1, len(values)))
    rest = tuple(max(1, size) for size in values.shape[1:])
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    foreign = {} if values.dtype.isnative else {"byte_order": "big" if values.dtype.str[0] == ">" else "little"}
    shard = -(-max(1, len(values)) // rows) * rows
    array = group.create_array(
        node, shape=values.shape, dtype=native.dtype, chunks=(rows, *rest), shards=(shard, *rest),
        compressors=ZstdCodec(level=3, checksum=True), attributes=foreign, config={"write_empty_chunks": True},
    )  # fmt: skip
    if values.size:
        array[:] = np.ascontiguousarray(native)


def _node(name: str) -> str:
    """A name as Zarr takes it: what it keeps for itself is percent-encoded."""
    kept = name.replace("%", "%25").replace("\\", "%5C")
    reserved = kept.startswith("__") or kept == _ROOT
    return f"%{ord(kept[0]):02X}{kept[1:]}" if reserved else kept
