"""OGBench's point mazes from states: its own five tasks and success test, within its own 1,000 steps."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from forethought.agent.agent import ForethoughtAgent
from forethought.arena.task import Moment, Pair, Rule, RunningEpisode
from forethought.envs.ogbench import BUDGET, Floats, PointMaze, heading
from forethought.types import Array, Belief, ReachObservation, Rollout

PIXELS = 20  # of one cell in a picture


@final
class PointMazeEpisode(RunningEpisode):
    """One pair under way, in an environment of its own."""

    def __init__(self, name: str, pair: Pair) -> None:
        self.maze = PointMaze(name)
        self.position, self.target, goal = self.maze.begin_task(int(pair.setup[0]), int(pair.setup[1]))
        self.goal = ReachObservation({"state": goal.astype(np.float32)})
        self.legal, self.obstacle = True, np.zeros((0, 2))
        self.start = self._moment(bool(np.linalg.norm(self.position - self.target) <= 1.0))

    def step(self, action: Array) -> Moment:
        before = self.position
        self.position, reached = self.maze.step(np.asarray(action).reshape(2))
        if len(self.obstacle) and np.linalg.norm(self.position - self.obstacle[0]) < 0.35 * self.maze.unit:
            self.maze.put(before)
            self.position, reached = before, False
        self.legal = self.legal and self.maze.legal_move(before, self.position)
        return self._moment(reached)

    def obstruct(self, rng: np.random.Generator) -> None:
        """Put a disc, over a third of a corridor in radius, where the ball is going."""
        way = self.maze.subgoal(self.position, self.target) - self.position
        self.obstacle = (self.position + way / max(float(np.linalg.norm(way)), 1e-6) * 0.5 * self.maze.unit)[None]

    def picture(self) -> NDArray[np.uint8]:
        walls = np.kron(self.maze.maze_map, np.ones((PIXELS, PIXELS), dtype=np.int64))[..., None]
        image = np.where(walls, np.array([70, 74, 84]), np.array([240, 238, 232])).astype(np.uint8)
        _disc(image, self._pixel(self.target), 1.0 * PIXELS / self.maze.unit, (60, 170, 90))
        _disc(image, self._pixel(self.position), 0.7 * PIXELS / self.maze.unit, (40, 100, 220))
        return image

    def _pixel(self, position_2: Floats) -> Floats:
        return ((position_2 - self.maze.centre((0, 0))) / self.maze.unit + 0.5) * PIXELS

    def _moment(self, reached: bool) -> Moment:
        return Moment({"state": self.position.astype(np.float32)}, reached, self.legal)


def _disc(image: NDArray[np.uint8], centre_2: Floats, radius: float, colour: tuple[int, int, int]) -> None:
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    image[(columns - centre_2[0]) ** 2 + (rows - centre_2[1]) ** 2 <= radius**2] = colour


@final
class PointMazeTask:
    """`ogbench-pointmaze-NAME-v1`: pair i is an episode of task i mod 5 + 1, so n = 250 is five tasks x 50 episodes.

    Classes: "task1" .. "task5", and "hard": what the straight line, sliding along walls, does not solve.
    """

    def __init__(self, name: str) -> None:
        self.name, self.id, self.budget = name, f"ogbench-pointmaze-{name}-v1", BUDGET

    def pairs(self, count: int, seed: int) -> tuple[Pair, ...]:
        maze = PointMaze(self.name)
        return tuple(self._pair(maze, seed, index) for index in range(count))

    def _pair(self, maze: PointMaze, seed: int, index: int) -> Pair:
        generator = np.random.default_rng([seed, 32452843, index])
        task, key, own = index % maze.num_tasks + 1, int(generator.integers(2**62)), int(generator.integers(2**31))
        start, goal, _ = maze.begin_task(task, own)
        solved = bool(np.linalg.norm(start - goal) <= 1.0)
        classes = (f"task{task}",) if _straight(maze, start, goal) else (f"task{task}", "hard")
        return Pair(f"{self.id}/{seed}/{index}", key, np.array([task, own, *start, *goal]), solved, classes)

    def begin(self, pair: Pair) -> PointMazeEpisode:
        return PointMazeEpisode(self.name, pair)

    def floors(self) -> dict[str, Rule]:
        return {
            "random": lambda episode, rng: rng.uniform(-1, 1, 2),
            "idle": lambda episode, rng: np.zeros(2),
            "straight": lambda episode, rng: heading(episode.position, episode.target),
            "oracle": lambda episode, rng: heading(episode.position, episode.maze.subgoal(episode.position, episode.target)),
        }


def _straight(maze: PointMaze, position: Floats, goal: Floats) -> bool:
    """Does the straight line reach the goal? It is deterministic: once it stands still, it stays there."""
    still, reached = 0, False
    for _ in range(BUDGET):
        before = position
        position, reached = maze.step(heading(position, goal))
        still = still + 1 if np.abs(position - before).max() < 1e-6 else 0
        if reached or still > 10:
            break
    return reached


def distance_map(agent: ForethoughtAgent, pair: Pair, per_cell: int = 6) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """The cost of standing still at every place where the ball fits (NaN elsewhere), and the maze's picture.

    What lies off the map would drown all else: it is shown at two and a half times the median.
    """
    episode = PointMazeEpisode(pair.id.split("-")[2], pair)
    maze, goal = episode.maze, agent.init(episode.goal).target
    rows, columns = (np.arange(n * per_cell) for n in maze.maze_map.shape)
    grid = (np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2) + 0.5) / per_cell - 0.5
    places = grid * maze.unit + maze.centre((0, 0))
    with torch.inference_mode():
        z_BD = agent.model.encode({"state": torch.from_numpy(places.astype(np.float32))})
        stay = Rollout(Belief(z_BD, z_BD[:, :0], agent.model.encoder.scene_size), z_BD[None, :, None])
        cost = agent.cost(stay, z_BD[None, :, None], goal)[0].double().numpy()
    cost[~np.array([_fits(maze, place) for place in places])] = np.nan
    return np.minimum(cost, 2.5 * np.nanmedian(cost)).reshape(len(rows), len(columns)), episode.picture()


def _fits(maze: PointMaze, place_2: Floats) -> bool:
    """Is the ball clear of walls there?"""
    reach = np.array([-0.7, 0.0, 0.7])
    return not any(maze.maze_map[maze.cell(place_2 + np.array([x, y]))] for x in reach for y in reach)
