"""Planner methods by name. A new method is one new file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forethought.errors import UsageError, unknown_name
from forethought.planning.cem import CEM
from forethought.planning.discrete import CategoricalCEM
from forethought.planning.icem import ICEM
from forethought.planning.mppi import MPPI
from forethought.planning.proposal import SearchMethod
from forethought.planning.shooting import RandomShooting
from forethought.types import DiscreteSpace, Space

CONTINUOUS: dict[str, Callable[[], SearchMethod[Any]]] = {
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "shooting": RandomShooting,
}
DISCRETE: dict[str, Callable[[int], SearchMethod[Any]]] = {"cem": CategoricalCEM, "categorical-cem": CategoricalCEM}


def make_method(name: str, space: Space) -> SearchMethod[Any]:
    """The method of that name for an action space, with its defaults. Raises UsageError for unknown or unfit names."""
    if isinstance(space, DiscreteSpace):
        if name not in DISCRETE and name in CONTINUOUS:
            raise UsageError(
                f"planner '{name}' is for continuous actions, the space has {space.count} discrete ones; use 'cem'"
            )
        if name not in DISCRETE:
            raise unknown_name("planner", name, DISCRETE)
        return DISCRETE[name](space.count)
    if name not in CONTINUOUS:
        raise unknown_name("planner", name, CONTINUOUS)
    return CONTINUOUS[name]()
