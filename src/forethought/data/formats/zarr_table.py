"""The arrays of a Zarr group, for whatever is laid out in one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np

from forethought.data.extras import optional
from forethought.data.formats.columns import Table
from forethought.data.schema import check_numbers, explain
from forethought.errors import DataError, ForethoughtError
from forethought.types import Array

_LARGE, _DENSE = 2**28, 100  # what one read may ask for per stored byte


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

    def groups(self, group: str) -> tuple[str, ...]:
        """The groups in a group. Raises DataError."""
        with self._reading(group):
            return tuple(name for name, _ in self._root[group].groups())

    def attributes(self, place: str) -> dict[str, Any]:
        """What is written on a group or an array. Raises DataError."""
        with self._reading(place):
            return dict(self._root[place].attrs if place else self._root.attrs)

    def rows(self, column: str) -> int:
        shape = self._array(column).shape
        if not shape:
            raise DataError("got one number, expected one row per step; store an array", self.path, column)
        return int(shape[0])

    def is_numeric(self, column: str, rows: int) -> bool:
        """Does it hold numbers, one row a step?"""
        array = self._array(column)
        return array.dtype.kind in "biuf" and array.shape[:1] == (rows,)

    def whole(self, column: str, *, dense: bool = False) -> Array:
        """All rows of a column. Raises DataError, if it is to be dense also for a chunk that is not there."""
        values = self.array(column, 0, self.rows(column))
        with self._reading(column):
            array = self._root[column]
            if dense and array.nchunks_initialized != array.nchunks:
                raise ValueError(f"{array.nchunks_initialized} of {array.nchunks} chunks are there")
        return values

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
