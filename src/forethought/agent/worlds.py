"""An agent that has learned of several worlds: at each decision it acts by the version that foretells this one best.

Versions never overwrite each other, so nothing is forgotten: where the old world is back, the old version is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from forethought.agent import meter
from forethought.agent.agent import ForethoughtAgent
from forethought.agent.incoming import readings
from forethought.errors import UsageError
from forethought.perception.lens import Lens
from forethought.surprise.ruler import Ruler
from forethought.types import Belief, Decision, Effort, Goal, Mismatch, Observation, ReachObservation, State

LEAK, MOST, AHEAD = 0.7, 3.0, 1.0
"""What is left of a score after a block; an error's most, in largest ordinary ones; by how much another must be better."""
UNLIKE = 10.0
"""What cameras that look like another version's world count for."""


@final
@dataclass(frozen=True)
class Mind:
    """One version: an agent that sees through a lens, its number, and why it was learned (0, in training)."""

    agent: ForethoughtAgent
    lens: Lens = field(default_factory=Lens)
    number: int = 0
    why: str = ""


def after_look(
    score_V: NDArray[np.float64], version: int, errors_V: NDArray[np.float64], fits_V: NDArray[np.float64]
) -> tuple[NDArray[np.float64], int]:
    """Scores after one more look, and the version to act by; errors in largest ordinary ones, NaN: nothing was foretold.

    >>> after_look(np.zeros(2), 0, np.array([4.0, 0.5]), np.ones(2))[1]
    1
    """
    score = LEAK * score_V + np.nan_to_num(0.5 * np.minimum(errors_V, MOST) ** 2)
    total = score + UNLIKE * (1.0 - fits_V)
    best = int(total.argmin())
    return score, best if total[best] < total[version] - AHEAD else version


@final
class VersionedAgent:
    """Several minds, the trained one first; implements the Agent seam. Raises ValueError for a mind without a monitor."""

    def __init__(self, minds: Sequence[Mind]) -> None:
        first = minds[0].agent
        if first.monitor is None:
            raise ValueError("versions are told apart by how surprising things are, and this agent has no monitor")
        self.minds, self.ruler = tuple(minds), Ruler.of(first.monitor, first.device)

    def init(self, goal: Goal, key: int = 0) -> State:
        """As the trained agent begins; which world this is, observations will tell. Raises UsageError as it does."""
        known = tuple(len(mind.agent.memory) for mind in self.minds)
        return replace(self.minds[0].agent.init(goal, key), mismatch=Mismatch(np.zeros(len(self.minds)), known))

    def redirect(self, state: State, goal: Goal) -> State:
        """Another goal in the middle of an episode. Raises UsageError as `init`."""
        state = self._own(state)
        mind = self.minds[_mismatch(state).version]
        return replace(mind.agent.redirect(state, _through(mind.lens, goal)), goal=goal)

    def act(self, observation: Observation, state: State) -> tuple[Decision, State]:
        state = self._own(state)
        if state.pending:  # inside a block nobody looks
            return self._act(observation, state, "")
        try:
            seen = readings(self.minds[0].agent.spec.sensors, observation)
        except UsageError:  # the mind in charge says what is wrong, and acts safely; of the next look nothing was foretold
            return self._act(observation, replace(state, mismatch=replace(_mismatch(state), beliefs=())), "")
        state, note = self._recognise(seen, state)
        decision, after = self._act(self.minds[_mismatch(state).version].lens.see(seen), state, note)
        return replace(decision, effort=decision.effort + self._spent()), after

    def _spent(self) -> Effort:
        """What it takes to tell the versions apart, beside a decision's own effort."""
        models = [mind.agent.model for mind in self.minds]
        return Effort(len(models), flops=sum(meter.of(m.encoder) + meter.of(m.dynamics) for m in models))

    def _act(self, shown: Observation, state: State, note: str) -> tuple[Decision, State]:
        mismatch = _mismatch(state)
        decision, after = self.minds[mismatch.version].agent.act(shown, state)
        return replace(decision, reason=note + decision.reason), replace(after, mismatch=mismatch)

    def practised(self, decisions: Sequence[tuple[Decision, State]]) -> int:
        """As the trained agent's: each version remembers what worked in its own world."""
        kept = 0
        for number, mind in enumerate(self.minds):
            kept += mind.agent.practised([(d, s) for d, s in decisions if _mismatch(s).version == number])
        return kept

    def _own(self, state: State) -> State:
        """A state that an agent with fewer or more versions left goes on here: which world this is, it finds out again."""
        if state.mismatch is not None and len(state.mismatch.score_V) == len(self.minds):
            return state
        fresh = self.init(state.goal, state.key)
        return replace(fresh, step=state.step, pending=state.pending, taken=state.taken)

    def _recognise(self, observation: Observation, state: State) -> tuple[State, str]:
        """The state of the version that this world is most like, and a word if that is another one than before."""
        before = _mismatch(state)
        with torch.inference_mode():
            beliefs = tuple(self._believe(number, observation, state, before) for number in range(len(self.minds)))
            errors = np.array([self._error(number, belief, state, before) for number, belief in enumerate(beliefs)])
        score, version = after_look(before.score_V, before.version, errors, self._fits(observation))
        mismatch = replace(before, score_V=score, version=version, beliefs=beliefs)
        if version == before.version:
            return replace(state, mismatch=mismatch), ""
        mind = self.minds[version]
        fresh = mind.agent.init(_through(mind.lens, state.goal), state.key)
        kept = before.beliefs[version] if before.beliefs else None
        moved = replace(
            fresh, goal=state.goal, step=state.step, belief=kept, taken=state.taken, known=before.known[version],
            mismatch=mismatch,
        )  # fmt: skip
        return moved, f"this is the world of version {mind.number} ({mind.why or 'as in training'}); "

    def _believe(self, number: int, observation: Observation, state: State, before: Mismatch) -> Belief:
        mind = self.minds[number]
        own = replace(state, belief=before.beliefs[number] if before.beliefs else None)
        return mind.agent.believe(mind.lens.see(observation), own)

    def _error(self, number: int, belief: Belief, state: State, before: Mismatch) -> float:
        if not before.beliefs or not state.taken:
            return float("nan")
        was, dynamics = before.beliefs[number], self.minds[number].agent.model.dynamics
        block_BA = torch.as_tensor(state.taken[0][None], device=was.z_BD.device)
        return float(self.ruler.errors(dynamics, was.z_BD, was.memory_BM, block_BA, belief.z_BD)[0])

    def _fits(self, observation: Observation) -> NDArray[np.float64]:
        """How much the cameras look as each version's lens expects; one without a lens expects none of the others' worlds."""
        fits = [mind.lens.fit(observation) if mind.lens.patches else None for mind in self.minds]
        other = max((f for f in fits if f is not None), default=0.0)
        return np.array([1.0 - other if f is None else f for f in fits])


def _mismatch(state: State) -> Mismatch:
    if state.mismatch is None:
        raise ValueError("this state is not of an agent with versions; begin with its own `init`")
    return state.mismatch


def _through(lens: Lens, goal: Goal) -> Goal:
    return ReachObservation(lens.see(goal.observation)) if isinstance(goal, ReachObservation) else goal
