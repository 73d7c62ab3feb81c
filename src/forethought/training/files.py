"""Writing that cannot be half done, for text and for writers that want a path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from forethought.data.durable import atomic_path, atomic_write_bytes


def write_atomic(path: Path, text: str) -> None:
    """Replace `path` with `text`, or leave it as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, text.encode())


def write_atomic_with(path: Path, write: Callable[[Path], None]) -> None:
    """Like `write_atomic` for writers that want a path (safetensors)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        try:
            write(temporary)
        except SafetensorError as error:  # how it says that the disk is full
            raise OSError(str(error)) from error
