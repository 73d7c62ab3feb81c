"""How much of the world a log has seen, and whether that is enough to learn from: an estimate, by Good and Turing.

States are cells of a grid over the log's numbers (those of the sensors; of pictures, where what moves is); actions are the
thirds of each number's range, or the discrete action. What a *new* episode would meet for the first time is estimated by what
each episode has seen that no other has: the share of rows in cells that one episode alone visited (I. J. Good, "The population
frequencies of species and the estimation of population parameters", Biometrika 40, 1953; here a row's species is its cell,
and an episode is one draw, since the rows of one episode depend on each other).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, Floats, Log, View
from forethought.types import BoxSpace

_BINS = {1: 32, 2: 12, 3: 6}  # cells on a side, by the number of directions followed
_DIRECTIONS = max(_BINS)
_ROWS = 200_000  # kept in all, evenly thinned: enough for some thousand cells
_MOST_ACTIONS = 4  # numbers whose thirds are crossed
_THIN, _DENSE = 0.2, 0.05  # unseen mass: above the one record more, below the other more of the same adds little
_ENOUGH = 500  # rows, before anything is said
Cells = NDArray[np.int64]


@final
@dataclass(frozen=True)
class Coverage:
    """What was visited, and an estimate of what was not.

    visited: share of the `cells` that span the range the log reached; untried: joint actions never taken, in words, of
    `joint` in all; unseen: Good and Turing's estimate of the share of a new episode's (state, action) rows that none of
    these episodes saw; growth: share of the visited cells that the last tenth of the episodes found; distinct: (state, action)
    cells entered, each counted once an episode, which is about how many transitions tell something new.
    """

    rows: int
    directions: int
    cells: int
    visited: float
    joint: int
    untried: tuple[str, ...]
    unseen: float
    growth: float
    distinct: int

    def verdict(self) -> str:
        """In words, and honest about being an estimate."""
        if self.unseen < _DENSE:
            return "probably enough for what these episodes do; more of the same adds little"
        if self.unseen < _THIN:
            return "probably enough to begin with; more episodes will help"
        return "probably too little: record more episodes, or let them go to the same places more often"


@final
class Explored(Check):
    """The coverage of a log, and `little-data` (info) where a new episode would mostly meet what none has met."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._states: list[NDArray[np.float32]] = []
        self._actions: list[Cells] = []
        self._rows, self._keep = 0, 1

    def see(self, view: View) -> None:
        states = np.concatenate([values[:-1] for values in view.numbers.values()], axis=1) if view.numbers else None
        if states is None or not len(states):
            return
        every = slice(None, None, self._keep)
        self._states.append(states[every].astype(np.float32))
        self._actions.append(self._joint(view)[every])
        self._rows += len(self._states[-1])
        if self._rows > _ROWS:
            self._keep *= 2
            self._states, self._actions = [part[::2] for part in self._states], [part[::2] for part in self._actions]
            self._rows = sum(map(len, self._states))

    def _joint(self, view: View) -> Cells:
        """Each action as one number: the discrete one, or the thirds of its first numbers, base 3."""
        if not isinstance(view.spec.action_space, BoxSpace):
            return np.asarray(view.episode.actions, dtype=np.int64)
        thirds = np.digitize(np.nan_to_num(view.actions_TA[:, :_MOST_ACTIONS]), [-1 / 3, 1 / 3])
        joint: Cells = thirds @ 3 ** np.arange(thirds.shape[1])
        return joint

    def findings(self) -> Iterator[Finding]:
        found = self.coverage()
        if found is not None and found.unseen >= _THIN:
            message = (
                f"an estimate: {100 * found.unseen:.0f} % of a new episode's steps would be in states and actions that none of "
                "these has seen; record more episodes, or let them go to the same places more often"
            )
            yield Finding(Severity.INFO, "little-data", message)

    def coverage(self) -> Coverage | None:
        """The estimate; None for logs too small to say anything, or whose sensors have no numbers to follow."""
        if self._rows < _ENOUGH or len({part.shape[1] for part in self._states}) != 1:
            return None
        states, joint = np.concatenate(self._states), np.concatenate(self._actions)
        episodes = np.repeat(np.arange(len(self._states)), [len(part) for part in self._states])
        known = np.isfinite(states).all(1)
        if known.sum() < _ENOUGH:
            return None
        cells, directions = cells_of(states[known].astype(np.float64))
        joint, episodes = joint[known], episodes[known]
        size = self.log.spec.action_space.size
        total = 3 ** min(size, _MOST_ACTIONS) if isinstance(self.log.spec.action_space, BoxSpace) else size
        first = np.full(int(cells.max()) + 1, len(self._states))
        np.minimum.at(first, cells, episodes)
        visited = first[first < len(self._states)]
        unseen, distinct = unseen_mass(cells * total + np.clip(joint, 0, total - 1), episodes)
        untried = tuple(self._named(number) for number in sorted(set(range(total)) - set(joint.tolist())))
        side = _BINS[directions] ** directions
        late = float((visited >= 0.9 * len(self._states)).mean())
        return Coverage(int(known.sum()), directions, side, len(visited) / side, total, untried, unseen, late, distinct)

    def _named(self, number: int) -> str:
        if not isinstance(self.log.spec.action_space, BoxSpace):
            return str(number)
        size = min(self.log.spec.action_space.size, _MOST_ACTIONS)
        return " ".join(f"{i}:{('low', 'middle', 'high')[number // 3**i % 3]}" for i in range(size))


def cells_of(states_RN: Floats) -> tuple[Cells, int]:
    """The cell of each row, and in how many directions: the numbers themselves, or if many their principal directions."""
    spread = states_RN.std(0)
    moving = (states_RN - states_RN.mean(0))[:, spread > 1e-9] / spread[spread > 1e-9]
    if moving.shape[1] > _DIRECTIONS:
        axes = np.linalg.eigh(moving.T @ moving)[1][:, -_DIRECTIONS:]
        moving = moving @ axes
    directions = max(1, moving.shape[1])
    low, high = np.percentile(moving, [0.5, 99.5], axis=0)  # a few wild readings do not make the world wide
    unit = (moving - low) / np.maximum(high - low, 1e-9)
    index = np.clip((unit * _BINS[directions]).astype(np.int64), 0, _BINS[directions] - 1)
    cells: Cells = index @ _BINS[directions] ** np.arange(index.shape[1])
    return cells, directions


def unseen_mass(species: Cells, episodes: Cells) -> tuple[float, int]:
    """Share of the rows whose species one episode alone saw, and pairs of species and episode in all."""
    _, kinds = np.unique(species, return_inverse=True)
    pairs = np.unique(kinds.astype(np.int64) * (int(episodes.max()) + 1) + episodes)
    seen_by = np.bincount(pairs // (int(episodes.max()) + 1))
    return float((seen_by[kinds] == 1).mean()), len(pairs)
