"""The reader seam: any log, seen as episodes."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from forethought.types import Episode, ExperienceSpec


class Experience(ABC):
    """A log: a spec and episodes that can be opened one by one, so that logs larger than memory work.

    `dropped`: what the file holds and the episodes do not, one sentence for people each.
    """

    spec: ExperienceSpec
    path: Path | None = None  # where it lies, for error messages
    dropped: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int:
        """Number of episodes."""

    @abstractmethod
    def episode(self, index: int) -> Episode:
        """Episode `index`. Raises DataError with file and place if it cannot be read."""

    @abstractmethod
    def lengths(self) -> tuple[int, ...]:
        """Actions per episode, without reading them."""

    def ids(self) -> tuple[str, ...]:
        """Episode ids in order. Formats that can tell without reading the episodes override this."""
        return tuple(episode.id for episode in self)

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(index) for index in range(len(self)))


@runtime_checkable
class Reader(Protocol):
    """One file format. `name` is what people type; `suffixes` only hint, `detect` decides."""

    name: str

    def detect(self, path: Path) -> bool:
        """Does this path hold this format? Never raises for a path that exists."""

    def open(self, path: Path) -> Experience:
        """Open it. Raises DataError with file and place."""


@runtime_checkable
class Writer(Protocol):
    """The other direction. Appends are durable per episode: what was complete survives a kill, the file still opens."""

    def append(self, episode: Episode) -> None:
        """Write one whole episode durably."""

    def __len__(self) -> int:
        """Number of episodes held, those of an earlier, interrupted writer included."""

    def close(self) -> None:
        """Finish. Idempotent."""


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path with ~ expanded."""
    return Path(path).expanduser()
