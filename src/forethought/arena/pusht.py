"""Push-T, pixels or states: reach what the weak pusher reached 25 steps later, within 50 steps, with relative actions."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.arena.task import Moment, Pair, Rule, RunningEpisode
from forethought.envs.pusht import NEAR, TURN, WORLD, Floats, PushT, initial_state, intend, pusher, reading, relative, success
from forethought.types import Array, ReachObservation

AHEAD = 25
"""Steps of the pusher between start and goal."""


def legal(state_5: Floats) -> bool:
    """Are agent and T where the walls let them be? Hard pushes can squeeze either out of the field: a simulator glitch."""
    return bool(np.isfinite(state_5).all() and (state_5[:4] >= 0).all() and (state_5[:4] <= WORLD).all())


@final
class PushTEpisode(RunningEpisode):
    """One pair under way, in a simulator of its own; it starts at rest."""

    def __init__(self, pair: Pair, size: int, pixels: bool) -> None:
        self.env, self.target = PushT(size, relative_actions=True), pair.setup[5:]
        self.pixels, self.state = pixels, self.env.reset(self.target)
        self.wanted = self.env.frame()
        self.goal = ReachObservation(self._observation())
        self.state, self.legal = self.env.reset(pair.setup[:5]), True
        self.start = self._moment()

    def step(self, action: Array) -> Moment:
        self.state = self.env.step(np.asarray(action, dtype=np.float64).reshape(2))
        self.legal = self.legal and legal(self.state)
        return self._moment()

    def picture(self) -> NDArray[np.uint8]:
        mixed: NDArray[np.uint8] = (0.7 * self.env.frame() + 0.3 * self.wanted).astype(np.uint8)
        return mixed

    def _moment(self) -> Moment:
        return Moment(self._observation(), success(self.state, self.target), self.legal)

    def _observation(self) -> dict[str, Array]:
        return {"image": self.env.frame()} if self.pixels else {"state": reading(self.state)}


@final
class PushTTask:
    """`pusht-pixels-v1` and `pusht-states-v1`, the same pairs.

    Class "hard": the T itself has to be moved, so that reaching the agent's place is not enough.
    """

    def __init__(self, size: int = 64, *, pixels: bool = True) -> None:
        self.id, self.size, self.pixels, self.budget = f"pusht-{'pixels' if pixels else 'states'}-v1", size, pixels, 50

    def pairs(self, count: int, seed: int) -> tuple[Pair, ...]:
        """From fresh episodes of the pusher that no log holds; pair i depends on (seed, i) alone."""
        env = PushT(self.size, relative_actions=True)
        return tuple(self._pair(env, seed, index) for index in range(count))

    def _pair(self, env: PushT, seed: int, index: int) -> Pair:
        generator = np.random.default_rng([seed, 15485863, index])
        while True:
            states = _wandering(env, generator)
            if all(legal(state) for state in states):
                break
        start, goal = states[-1 - AHEAD], states[-1]
        turn = abs((goal[4] - start[4] + np.pi) % (2 * np.pi) - np.pi)
        moved = np.linalg.norm(goal[2:4] - start[2:4]) >= NEAR or turn >= TURN
        key, setup = int(generator.integers(2**62)), np.concatenate([start, goal])
        return Pair(f"{self.id}/{seed}/{index}", key, setup, success(start, goal), ("hard",) if moved else ())

    def begin(self, pair: Pair) -> PushTEpisode:
        return PushTEpisode(pair, self.size, self.pixels)

    def floors(self) -> dict[str, Rule]:
        return {
            "random": lambda episode, rng: rng.uniform(-1, 1, 2),
            "idle": lambda episode, rng: np.zeros(2),
            "straight": lambda episode, rng: relative(episode.target[:2], episode.state[:2]),
        }


def _wandering(env: PushT, generator: np.random.Generator) -> list[Floats]:
    """States of one pusher's episode, AHEAD steps longer than a random run-up."""
    env.reset(initial_state(generator))
    states, plan = [env.step(np.zeros(2))], intend(generator)
    for _ in range(int(generator.integers(5, 35)) + AHEAD):
        action, plan = pusher(generator, states[-1], plan)
        states.append(env.step(action))
    return states
