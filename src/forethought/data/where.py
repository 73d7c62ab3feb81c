"""Which episodes a predicate on named quantities is true of: "length > 20 and position.x < 0.5"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from forethought.data.experience import Experience
from forethought.errors import UsageError
from forethought.grammar import Above, Both, Expression, Name, Not, Term, canonical, names_in, parse
from forethought.types import Array, Episode, ExperienceSpec, SensorKind


def episodes_where(
    experience: Experience, predicate: str, *, any_step: bool = False, progress: Callable[[int, int], None] | None = None
) -> tuple[int, ...]:
    """The episodes of which it holds at every step, or with `any_step` at one at least. Reads each once.

    Names: `length` (actions), `return` (sum of rewards), `terminated`, `truncated` (0 or 1); metadata and vector sensors, with
    [i] or .x .y .z where one has several numbers. A NaN is neither above nor below anything. Raises UsageError for a name that
    an episode does not have.
    """
    expression, chosen = parse(predicate), []
    for index in range(len(experience)):
        episode = experience.episode(index)
        if holds(expression, episode, experience.spec, any_step):
            chosen.append(index)
        if progress is not None:
            progress(index + 1, len(experience))
    return tuple(chosen)


def holds(expression: Expression, episode: Episode, spec: ExperienceSpec, any_step: bool = False) -> bool:
    """Is it true of this episode at every step (with `any_step`: at one)?"""
    known = {**_whole(episode), **_steps(episode, spec)}
    names = {name: known[_known(name, episode, known)] for name in names_in(expression)}
    truth = np.broadcast_to(_truth(expression, names), (episode.num_steps + 1,))
    return bool(truth.any() if any_step else truth.all())


def _known(name: str, episode: Episode, known: Mapping[str, Array]) -> str:
    try:
        return canonical(name, tuple(known))
    except UsageError as error:
        raise UsageError(f"episode '{episode.id}': {error}") from None


def _truth(expression: Expression, names: Mapping[str, Array]) -> NDArray[np.bool_]:
    if isinstance(expression, Above):
        left, right = _value(expression.left, names), _value(expression.right, names)
        return np.asarray(left > right if expression.strict else left >= right)
    if isinstance(expression, Not):
        return np.logical_not(_truth(expression.part, names))
    parts = [_truth(part, names) for part in expression.parts]
    return reduce(np.logical_and if isinstance(expression, Both) else np.logical_or, parts)


def _value(term: Term, names: Mapping[str, Array]) -> Array:
    return names[term.text] if isinstance(term, Name) else np.asarray(term)


def _whole(episode: Episode) -> dict[str, Array]:
    """Numbers of the whole episode."""
    rewards = {} if episode.rewards is None else {"return": episode.rewards.sum(dtype=np.float64)}
    counts = {"length": episode.num_steps, "terminated": episode.terminated, "truncated": episode.truncated}
    return {name: np.asarray(value, np.float64) for name, value in {**counts, **rewards}.items()}


def _steps(episode: Episode, spec: ExperienceSpec) -> dict[str, Array]:
    """Numbers of every step, (T+1,) each."""
    vectors = {s.name: episode.observations[s.name] for s in spec.sensors if s.kind is SensorKind.VECTOR}
    found: dict[str, Array] = {}
    for name, values in {**vectors, **episode.metadata}.items():
        flat = values.reshape(len(values), -1).astype(np.float64)
        found |= {f"{name}[{i}]": flat[:, i] for i in range(flat.shape[1])} if values.ndim > 1 else {name: flat[:, 0]}
    return found
