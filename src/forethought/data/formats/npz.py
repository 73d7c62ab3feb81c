"""NPZ logs: one archive with everything, or a folder with `spec.json` and one archive per episode. No pickles."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, final

import numpy as np

from forethought.data.durable import atomic_write_bytes
from forethought.data.experience import Experience
from forethought.data.schema import check_episode, check_numbers, explain, natural, spec_from_json, spec_to_json
from forethought.errors import DataError
from forethought.types import Array, Episode, ExperienceSpec

_BROKEN = (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error, MemoryError)
_LARGE, _DENSE = 2**28, 100  # what one array may unpack to, per stored byte, from here on
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_SPEC_FILE = "spec.json"
_INFO = ("id", "terminated", "truncated")


@final
class NpzReader:
    """Reads NPZ logs: a file or a folder."""

    name = "npz"
    suffixes = (".npz",)

    def detect(self, path: Path) -> bool:
        """A zip archive, or a folder with `spec.json`."""
        if path.is_dir():
            return (path / _SPEC_FILE).is_file()
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) in _ZIP

    def open(self, path: Path) -> Experience:
        """Open the log."""
        return NpzExperience(path, _FolderStore(path) if path.is_dir() else _FileStore(path))


class _FolderStore:
    """An archive per episode."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = tuple(sorted((entry.stem for entry in path.glob("[!.]*.npz")), key=natural))

    def spec_text(self) -> str:
        return _read_text(self.path / _SPEC_FILE)

    def archive(self, name: str) -> _Archive:
        path = self.path / f"{name}.npz"
        file = _open_zip(path)
        return _Archive(path, file, "", file.namelist())


