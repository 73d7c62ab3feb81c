"""Diffusion policy's replay buffer: a Zarr group (folder or .zip, format 2 or 3), `data/*` end to end, `meta/episode_ends`.

Layout: diffusion_policy's `ReplayBuffer`. `data/action` holds the actions; every other column of numbers is a sensor.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np

from forethought.data.experience import Experience
from forethought.data.extras import optional
from forethought.data.formats.columns import ColumnExperience, Roles, Table
from forethought.data.schema import check_numbers, explain
from forethought.errors import DataError, ForethoughtError
from forethought.types import Array

_MARKS = (".zarray", "zarr.json")
_LARGE, _DENSE = 2**28, 100  # what one read may ask for per stored byte


@final
class ReplayBufferReader:
    """Reads diffusion policy's replay buffers."""

    name = "replay-buffer"

    def detect(self, path: Path) -> bool:
        """A folder or a zip archive with the arrays `meta/episode_ends` and `data/action`."""
        wanted = [{f"{array}/{mark}" for mark in _MARKS} for array in ("meta/episode_ends", "data/action")]
        if path.is_dir():
            return all(any((path / name).is_file() for name in names) for names in wanted)
        try:
            members = set(zipfile.ZipFile(path).namelist()) if zipfile.is_zipfile(path) else set()
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
            return False
        return all(names & members for names in wanted)

    def open(self, path: Path) -> Experience:
        """Open the buffer."""
        table = ZarrTable(path)
        ends = table.whole("meta/episode_ends").reshape(-1).astype(np.int64)
        bounds = np.stack([np.concatenate([np.zeros(1, np.int64), ends])[: len(ends)], ends], axis=1)
        rows = table.rows("data/action")
        columns = {name: f"data/{name}" for name in table.names("data") if name != "action"}
        fits = {name: where for name, where in columns.items() if table.is_numeric(where, rows)}
        others = tuple(f"'{where}'" for name, where in columns.items() if name not in fits)
        return ColumnExperience(table, Roles(fits, "data/action"), bounds, others)


@final
class ZarrTable(Table):
    """The arrays of a Zarr group as columns."""

    def __init__(self, path: Path) -> None:
        zarr = optional("zarr", "reading Zarr", "zarr")
        self.path = path
        with self._reading(""):
            store = zarr.storage.ZipStore(path, mode="r") if path.is_file() else zarr.storage.LocalStore(path, read_only=True)
            self._root: Any = zarr.open_group(store, mode="r")

    def names(self, group: str) -> tuple[str, ...]:
        """The arrays of a group. Raises DataError."""
        with self._reading(group):
            return tuple(sorted(name for name, _ in self._root[group].arrays()))

    def rows(self, column: str) -> int:
        shape = self._array(column).shape
        if not shape:
            raise DataError("got one number, expected one row per step; store an array", self.path, column)
        return int(shape[0])

    def is_numeric(self, column: str, rows: int) -> bool:
        """Does it hold numbers, one row a step?"""
        array = self._array(column)
        return array.dtype.kind in "biuf" and array.shape[:1] == (rows,)

    def whole(self, column: str) -> Array:
        """All rows of a column. Raises DataError."""
        return self.array(column, 0, self.rows(column))

    def array(self, column: str, start: int, stop: int) -> Array:
        array = self._array(column)
        check_numbers(np.empty(0, array.dtype), self.path, column)
        with self._reading(column):
            asked = (stop - start) * int(np.prod(array.shape[1:], dtype=object)) * array.dtype.itemsize
            if max(asked, array.chunks[0] * asked // max(1, stop - start)) > _LARGE and asked > _DENSE * self._stored():
                raise DataError(f"{asked:,} bytes declared, not stored: the data is not there", self.path, column)
            return np.asarray(array[start:stop])

    def _array(self, column: str) -> Any:
        with self._reading(column):
            found = self._root[column]
            if "Array" not in type(found).__name__:
                raise ValueError("got a group, expected an array")
            return found

    def _stored(self) -> int:
        files = [self.path] if self.path.is_file() else [file for file in self.path.rglob("*") if file.is_file()]
        return sum(file.stat().st_size for file in files)

    @contextmanager
    def _reading(self, place: str) -> Iterator[None]:
        """Zarr and its codecs raise errors of many kinds on damaged files, RuntimeError and plain Exception among them."""
        try:
            yield
        except ForethoughtError:  # a missing extra among them
            raise
        except Exception as error:
            raise DataError(f"cannot be read ({explain(error)}); copy it again", self.path, place) from None
