"""Tasks by id. A new task is one new file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from forethought.arena.pointmaze import PointMazeTask
from forethought.arena.pusht import PushTTask
from forethought.arena.task import Task
from forethought.arena.two_room import TwoRoomTask
from forethought.errors import unknown_name

TASKS: dict[str, Callable[[], Task]] = {
    "two-room-fixed-v1": lambda: TwoRoomTask(random=False),
    "two-room-random-v1": lambda: TwoRoomTask(random=True),
    "pusht-pixels-v1": PushTTask,
    "pusht-states-v1": lambda: PushTTask(pixels=False),
    "ogbench-pointmaze-medium-v1": lambda: PointMazeTask("medium"),
    "ogbench-pointmaze-large-v1": lambda: PointMazeTask("large"),
    "ogbench-pointmaze-giant-v1": lambda: PointMazeTask("giant"),
}


def make_task(name: str) -> Task:
    """The task of that id. Raises UsageError with the nearest known ids."""
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name]()