class _FileStore:
    """One archive; members are `spec` and `episodes/NAME/...`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open_zip(path)
        self._members: dict[str, list[str]] = {}
        for member in self._file.namelist():
            parts = member.split("/", 2)
            if parts[0] == "episodes" and len(parts) == 3:
                self._members.setdefault(parts[1], []).append(member)
        self.names = tuple(sorted(self._members, key=natural))

    def spec_text(self) -> str:
        return _Archive(self.path, self._file, "", [name for name in self._file.namelist() if name == "spec.npy"]).text("spec")

    def archive(self, name: str) -> _Archive:
        return _Archive(self.path, self._file, f"episodes/{name}/", self._members[name])


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except _BROKEN as error:
        raise DataError(f"is not a whole archive ({explain(error)}); copy it again", path) from None


class _Archive:
    """Named arrays of one zip file below a prefix."""

    def __init__(self, path: Path, file: zipfile.ZipFile, prefix: str, members: list[str]) -> None:
        self.path, self._zip, self._prefix = path, file, prefix
        self.keys = tuple(name[len(prefix) : -4] for name in members if name.endswith(".npy"))

    def text(self, key: str) -> str:
        """A member that holds one string."""
        values = self._read(key)
        if values.dtype.kind not in "SU" or values.ndim:
            what = f"dtype {values.dtype}, shape {values.shape}"
            raise DataError(f"got {what}, expected one string; save it with np.array('...')", self.path, self._place(key))
        return str(values[()])

    def length(self, key: str) -> int:
        """Rows of a member, without reading them."""
        with self._reading(key), self._member(key) as member:
            shape, _dtype = self._header(member, key)
        return shape[0] if shape else 0

    def array(self, key: str) -> Array:
        """A member that holds numbers."""
        return check_numbers(self._read(key), self.path, self._place(key))

    def _read(self, key: str) -> Array:
        """Sizes are checked before memory is asked for."""
        with self._reading(key), self._member(key) as member:
            self._header(member, key)
        with self._reading(key), self._member(key) as member:
            result: Array = np.lib.format.read_array(member, allow_pickle=False)
        return result

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except _BROKEN as error:
            raise DataError(f"cannot be read ({explain(error)}); copy the file again", self.path, self._place(key)) from None

    def _header(self, member: IO[bytes], key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _fortran, dtype = read(member)
        if dtype.kind not in "SU":
            check_numbers(np.empty(0, dtype), self.path, self._place(key))
        info = self._info(key)
        declared, stored = dtype.itemsize * int(np.prod(shape, dtype=object)), info.file_size - member.tell()
        if declared != stored:
            got = f"{declared:,} bytes declared, {stored:,} stored"
            raise DataError(f"{got}: the data is not there; write it again", self.path, self._place(key))
        if declared > _LARGE and declared > _DENSE * info.compress_size:
            got = f"{declared:,} bytes declared, {info.compress_size:,} stored"
            raise DataError(f"{got}: more than honest data packs; write it again, unpacked", self.path, self._place(key))
        return shape, dtype

    def _info(self, key: str) -> zipfile.ZipInfo:
        return self._zip.getinfo(f"{self._prefix}{key}.npy")

    def _member(self, key: str) -> IO[bytes]:
        if key not in self.keys:
            raise DataError(f"'{key}' is missing; see the schema in docs/data.md", self.path, self._place(""))
        return self._zip.open(self._info(key))

    def _place(self, key: str) -> str:
        return f"{self._prefix}{key}".rstrip("/")


@final
class NpzExperience(Experience):
    """Episodes of an NPZ log, read when asked for."""

    def __init__(self, path: Path, store: _FolderStore | _FileStore) -> None:
        self.path: Path = path
        self._store = store
        self.spec = spec_from_json(store.spec_text(), path)

    def __len__(self) -> int:
        return len(self._store.names)

    def lengths(self) -> tuple[int, ...]:
        return tuple(self._store.archive(name).length("actions") for name in self._store.names)

    def ids(self) -> tuple[str, ...]:
        return tuple(self._id(self._store.archive(name), name) for name in self._store.names)

    def episode(self, index: int) -> Episode:
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        name = self._store.names[index]
        archive = self._store.archive(name)
        episode = Episode(
            id=self._id(archive, name),
            observations=_below(archive, "observations/"),
            actions=archive.array("actions"),
            rewards=archive.array("rewards") if "rewards" in archive.keys else None,
            terminated=bool(archive.array("terminated").any()) if "terminated" in archive.keys else False,
            truncated=bool(archive.array("truncated").any()) if "truncated" in archive.keys else True,
            metadata=_below(archive, "metadata/"),
        )
        return check_episode(episode, self.spec, self.path, f"episodes/{name}")

    def _id(self, archive: _Archive, name: str) -> str:
        return archive.text("id") if "id" in archive.keys else name


@final
class NpzWriter:
    """Appends episodes to a folder, each an archive moved into place whole; or, not durable, fills one archive."""

    def __init__(self, path: Path, spec: ExperienceSpec, *, durable: bool = True) -> None:
        self._path, self._spec = path, spec
        self._ids: set[str] = set()
        self._zip: zipfile.ZipFile | None = None
        try:
            self._begin_folder() if durable else self._begin_file()
        except OSError as error:
            raise DataError(f"cannot be written ({error.strerror}); choose another place", path) from error

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, episode: Episode) -> None:
        """Write one whole episode. Raises DataError, and the log is as it was."""
        check_episode(episode, self._spec, self._path)
        if episode.id in self._ids:
            raise DataError("an episode of this id is there already; ids must differ", self._path, f"episode '{episode.id}'")
        name = f"{len(self._ids):06d}"
        if self._zip is not None:
            _write_episode(self._zip, f"episodes/{name}/", episode)
        else:
            self._append_archive(self._path / f"{name}.npz", episode)
        self._ids.add(episode.id)

    def close(self) -> None:
        """Finish. Idempotent."""
        if self._zip is not None:
            self._zip.close()

    def _append_archive(self, path: Path, episode: Episode) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            _write_episode(archive, "", episode)
        atomic_write_bytes(path, buffer.getvalue())

    def _begin_folder(self) -> None:
        if self._path.exists() and not self._path.is_dir():
            raise DataError("is one archive, which cannot grow; write to a new folder", self._path)
        self._path.mkdir(exist_ok=True)
        for stale in self._path.glob(".*.tmp"):  # what a killed writer was in the middle of
            stale.unlink()
        if not (self._path / _SPEC_FILE).exists():
            if any(self._path.iterdir()):
                raise DataError("is a folder with other things in it; choose a new path", self._path)
            self._write_spec()
        found = NpzReader().open(self._path)
        if found.spec != self._spec:
            raise DataError("holds a log with another spec; choose a new path, or the same sensors and actions", self._path)
        self._ids = set(found.ids())

    def _write_spec(self) -> None:
        try:
            atomic_write_bytes(self._path / _SPEC_FILE, spec_to_json(self._spec).encode())
        except DataError:
            self._path.rmdir()
            raise

    def _begin_file(self) -> None:
        self._zip = zipfile.ZipFile(self._path, "w")
        try:
            _write_array(self._zip, "spec", np.array(spec_to_json(self._spec)))
        except OSError:
            self.close()
            raise


def _below(archive: _Archive, prefix: str) -> Mapping[str, Array]:
    return {key[len(prefix) :]: archive.array(key) for key in archive.keys if key.startswith(prefix)}


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({explain(error)}); restore it", path) from None


def _write_episode(archive: zipfile.ZipFile, prefix: str, episode: Episode) -> None:
    for key, value in zip(_INFO, (episode.id, episode.terminated, episode.truncated), strict=True):
        _write_array(archive, prefix + key, np.array(value))
    _write_array(archive, prefix + "actions", episode.actions)
    if episode.rewards is not None:
        _write_array(archive, prefix + "rewards", episode.rewards)
    for folder, arrays in (("observations", episode.observations), ("metadata", episode.metadata)):
        for key, values in arrays.items():
            _write_array(archive, f"{prefix}{folder}/{key}", values)


def _write_array(archive: zipfile.ZipFile, key: str, values: Array) -> None:
    info = zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0))  # a fixed date: equal logs are equal bytes
    with archive.open(info, "w", force_zip64=True) as member:
        np.lib.format.write_array(member, np.asanyarray(values), allow_pickle=False)
