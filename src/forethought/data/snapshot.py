"""A file as it was at its last commit, also while a `JournalledFile` writes it: no lock is taken, the writer never waits.

A commit writes the journal's body, then its header, then the pages. So: the file with the journal's pages laid over it is the
last commit, if the journal is whole; if not, the file alone is. As long as `commit_of` stays the same, no page has changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import final

from forethought.data.durable import HEADER, journal_of, parse_journal

Watch = Callable[[memoryview, int, Callable[[int, int], bytes], int], None]
"""Sees what was read, from where, how to read more, and the file's size."""


def commit_of(path: Path) -> tuple[object, ...]:
    """What stays the same until a file's next commit (or, without a journal, its next change). Raises OSError."""
    with suppress(FileNotFoundError), journal_of(path).open("rb") as journal:
        return os.fstat(journal.fileno()).st_ino, journal.read(HEADER.size)
    about = path.stat()
    return about.st_ino, about.st_size, about.st_mtime_ns


@final
class ReadOnlyFile:
    """A file to read at its last commit, with a position of its own (so forks can share it) and an identity of its own.

    HDF5 keeps one view per file and process: opened by path, a log that has grown since would be seen as it was before.
    """

    _descriptor = -1

    def __init__(self, path: Path, watch: Watch | None = None) -> None:
        self._watch = watch
        self._descriptor = os.open(path, os.O_RDONLY)
        self._pages: dict[int, bytes] = {}
        self._size = 0
        with suppress(FileNotFoundError):
            self._pages, self._size = parse_journal(journal_of(path).read_bytes())
        self._size = self._size or os.fstat(self._descriptor).st_size
        self._position = 0

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As files do."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        """As files do."""
        return self._position

    def read(self, count: int = -1) -> bytes:
        """As files do."""
        buffer = bytearray(max(0, self._size - self._position) if count < 0 else count)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def readinto(self, buffer: memoryview) -> int:
        """As files do. What `watch` raises about what was read is raised here."""
        view = memoryview(buffer).cast("B")
        done = self._fill(view, self._position)
        if self._watch is not None:
            self._watch(view[:done], self._position, self._at, self._size)
        self._position += done
        return done

    def _at(self, position: int, count: int) -> bytes:
        found = bytearray(max(0, min(count, self._size - position)))
        return bytes(found[: self._fill(memoryview(found), position)])

    def _fill(self, view: memoryview, position: int) -> int:
        done = 0
        while done < len(view) and (more := os.preadv(self._descriptor, [view[done:]], position + done)):
            done += more
        for start, page in self._pages.items():
            first, last = max(start, position), min(start + len(page), position + done)
            if first < last:
                view[first - position : last - position] = page[first - start : last - start]
        return done
