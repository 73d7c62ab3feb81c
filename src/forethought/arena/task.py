"""What an environment family gives so that agents of any sort are measured on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from forethought.types import Array, Goal, Observation

Rule: TypeAlias = Callable[[Any, np.random.Generator], Array]
"""A rule over a task's own running episode, which it may look into, and the episode's stream: floors and oracles."""


@final
@dataclass(frozen=True)
class Pair:
    """One start and goal. `setup` is the task's own; `classes` names its groups ("hard"); `key` seeds its episode."""

    id: str
    key: int
    setup: NDArray[np.float64]
    solved_at_start: bool
    classes: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Moment:
    """What an episode shows after a step; `legal` is false from the first illegal move on."""

    observation: Observation
    reached: bool
    legal: bool


class RunningEpisode(Protocol):
    """One running episode of a task."""

    goal: Goal
    start: Moment

    def step(self, action: Array) -> Moment:
        """Act once."""

    def picture(self) -> NDArray[np.uint8]:
        """The scene as a person sees it, (H, W, 3), goal included."""


class Task(Protocol):
    """A versioned task: its id never changes meaning."""

    id: str
    budget: int

    def pairs(self, count: int, seed: int) -> tuple[Pair, ...]:
        """Start-goal pairs; pair i depends on (seed, i) alone."""

    def begin(self, pair: Pair) -> RunningEpisode:
        """Set the pair up."""

    def floors(self) -> dict[str, Rule]:
        """Rules every table holds: random, idle, straight (where there is a geometry), oracle (where there is one)."""


def unsolved_pairs(task: Task, count: int, seed: int) -> tuple[Pair, ...]:
    """The task's first pairs, as many as hold `count` that are not solved at the start; the solved ones among them stay in.

    So that n, which counts the pairs that were tried, is what was asked for.
    """
    pairs = task.pairs(count, seed)
    while (missing := count - sum(not pair.solved_at_start for pair in pairs)) > 0 and len(pairs) < 4 * count:
        pairs = task.pairs(len(pairs) + missing, seed)
    return pairs
