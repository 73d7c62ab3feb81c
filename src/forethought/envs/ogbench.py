"""OGBench's point mazes (2410.20092): their own environment, tasks and success test, behind seeds; and a *navigate* recorder.

The body is a ball in a maze of 4 x 4 cells' width; an action in [-1, 1]^2 moves it by at most 0.2 on each axis, and the
simulator pushes it out of walls. The environment draws its noise from numpy's global generator: here every draw is seeded,
and the generator is put back as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, final

import gymnasium
import numpy as np
from numpy.typing import NDArray

from forethought.errors import MissingExtra, unknown_name
from forethought.types import BoxSpace, Episode, ExperienceSpec, Sensor, SensorKind

Floats = NDArray[np.float64]
Cell = tuple[int, int]
MAZES = ("medium", "large", "giant")
STEP = 0.2  # longest move of one action, per axis
BUDGET = 1000  # the environment's own time limit


@final
class PointMaze:
    """`pointmaze-NAME-v0`. `maze_map` holds 1 for walls; rows are y, columns x; a cell is `unit` wide."""

    def __init__(self, name: str) -> None:
        if name not in MAZES:
            raise unknown_name("point maze", name, MAZES)
        try:
            self.env: Any = gymnasium.make(f"ogbench.locomaze:pointmaze-{name}-v0")
        except ImportError as error:
            raise MissingExtra("OGBench", "ogbench") from error
        self._maze = cast(Any, self.env.unwrapped)
        Path(self._maze.fullpath).unlink()  # a temporary file that the environment would leave behind
        self.maze_map: NDArray[np.int64] = self._maze.maze_map
        self.unit = float(self._maze._maze_unit)
        self.num_tasks = int(self._maze.num_tasks)
        self._subgoals: dict[tuple[Cell, Cell], Floats] = {}

    def begin_task(self, task: int, seed: int) -> tuple[Floats, Floats, Floats]:
        """Begin evaluation task 1..5 exactly as the package does; returns the start (2,), the goal (2,), its observation."""
        self._maze.action_space.seed(seed)
        with global_seed(seed):
            start, info = self.env.reset(seed=seed, options={"task_id": task})
        return start, np.array(self._maze.cur_goal_xy), info["goal"]

    def place(self, position_2: Floats, goal_2: Floats) -> None:
        """Stand there at rest, with that goal."""
        self.env.reset(seed=0)
        self._maze.set_goal(goal_xy=goal_2)
        self._maze.set_xy(position_2)

    def put(self, position_2: Floats) -> None:
        """Stand there; all else stays."""
        self._maze.set_xy(position_2)

    def set_goal(self, goal_2: Floats) -> None:
        """Another goal from now on."""
        self._maze.set_goal(goal_xy=goal_2)

    def step(self, action_2: NDArray[Any]) -> tuple[Floats, bool]:
        """Act once; the position (2,) and the environment's own success test."""
        position, _, _, _, info = self.env.step(np.asarray(action_2, dtype=np.float32))
        return position, bool(info["success"])

    def cell(self, position_2: Floats) -> Cell:
        """Row and column of a position."""
        row, column = self._maze.xy_to_ij(position_2)
        return int(row), int(column)

    def centre(self, cell: Cell) -> Floats:
        """The middle of a cell, (2,)."""
        return np.array(self._maze.ij_to_xy(cell), dtype=np.float64)

    def subgoal(self, position_2: Floats, goal_2: Floats) -> Floats:
        """The package's own oracle: the middle of the next cell on the way; in the goal's cell, the goal."""
        here, there = self.cell(position_2), self.cell(goal_2)
        if here == there:
            return goal_2
        if (here, there) not in self._subgoals:
            self._subgoals[here, there] = np.asarray(self._maze.get_oracle_subgoal(position_2, goal_2)[0], dtype=np.float64)
        return self._subgoals[here, there]

    def legal_move(self, before_2: Floats, after_2: Floats) -> bool:
        """Is the middle of the ball in a free cell, and was there a free cell to pass through?"""
        (i, j), (k, m) = self.cell(before_2), self.cell(after_2)
        if not np.isfinite(after_2).all() or self.maze_map[k, m] or max(abs(i - k), abs(j - m)) > 1:
            return False
        return bool(i == k or j == m or self.maze_map[i, m] == 0 or self.maze_map[k, j] == 0)

    def free_cells(self) -> list[Cell]:
        """All cells without a wall."""
        return [(int(i), int(j)) for i, j in np.argwhere(self.maze_map == 0)]

    def vertices(self) -> list[Cell]:
        """Free cells where a way ends, turns or forks: the goals of the package's *navigate* logs."""
        free = np.pad(self.maze_map == 0, 1)
        through = (free[1:-1, :-2] & free[1:-1, 2:], free[:-2, 1:-1] & free[2:, 1:-1])
        ways = free[1:-1, :-2].astype(int) + free[1:-1, 2:] + free[:-2, 1:-1] + free[2:, 1:-1]
        return [(i, j) for i, j in self.free_cells() if not (ways[i, j] == 2 and (through[0][i, j] or through[1][i, j]))]

    def somewhere(self, cells: list[Cell], generator: np.random.Generator) -> Floats:
        """A position in a random one of the cells, with the environment's own noise: up to a quarter cell on each axis."""
        cell = cells[int(generator.integers(len(cells)))]
        return self.centre(cell) + generator.uniform(-1, 1, 2) * self.unit / 4


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """numpy's global generator, seeded inside and untouched outside."""
    kept = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(kept)


def heading(position_2: Floats, target_2: Floats) -> Floats:
    """The action that goes straight towards a target, slower only on the last step; (2,) in [-1, 1]."""
    wanted = (target_2 - position_2) / STEP
    action: Floats = wanted / max(1.0, float(np.abs(wanted).max()))
    return action


def log_spec() -> ExperienceSpec:
    """What `record` records: the position, and two-dimensional actions."""
    return ExperienceSpec((Sensor("state", SensorKind.VECTOR, (2,), "float32"),), BoxSpace((-1.0, -1.0), (1.0, 1.0)))


def record(name: str, first: int, count: int, steps: int, seed: int, *, noise: float = 0.5) -> Iterator[Episode]:
    """Episodes first..count-1 as the package's *navigate* logs are made; episode i depends on (seed, i) alone.

    From a random cell to a random vertex, by the oracle's subgoals at unit speed with Gaussian noise on each axis of the
    action; when a goal is reached, on to another. Positions are metadata as well.
    """
    maze = PointMaze(name)
    for index in range(first, count):
        generator = np.random.default_rng([seed, index])
        path, actions = _navigate(maze, generator, steps, noise)
        states = np.stack(path).astype(np.float32)
        yield Episode(
            f"pointmaze-{name}-{seed}-{index:06d}", {"state": states}, np.stack(actions), metadata={"position": states}
        )


def _navigate(
    maze: PointMaze, generator: np.random.Generator, steps: int, noise: float
) -> tuple[list[Floats], list[NDArray[np.float32]]]:
    position, goal = maze.somewhere(maze.free_cells(), generator), maze.somewhere(maze.vertices(), generator)
    maze.place(position, goal)
    path, actions = [position], []
    for _ in range(steps):
        way = maze.subgoal(position, goal) - position
        action = np.clip(way / (np.linalg.norm(way) + 1e-6) + generator.normal(0, noise, 2), -1, 1).astype(np.float32)
        position, reached = maze.step(action)
        path.append(position)
        actions.append(action)
        if reached:
            goal = maze.somewhere(maze.vertices(), generator)
            maze.set_goal(goal)
    return path, actions
