"""What training tells whoever watches. Library code never prints: it calls a `Watcher`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, final


@final
@dataclass(frozen=True)
class Progress:
    """One moment of a stage: updates done of how many, recent metrics, speed, and the time left."""

    stage: str
    done: int
    total: int
    metrics: Mapping[str, float]
    frames_per_second: float
    seconds_left: float


class Watcher(Protocol):
    """Called about twice a second during a stage, and with a line of text at notable moments."""

    def progress(self, progress: Progress) -> None:
        """Show it, or not."""

    def note(self, text: str) -> None:
        """A notable moment, one line."""


@final
class Silent:
    """A watcher that watches nothing."""

    def progress(self, progress: Progress) -> None:
        return None

    def note(self, text: str) -> None:
        return None
