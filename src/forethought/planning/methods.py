"""Planner methods by name. A new method is one new file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from forethought.errors import UsageError, unknown_name
from forethought.planning.beam import BeamSearch
from forethought.planning.cem import CEM
from forethought.planning.discrete import CategoricalCEM
from forethought.planning.gradient import GradientDescent
from forethought.planning.icem import ICEM
from forethought.planning.mppi import MPPI
from forethought.planning.proposal import Method
from forethought.planning.shooting import RandomShooting
from forethought.types import DiscreteSpace, Space

CONTINUOUS: dict[str, Callable[[], Method]] = {
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "gradient": GradientDescent,
    "shooting": RandomShooting,
}
DISCRETE: dict[str, Callable[[int], Method]] = {
    "cem": CategoricalCEM,
    "categorical-cem": CategoricalCEM,
    "beam": BeamSearch,
}


def make_method(name: str, space: Space, *, held_frames: int = 1) -> Method:
    """The method of that name for an action space, with its defaults. Raises UsageError for unknown or unfit names.

    `held_frames`: CEM holds its noise over that many actions of a block; the others know no blocks.
    """
    if isinstance(space, DiscreteSpace):
        if name not in DISCRETE and name in CONTINUOUS:
            raise UsageError(
                f"planner '{name}' is for continuous actions, the space has {space.count} discrete ones; use 'cem' or 'beam'"
            )
        if name not in DISCRETE:
            raise unknown_name("planner", name, DISCRETE)
        return DISCRETE[name](space.count)
    if name not in CONTINUOUS and name in DISCRETE:
        raise UsageError(f"planner '{name}' is for discrete actions, the space is a box; use one of {', '.join(CONTINUOUS)}")
    if name not in CONTINUOUS:
        raise unknown_name("planner", name, CONTINUOUS)
    return CEM(frames=held_frames) if name == "cem" else CONTINUOUS[name]()
