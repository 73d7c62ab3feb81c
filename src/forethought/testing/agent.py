"""Conformance of the Agent seam: what every agent must do, learned or rule-based, local or served."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from enum import Enum

import numpy as np

from forethought.agent.protocol import Agent
from forethought.errors import ContractError
from forethought.types import (
    Array,
    BoxSpace,
    Decision,
    DiscreteSpace,
    Effort,
    Goal,
    Mode,
    Observation,
    SearchTrace,
    Space,
    State,
)

# The only fields that may differ.
_CLOCKS = {Effort: {"seconds", "cpu_seconds", "accelerator_seconds", "energy"}, SearchTrace: {"seconds"}}


def check_agent(agent: Agent, observation: Observation, goal: Goal, space: Space | None = None, *, steps: int = 4) -> Decision:
    """Check an agent on one observation and goal, and return its first decision; `space` checks its actions too.

    Raises ContractError that says what it did and what it should do.
    """
    _require(isinstance(agent, Agent), f"{type(agent).__name__} lacks init(goal, key) or act(observation, state)")
    first = agent.init(goal, 7)
    _require(
        fingerprint(first) == fingerprint(agent.init(goal, 7)), "init gave two states for one goal and key; draw from `key`"
    )
    _require(first.key == 7 and first.goal is goal, f"init(goal, 7) kept key {first.key}; the state must hold its goal and key")
    seen, states, given, decisions = fingerprint(observation), [first], [], []
    for _ in range(steps):
        before = fingerprint(states[-1])
        decision, after = agent.act(observation, states[-1])
        _require(fingerprint(states[-1]) == before, "act changed the state it was given; return a new one")
        _require(fingerprint(observation) == seen, "act changed the observation it was given")
        _check_decision(decision, space)
        _check_next(states[-1], after)
        states.append(after)
        decisions.append(decision)
        given.append(fingerprint((decision, after)))
    for step in reversed(range(steps)):  # backwards: whatever the agent hides has moved on by now
        again = fingerprint(agent.act(observation, states[step]))
        told = f"step {step} again, same observation and state: another decision or state; keep nothing outside State"
        _require(again == given[step], told)
    return decisions[0]


def fingerprint(value: object) -> bytes:
    """A hash of nested dataclasses, tuples, mappings, arrays and tensors, to the bit; clock readings left out."""
    digest = hashlib.blake2b(type(value).__name__.encode(), digest_size=16)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        clocks = _CLOCKS.get(type(value), set())
        for field in dataclasses.fields(value):
            if field.name not in clocks:
                digest.update(field.name.encode() + fingerprint(getattr(value, field.name)))
    elif isinstance(value, (tuple, list)):
        for item in value:
            digest.update(fingerprint(item))
    elif isinstance(value, dict):
        for key in sorted(value):
            digest.update(str(key).encode() + fingerprint(value[key]))
    elif value is None or isinstance(value, (str, int, float, bool, Enum)):
        digest.update(repr(value).encode())
    else:
        array = _array(value)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.digest()


def _array(value: object) -> Array:
    from torch import Tensor

    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    _require(array.dtype != object, f"a state or decision holds a {type(value).__name__}; hold values, not live objects")
    return array


def _check_decision(decision: Decision, space: Space | None) -> None:
    _require(isinstance(decision, Decision), f"act returned a {type(decision).__name__}, expected a Decision")
    _require(isinstance(decision.mode, Mode), f"mode is {decision.mode!r}, expected a Mode")
    _require(bool(decision.reason), "reason is empty; say why this mode")
    spent = decision.effort
    effort = (*(getattr(spent, f.name) for f in dataclasses.fields(spent) if f.name != "energy"), spent.energy.joules)
    _require(all(math.isfinite(v) and v >= 0 for v in effort), f"effort is {decision.effort}; expected finite, not negative")
    idle = decision.mode is not Mode.CONTINUE or decision.effort.planner_calls == 0
    _require(idle, "mode is CONTINUE with planner calls; a decision that searched is PLAN")
    if decision.surprise is not None:
        height = decision.surprise.height
        _require(math.isfinite(height) and height >= 0, f"the surprise's height is {height}; expected a finite number >= 0")
    if decision.plan is not None:
        _require(math.isfinite(decision.plan.cost), f"the plan costs {decision.plan.cost}; NaN and infinity never win")
    _check_action(np.asarray(decision.action), space)


def _check_action(action: Array, space: Space | None) -> None:
    _require(bool(np.isfinite(action).all()), f"the action {action} is not finite")
    if isinstance(space, BoxSpace):
        _require(action.shape == (space.size,), f"the action has shape {action.shape}, expected {(space.size,)}")
        inside = bool((action >= np.array(space.low, np.float32)).all() and (action <= np.array(space.high, np.float32)).all())
        _require(inside, f"the action {action} is outside [{space.low}, {space.high}]")
    elif isinstance(space, DiscreteSpace):
        whole = action.shape == () and np.issubdtype(action.dtype, np.integer)
        _require(
            whole and 0 <= int(action) < space.count, f"the action is {action!r}, expected one whole number below {space.count}"
        )


def _check_next(before: State, after: State) -> None:
    _require(isinstance(after, State), f"act returned a {type(after).__name__} as state, expected a State")
    _require(after.step == before.step + 1, f"step went from {before.step} to {after.step}, expected {before.step + 1}")
    kept = after.key == before.key and after.goal is before.goal
    _require(kept, "act changed the state's goal or key; they hold for the episode")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ContractError(message)
