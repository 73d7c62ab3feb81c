"""Writes that survive a kill: atomic files, and a file that changes only by whole, journalled commits."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from forethought.errors import DataError

_PAGE = 4096
HEADER = struct.Struct("<8sQQI")  # magic, pages, size of the whole file, crc32 of the body
_MAGIC = b"FTJRNL01"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path`, moved onto it if the body succeeds, removed if it fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        _move_onto(temporary, path)
        sync(path.parent)
    except DataError as error:
        raise error if error.path != str(temporary) else _about(error, path) from None
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror or error}); free space or choose another place", path) from error
    finally:
        shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink(missing_ok=True)


def _move_onto(new: Path, path: Path) -> None:
    """Folders are not replaced in one step: the old one makes room, under a name that a kill would leave it."""
    if not (path.exists() and (new.is_dir() or path.is_dir())):
        os.replace(new, path)
        return
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()


def final_name(path: Path) -> str:
    """The name that a log being written by `atomic_path` will have in the end; any other path's own name."""
    found = re.fullmatch(r"\.(.+)\.\d+\.tmp", path.name)
    return found.group(1) if found else path.name


def _about(error: DataError, path: Path) -> DataError:
    """The same error, naming the file that was asked for."""
    text = str(error).removeprefix(f"{error.path}: ").removeprefix(f"{error.place}: ")
    return DataError(text, path, error.place)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file, or nothing. Raises DataError."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def reserve(path: Path) -> None:
    """Take all of a sparse file's space now: a mapped page that finds the disk full kills the process. Raises OSError."""
    if sys.platform == "linux" and (size := path.stat().st_size):
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's renames, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def journal_of(path: Path) -> Path:
    """Where the journal of a file lies while it is being written."""
    return path.with_name(path.name + ".journal")


def recover(path: Path) -> None:
    """Finish what a killed writer had committed. Raises DataError if a writer is still at work or the file is read-only."""
    journal = journal_of(path)
    try:
        descriptor = os.open(journal, os.O_RDONLY)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"the journal cannot be read ({error.strerror}); make it readable", journal) from error
    try:
        _lock(descriptor, path)
        pages, size = parse_journal(journal.read_bytes())
        if pages:
            with path.open("r+b") as file:
                _apply(file.fileno(), pages, size)
                os.fsync(file.fileno())
        journal.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"an interrupted write must be finished first ({error.strerror}); make it writable once", path
        ) from error
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise DataError("is being written by another process; wait until it has finished", path) from None


def _open_journal(path: Path) -> int:
    """The journal's descriptor, locked. A reader that finished recovering may have unlinked it under us: then once more."""
    while True:
        descriptor = os.open(journal_of(path), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, path)
        except DataError:
            os.close(descriptor)
            raise
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)


def parse_journal(journal: bytes) -> tuple[dict[int, bytes], int]:
    """Pages by offset and the final size; nothing if the journal was torn (then nothing had been applied yet)."""
    if len(journal) < HEADER.size:
        return {}, 0
    magic, count, size, checksum = HEADER.unpack_from(journal)
    record = 8 + _PAGE
    body = journal[HEADER.size : HEADER.size + count * record]
    if magic != _MAGIC or len(body) != count * record or zlib.crc32(body) != checksum:
        return {}, 0
    starts = range(0, len(body), record)
    return {struct.unpack_from("<Q", body, at)[0]: body[at + 8 : at + record] for at in starts}, size


def _apply(descriptor: int, pages: dict[int, bytes], size: int) -> None:
    for offset, page in pages.items():
        _write_all(descriptor, page[: max(0, size - offset)], offset)
    if os.fstat(descriptor).st_size > size:
        os.ftruncate(descriptor, size)


