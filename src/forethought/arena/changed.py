"""A task in a world that has changed for good: every pair's episode begins in it, its goal's picture included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import final

import numpy as np

from forethought.arena.shifts import Shifted, shift_named
from forethought.arena.task import Pair, Rule, RunningEpisode, Task
from forethought.types import Array, DiscreteSpace, Episode, ExperienceSpec, Observation

HELD = (3, 12)
"""Steps that one action is held while exploring."""


@final
class ChangedTask:
    """A task under one shift, the same for all pairs: a door moved for one is moved to the same place for the next.

    `units`: each vector sensor's deviation in the log. Raises UsageError for an unknown shift.
    """

    def __init__(self, task: Task, shift: str, spec: ExperienceSpec, units: Mapping[str, Array], seed: int = 0) -> None:
        self.task, self.spec, self.units, self.seed, self.kind = task, spec, units, seed, shift_named(shift)
        self.id, self.budget = f"{task.id} ({shift})", task.budget

    def pairs(self, count: int, seed: int) -> tuple[Pair, ...]:
        return self.task.pairs(count, seed)

    def begin(self, pair: Pair) -> RunningEpisode:
        shift = self.kind(np.random.default_rng(self.seed), self.spec, self.units)
        return Shifted(self.task.begin(pair), shift, 0)

    def floors(self) -> dict[str, Rule]:
        return {}


def explore(task: Task, pairs: tuple[Pair, ...], spec: ExperienceSpec, steps: int, seed: int = 0) -> Iterator[Episode]:
    """An episode of each pair by actions drawn at random and held for a while, as one tries a body that behaves oddly."""
    for pair in pairs:
        rng, episode = np.random.default_rng([pair.key, seed, 23]), task.begin(pair)
        seen: list[Observation] = [episode.start.observation]
        done: list[Array] = []
        while len(done) < steps:
            action = _drawn(spec, rng)
            for _ in range(min(int(rng.integers(*HELD)), steps - len(done))):
                seen.append(episode.step(action).observation)
                done.append(action)
        sensors = {s.name: np.stack([o[s.name] for o in seen]).astype(s.dtype) for s in spec.sensors}
        yield Episode(f"explored {pair.id}", sensors, np.stack(done))


def _drawn(spec: ExperienceSpec, rng: np.random.Generator) -> Array:
    """Any action; of a box more often a strong one."""
    if isinstance(spec.action_space, DiscreteSpace):
        return np.asarray(rng.integers(spec.action_space.count))
    action = rng.uniform(-1, 1, spec.action_space.size)
    if rng.random() < 0.7:
        action /= max(float(np.abs(action).max()), 1e-6)
    return spec.action_space.decode(action)
