"""Patrols: an agent goes to and fro between a pair's goal and its start, for as long as surprise is to be measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.agent.agent import ForethoughtAgent
from forethought.arena.task import RunningEpisode
from forethought.surprise.scale import Moves
from forethought.types import ReachObservation, Surprise


@final
@dataclass(frozen=True)
class Patrol:
    """What the monitor said at each decision: its environment step, and the surprise; and the moves between decisions."""

    steps: tuple[int, ...]
    surprises: tuple[Surprise, ...]
    moves: Moves

    @property
    def rows_TK(self) -> NDArray[np.float32]:
        """The signals, (T, K)."""
        return np.stack([s.row_K for s in self.surprises])

    def peak(self, begins: int = 0) -> float:
        """The largest evidence from a step on, against the threshold."""
        return max((s.height for t, s in zip(self.steps, self.surprises, strict=True) if t >= begins), default=0.0)

    def alarm(self) -> int | None:
        """The step of the first alarm."""
        return next((t for t, s in zip(self.steps, self.surprises, strict=True) if s.height >= 1), None)


def patrol(agent: ForethoughtAgent, episode: RunningEpisode, key: int, *, steps: int, leg: int) -> Patrol:
    """`steps` environment steps; the goal changes every `leg` of them. The agent's monitor is asked, and not obeyed."""
    goals = (episode.goal, ReachObservation(episode.start.observation))
    assert agent.monitor is not None
    moment, state = episode.start, agent.init(goals[0], key)
    times, surprises, foretold, sizes = [], [], [], []
    for step in range(steps):
        if step and step % leg == 0:
            state = agent.redirect(state, goals[step // leg % 2])
        expected = state.expectation
        decision, state = agent.act(moment.observation, state)
        if decision.surprise is not None and expected is not None:
            times.append(step)
            surprises.append(decision.surprise)
            if (told_X := agent.monitor.signals.foretold(expected)) is not None:
                foretold.append(told_X)
                sizes.append(decision.surprise.errors_G[0])
        moment = episode.step(decision.action)
    return Patrol(tuple(times), tuple(surprises), Moves(np.stack(foretold), np.array(sizes, np.float32)))