def _write_all(descriptor: int, data: bytes | bytearray, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


@final
class JournalledFile:
    """A file object whose writes reach the disk only in `commit`, all or none, whatever kills the process.

    New bytes past the committed end are written first, which changes nothing a reader sees. Pages that were there before
    go to a checksummed journal, then over the old ones. `recover` replays the journal: doing so twice is harmless, so it
    can stay in place between commits, and a commit costs two syncs. A library (h5py) uses this as its file.
    """

    def __init__(self, path: Path, durable: bool = True) -> None:
        self.path = path
        self._durable = durable
        self._applied = True
        self._position = 0
        self._pages: dict[int, bytearray] = {}
        self._tail = bytearray()
        if durable:
            recover(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._journal = self._begin_journal() if durable else -1
        self._committed = self._size = os.fstat(self._descriptor).st_size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As files do."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """As files do."""
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """As files do; the file shrinks or grows at the next commit."""
        wanted_size, old_size = self._position if size is None else size, self._size
        if wanted_size < min(old_size, self._committed):  # should it grow again, zeros are to be found there
            here, self._position = self._position, wanted_size
            self.write(memoryview(bytes(min(old_size, self._committed) - wanted_size)))
            self._position = here
        self._size = wanted_size
        wanted = max(0, self._size - self._committed)
        if len(self._tail) < wanted:
            self._tail.extend(bytes(wanted - len(self._tail)))
        del self._tail[wanted:]
        return self._size

    def flush(self) -> None:
        """Nothing: only `commit` reaches the disk."""

    def read(self, count: int = -1) -> bytes:
        """As files do (h5py knows a file by this method, and reads through `readinto`)."""
        buffer = bytearray(self._size - self._position if count < 0 else count)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def readinto(self, buffer: memoryview) -> int:
        """Read what the file would hold after a commit."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._position))
        at, end = self._position, self._position + count
        while at < end:
            chunk = self._page(at) if at < self._committed else memoryview(self._tail)[at - self._committed :]
            skip = at % _PAGE if at < self._committed else 0
            limit = min(end, self._committed) if at < self._committed else end
            take = min(len(chunk) - skip, limit - at)
            view[at - self._position : at - self._position + take] = chunk[skip : skip + take]
            at += take
        self._position = end
        return count

    def write(self, data: memoryview) -> int:
        """Keep a write until the next commit."""
        view = memoryview(data).cast("B")
        if self._descriptor < 0:  # h5py flushes once more when it is collected: after a failure that is to be dropped
            return len(view)
        at, end = self._position, self._position + len(view)
        if end > self._size:
            self.truncate(end)
        while at < min(end, self._committed):
            page_start = at - at % _PAGE
            page = self._pages.setdefault(page_start, bytearray(self._page(at)))
            take = min(_PAGE - at % _PAGE, min(end, self._committed) - at)
            page[at % _PAGE : at % _PAGE + take] = view[at - self._position : at - self._position + take]
            at += take
        if at < end:
            begin = at - self._committed
            self._tail[begin : begin + end - at] = view[at - self._position :]
        self._position = end
        return len(view)

    def _page(self, at: int) -> bytes | bytearray:
        start = at - at % _PAGE
        if start in self._pages:
            return self._pages[start]
        return os.pread(self._descriptor, _PAGE, start).ljust(_PAGE, b"\0")

    def _begin_journal(self) -> int:
        try:
            descriptor = _open_journal(self.path)
            sync(self.path.parent)
        except (OSError, DataError):
            os.close(self._descriptor)
            raise
        return descriptor

    def commit(self) -> None:
        """Write all since the last commit, or nothing. Raises DataError (OSError if not durable); the file is as it was."""
        try:
            self._prepare()
        except OSError as error:
            self._roll_back()
            if not self._durable:
                raise
            raise DataError(
                f"cannot be written ({error.strerror}); episodes so far are kept. Free space or choose another place", self.path
            ) from error
        pages = {start: bytes(self._clip(start, page)) for start, page in self._pages.items()}
        self._applied = False
        try:
            _apply(self._descriptor, pages, self._size)
        except OSError as error:  # the journal holds all of it: whoever opens the file next finishes this commit
            raise DataError(f"cannot be written ({error.strerror}); make it writable and open it again", self.path) from error
        self._committed, self._tail, self._pages, self._applied = self._size, bytearray(), {}, True

    def _prepare(self) -> None:
        _write_all(self._descriptor, self._tail, self._committed)
        if self._durable:
            os.fdatasync(self._descriptor)
            self._write_journal()

    def _roll_back(self) -> None:
        if self._durable:
            os.ftruncate(self._journal, 0)
        os.ftruncate(self._descriptor, self._committed)

    def _clip(self, start: int, page: bytearray) -> bytearray:
        """A page as far as it was there before: what lies past the committed end is in the tail."""
        return page[: max(0, self._committed - start)]

    def _write_journal(self) -> None:
        """Pages that straddle the committed end carry the first bytes of the tail."""
        records = []
        for start, page in self._pages.items():
            kept = self._clip(start, page)
            past = start + len(kept) - self._committed
            fill = self._tail[past : past + _PAGE - len(kept)] if past >= 0 else b""
            records.append(struct.pack("<Q", start) + bytes(kept + fill).ljust(_PAGE, b"\0"))
        body = b"".join(records)
        _write_all(self._journal, body, HEADER.size)
        _write_all(self._journal, HEADER.pack(_MAGIC, len(records), self._size, zlib.crc32(body)), 0)  # last: see snapshot.py
        os.fdatasync(self._journal)

    def close(self) -> None:
        """Drop what was not committed and remove the journal, unless its commit was interrupted. Idempotent."""
        if self._descriptor < 0:
            return
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        if self._journal >= 0:
            if self._applied:
                journal_of(self.path).unlink(missing_ok=True)
            os.close(self._journal)
