"""Experience that is already in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from forethought.data.experience import Experience
from forethought.data.schema import check_episode, check_spec
from forethought.types import Episode, ExperienceSpec


@final
class MemoryExperience(Experience):
    """A log made of episodes at hand; each is checked against the spec. Raises DataError."""

    def __init__(self, spec: ExperienceSpec, episodes: Iterable[Episode]) -> None:
        self.spec = check_spec(spec)
        self._episodes = tuple(check_episode(episode, spec) for episode in episodes)

    def __len__(self) -> int:
        return len(self._episodes)

    def episode(self, index: int) -> Episode:
        return self._episodes[index]

    def lengths(self) -> tuple[int, ...]:
        return tuple(episode.num_steps for episode in self._episodes)
