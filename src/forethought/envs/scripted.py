"""Scripted recorders: what `forethought collect ENV --policy scripted:NAME` can record. A new one is one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import final

from forethought.envs import ogbench, pusht, two_room
from forethought.errors import unknown_name
from forethought.types import Episode, ExperienceSpec

Record = Callable[[int, int, int, int], Iterator[Episode]]
"""(first, count, steps, seed) -> episodes first .. count - 1; episode i depends on (seed, i) alone."""


@final
@dataclass(frozen=True)
class Script:
    """A behaviour in an environment: the spec of its log, and its recorder."""

    spec: Callable[[], ExperienceSpec]
    record: Record


def _two_room(random: bool, policy: str) -> Script:
    def record(first: int, count: int, steps: int, seed: int) -> Iterator[Episode]:
        return islice(two_room.record(count, steps, seed, random=random, policy=policy), first, None)

    return Script(two_room.log_spec, record)


def _push_t(pixels: bool) -> Script:
    def record(first: int, count: int, steps: int, seed: int) -> Iterator[Episode]:
        return pusht.record(count, steps, seed, first=first, pixels=pixels)

    return Script(lambda: pusht.log_spec(pixels=pixels), record)


def _navigate(maze: str) -> Script:
    def record(first: int, count: int, steps: int, seed: int) -> Iterator[Episode]:
        return ogbench.record(maze, first, count, steps, seed)

    return Script(ogbench.log_spec, record)


SCRIPTS: dict[str, dict[str, Script]] = {
    "forethought/TwoRoom-v1": {name: _two_room(False, name) for name in ("wander", "random")},
    "forethought/TwoRoom-v1/random": {name: _two_room(True, name) for name in ("wander", "random")},
    "gym_pusht/PushT-v0": {"pusher": _push_t(True)},
    "gym_pusht/PushT-v0/states": {"pusher": _push_t(False)},
    **{f"ogbench/pointmaze-{maze}": {"navigate": _navigate(maze)} for maze in ogbench.MAZES},
}
"""Environment -> behaviour's name -> recorder. Ids are Gymnasium's or PACKAGE/NAME; a further slash names the layout."""


def script(env: str, policy: str) -> Script:
    """The recorder of that environment and behaviour. Raises UsageError with the nearest known names."""
    if env not in SCRIPTS:
        raise unknown_name("environment with scripted behaviours", env, SCRIPTS)
    if policy not in SCRIPTS[env]:
        raise unknown_name(f"policy of {env}", policy, SCRIPTS[env])
    return SCRIPTS[env][policy]
