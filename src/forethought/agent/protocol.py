"""The agent seam: two methods, the same for local, served, rule-based and random agents."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from forethought.types import Decision, Goal, Observation, State


@runtime_checkable
class Agent(Protocol):
    """A policy with its state outside: `act` returns the decision and the new state, and changes nothing else."""

    def init(self, goal: Goal, key: int = 0) -> State:
        """The state at an episode's start. `key` seeds all its randomness."""

    def act(self, observation: Observation, state: State) -> tuple[Decision, State]:
        """One environment step's decision. Same observation and state: same decision, to the bit."""
