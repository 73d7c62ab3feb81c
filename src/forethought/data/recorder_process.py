"""The writer process of a Recorder: episodes come in on stdin as raw bytes, are appended, and are acknowledged on stdout.

A process of its own, because a thread would hold the interpreter's lock while HDF5 writes, and the control loop would wait.
If the recording process is killed, this one sees the end of the pipe, finishes the episode it has whole, and ends.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, final

import numpy as np

from forethought.config import from_json, to_json
from forethought.data import open_writer
from forethought.data.experience import Writer
from forethought.data.schema import spec_from_json
from forethought.errors import DataError, ForethoughtError
from forethought.types import Array, Episode

_LENGTH = struct.Struct("<Q")
_SMALL = 4096  # bytes of one reading; larger ones are sent one by one, without a copy of them all


@final
@dataclass(frozen=True)
class Table:
    """One array of an episode: its key ("observations/camera", "actions", ...), and what its bytes mean."""

    key: str
    dtype: str
    shape: tuple[int, ...]


@final
@dataclass(frozen=True)
class Head:
    """What comes before an episode's bytes."""

    id: str
    terminated: bool
    truncated: bool
    tables: tuple[Table, ...]


@final
@dataclass(frozen=True)
class Reply:
    """Episodes that are safe, or why no more will be."""

    saved: int
    error: str = ""


def send(pipe: int, id: str, terminated: bool, truncated: bool, columns: Mapping[str, Sequence[Array]]) -> None:
    """Write one episode into the pipe; each column is a list of equal readings. Raises OSError."""
    tables = tuple(Table(key, rows[0].dtype.str, (len(rows), *rows[0].shape)) for key, rows in columns.items())
    head = to_json(Head(id, terminated, truncated, tables)).encode()
    _write(pipe, _LENGTH.pack(len(head)) + head)
    for rows in columns.values():
        for part in [np.stack(rows)] if rows[0].nbytes < _SMALL else rows:
            _write(pipe, part.reshape(-1).view(np.uint8).data)


def receive(pipe: BinaryIO) -> Episode | None:
    """Read one episode; None where the pipe ends, be it in the middle of one."""
    size = pipe.read(_LENGTH.size)
    head_bytes = pipe.read(_LENGTH.unpack(size)[0]) if len(size) == _LENGTH.size else b""
    try:
        head = from_json(Head, head_bytes.decode())
    except (ForethoughtError, UnicodeDecodeError):  # cut off
        return None
    arrays: dict[str, Array] = {}
    for table in head.tables:
        arrays[table.key] = np.empty(table.shape, table.dtype)
        raw = arrays[table.key].reshape(-1).view(np.uint8)
        if pipe.readinto(raw.data) != raw.size:  # type: ignore[attr-defined]
            return None
    inside = {
        folder: {key.partition("/")[2]: array for key, array in arrays.items() if key.startswith(f"{folder}/")}
        for folder in ("observations", "metadata")
    }
    return Episode(
        head.id, inside["observations"], arrays["actions"], arrays.get("rewards"), head.terminated, head.truncated,
        inside["metadata"],
    )  # fmt: skip


def serve(path: Path, format: str | None, spec: str) -> None:
    """Append what comes in on stdin until it ends, or an append fails."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the loop; what it has handed over is still written
    os.nice(5)
    writer: Writer | None = None
    saved = 0
    try:
        writer = open_writer(path, spec_from_json(spec, path), format=format)
        saved = len(writer)
        _reply(Reply(saved))
        while (episode := receive(sys.stdin.buffer)) is not None:
            writer.append(episode)
            saved = len(writer)
            _reply(Reply(saved))
    except (ForethoughtError, OSError, MemoryError) as error:
        _reply(Reply(saved, _said(error)))
    finally:
        if writer is not None:
            writer.close()


def _said(error: Exception) -> str:
    return str(error).removeprefix(f"{error.path}: ") if isinstance(error, DataError) else f"{error or 'no memory left'}"


def _reply(reply: Reply) -> None:
    line = to_json(reply).replace("\n", " ").encode() + b"\n"
    try:
        _write(sys.stdout.fileno(), line)
    except BrokenPipeError:  # nobody is left to hear it; the episode is safe all the same
        return


def _write(pipe: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2] or None, sys.argv[3])
