"""Global heaps of HDF5 (where texts of varying length lie), looked over before libhdf5 sees them.

libhdf5 walks a collection object by object, and an object of no size keeps it walking for ever, with the interpreter's lock
held: no signal and no thread gets in. All that it reads comes through our file object, so damage is found there.
Layout: "HDF5 File Format Specification", III.E, Global Heap.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

_COLLECTION = re.compile(rb"GCOL\x01\0\0\0")
_SIZE, _OBJECT = struct.Struct("<Q"), struct.Struct("<HHIQ")  # an object: index, references, nothing, size
_HEAD = 16  # bytes of a collection's head, and of an object's
_MOST = 2**20  # larger reads are arrays: libhdf5 gathers metadata in at most so many bytes


def check_heaps(view: memoryview, start: int, at: Callable[[int, int], bytes], size: int) -> None:
    """Look over every collection that begins in what was read from `start` on; `at(position, count)` reads more of it.

    Raises OSError for one that libhdf5 would not come to the end of.
    """
    if len(view) > _MOST:
        return
    for found in _COLLECTION.finditer(view):
        _walk(start + found.start(), at, size)


def _walk(begin: int, at: Callable[[int, int], bytes], size: int) -> None:
    head = at(begin, _HEAD)
    if len(head) < _HEAD:
        return  # libhdf5 finds no head either
    (length,) = _SIZE.unpack_from(head, 8)
    if begin + length > size:
        raise OSError(f"a global heap of {length} bytes in a file of {size}")
    collection, position = at(begin, length), _HEAD
    while position + _HEAD <= len(collection):
        index, _, _, count = _OBJECT.unpack_from(collection, position)
        position += _HEAD + -(-count // 8) * 8 if index else count
        if position > length or not (index or count):
            raise OSError(f"a global heap with an object of {count} bytes")
