"""An HDF5 file to read: whatever is wrong with it becomes a DataError, and nothing leads out of it or asks for all memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias, final

import h5py
import numpy as np

from forethought.data.formats.columns import Table
from forethought.data.formats.hdf5_heap import check_heaps
from forethought.data.schema import check_numbers, explain, natural
from forethought.data.snapshot import ReadOnlyFile
from forethought.errors import DataError
from forethought.types import Array

Node: TypeAlias = Any  # an h5py.Group or h5py.Dataset; h5py has no types

BROKEN = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)
"""What h5py raises on damaged files."""
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SPARSE = 2000  # declared bytes per stored byte that no honest compression reaches
_LARGE, _CHUNK, _DENSE = 2**28, 2**25, 100  # and from here on, or in chunks of this, what one read may ask for per stored byte
_LINKS = 8


def looks_like_hdf5(path: Path) -> bool:
    """Does it start like HDF5 (user blocks allowed)?"""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(2048 + len(_SIGNATURE))
    return any(head[start:].startswith(_SIGNATURE) for start in (0, 512, 1024, 2048))


@contextmanager
def reading(path: Path, place: str) -> Iterator[None]:
    """What h5py raises on damaged files, as a DataError."""
    try:
        yield
    except BROKEN as error:
        text = explain(error)
        remedy = "pip install hdf5plugin, which has that filter" if "filter" in text else "copy the file again"
        raise DataError(f"cannot be read ({text}); {remedy}", path, place) from None


def open_quietly(path: Path) -> Hdf5File | None:
    """The file, if it is one that opens: for `detect`, which never raises."""
    with suppress(DataError):
        return Hdf5File(path) if looks_like_hdf5(path) else None
    return None


@final
class Hdf5File:
    """A file whose parts are named by their path within it ("data/demo_0/obs")."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with suppress(ImportError):
            import hdf5plugin  # noqa: F401  # filters beyond gzip, where somebody has installed them
        try:
            self.root = h5py.File(ReadOnlyFile(path, check_heaps), "r")
        except BROKEN as error:
            raise DataError(f"is not a whole HDF5 file ({explain(error)}); copy it again", path) from None

    def names(self, where: str = "/") -> tuple[str, ...]:
        """What a group holds, 2 before 10. Nothing if there is no such group."""
        group = self.find(where)
        with reading(self.path, where):
            return tuple(sorted(group, key=natural)) if isinstance(group, h5py.Group) else ()

    def find(self, where: str) -> Node | None:
        """The group or dataset at a path, or None if the path ends before. Raises DataError for links that go elsewhere."""
        with reading(self.path, where):
            return self._walk(where, _LINKS)

    def group(self, where: str) -> Node:
        """The group at a path. Raises DataError."""
        found = self.node(where)
        if not isinstance(found, h5py.Group):
            raise DataError("got a dataset, expected a group with one dataset per name; see docs/data.md", self.path, where)
        return found

    def dataset(self, where: str) -> Node:
        """The dataset of numbers at a path, whatever its size. Raises DataError."""
        found = self.node(where)
        if not isinstance(found, h5py.Dataset):
            raise DataError("got a group, expected a dataset; see docs/data.md", self.path, where)
        with reading(self.path, where):
            check_numbers(np.empty(0, found.dtype), self.path, where)
            if found.external or found.is_virtual:
                raise DataError("its numbers lie in other files; copy them into this one (h5repack)", self.path, where)
            self._check_size(found, where)
        return found

    def rows(self, where: str) -> int:
        """How many rows a dataset has. Raises DataError if it has none to count."""
        shape = self.dataset(where).shape
        if not shape:
            raise DataError("got one number, expected one row per step; store an array", self.path, where)
        return int(shape[0])

    def array(self, where: str, start: int | None = None, stop: int | None = None) -> Array:
        """A dataset's numbers, or some of its rows. Raises DataError."""
        dataset = self.dataset(where)
        with reading(self.path, where):
            asked = dataset.nbytes if start is None else dataset.nbytes * ((stop or 0) - start) // max(1, dataset.shape[0])
            chunk = int(np.prod(dataset.chunks or (0,))) * dataset.dtype.itemsize  # any part of it unpacks the whole
            if (asked > _LARGE or chunk > _CHUNK) and dataset.nbytes > _DENSE * dataset.id.get_storage_size():
                raise self._sparse(dataset, where)
            result: Array = np.asarray(dataset[()] if start is None else dataset[start:stop])
        return result

    def text(self, where: str, attribute: str, default: str = "") -> str:
        """A text attribute of a group or dataset."""
        with reading(self.path, where):
            value = self.node(where).attrs.get(attribute, default)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def node(self, where: str) -> Node:
        """The group or dataset at a path, whatever it holds. Raises DataError."""
        found = self.find(where)
        if found is None:
            raise DataError("is missing; see docs/data.md for the layout", self.path, where)
        return found

    def _walk(self, where: str, links: int) -> Node | None:
        node: Node = self.root
        for name in [part for part in where.split("/") if part]:
            link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
            if isinstance(link, h5py.ExternalLink):
                raise DataError(f"is a link to another file ({link.filename!r}); copy the data into one file", self.path, where)
            if isinstance(link, h5py.SoftLink):
                if not links:
                    raise DataError("is a link that leads in a circle; write the file again", self.path, where)
                target = link.path if link.path.startswith("/") else f"{node.name}/{link.path}"
                node = self._walk(target, links - 1)
                if node is None:
                    raise DataError(f"cannot be read: a link to {link.path!r}, which is not there; mend it", self.path, where)
            elif link is None:
                return None
            else:
                node = node[name]
        return node

    def _check_size(self, dataset: Node, where: str) -> None:
        if dataset.nbytes > 2**20 and dataset.nbytes > _SPARSE * dataset.id.get_storage_size():
            raise self._sparse(dataset, where)

    def _sparse(self, dataset: Node, where: str) -> DataError:
        size = f"{dataset.nbytes:,} bytes declared, {dataset.id.get_storage_size():,} stored"
        return DataError(f"{size}: the data is not there; write it again", self.path, where)


@final
class HdfTable(Table):
    """The datasets of a file as columns."""

    def __init__(self, file: Hdf5File) -> None:
        self.path, self._file = file.path, file

    def rows(self, column: str) -> int:
        return self._file.rows(column)

    def array(self, column: str, start: int, stop: int) -> Array:
        return self._file.array(column, start, stop)
