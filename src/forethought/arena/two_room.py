"""Two-Room tasks: fixed layout (100 steps) and a random layout for each pair (150 steps); success within 0.05."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from forethought.agent.agent import ForethoughtAgent
from forethought.arena.task import Moment, Pair, Rule, RunningEpisode
from forethought.envs.two_room import (
    DOOR_RANGE,
    HALF_DOOR,
    HIGH,
    LOW,
    RADIUS,
    SUCCESS,
    Floats,
    Layout,
    Painter,
    crosses_wall,
    fixed_layout,
    inside_wall,
    move,
    random_layout,
    random_position,
    shortest_action,
    straight_action,
)
from forethought.types import Array, Belief, Observation, ReachObservation, Rollout

OBSTACLE = 0.05  # half the side of a block in the way


@final
class TwoRoomEpisode(RunningEpisode):
    """One pair under way."""

    def __init__(self, pair: Pair, size: int) -> None:
        wall, door, *rest = pair.setup
        self.layout = Layout(np.array([wall]), np.array([door]))
        self.position, self.target = np.array([rest[:2]]), np.array([rest[2:]])
        self.painter = Painter(size)
        self.background = self.painter.background(self.layout)
        self.legal, self.obstacle, self.begun = True, np.zeros((0, 2)), False
        self._show()

    def step(self, action: Array) -> Moment:
        before, self.begun = self.position, True
        self.position = move(self.layout, before, np.asarray(action, dtype=np.float64).reshape(1, 2))
        if len(self.obstacle) and np.abs(self.position - self.obstacle).max() < OBSTACLE + RADIUS:
            self.position = before
        self.legal = self.legal and not crosses_wall(self.layout, before, self.position)[0]
        return self._moment()

    def obstruct(self, rng: np.random.Generator) -> None:
        """Put a block in the way, clear of the agent and of the target, and draw it."""
        way = self.target - self.position
        away = way / max(float(np.linalg.norm(way)), 1e-6) * (OBSTACLE + RADIUS) * 1.5
        self.obstacle = np.clip(self.position + away, LOW, HIGH)
        centres = self.painter.centres
        across, along = (np.abs(centres - self.obstacle[0, axis]) < OBSTACLE for axis in (0, 1))
        self.background = self.background.copy()
        self.background[0][np.ix_(along, across)] = self.painter.WALL
        self._show()

    def move_door(self, rng: np.random.Generator) -> None:
        """Open the wall elsewhere, at least a door's width away, and close it here; an agent in the door is not moved."""
        here = float(self.layout.door_y_N[0])
        low, high = DOOR_RANGE
        places = [y for y in rng.uniform(low, high, 64) if abs(y - here) > 2 * HALF_DOOR]
        self.layout = Layout(self.layout.wall_x_N, np.array(places[:1] or [low + high - here]))
        self.background = self.painter.background(self.layout)
        self._show()

    def _show(self) -> None:
        """Goal and start as they look; once the episode has begun, what was shown stays."""
        if not self.begun:
            self.goal = ReachObservation({"image": self.painter.draw(self.background, self.target)[0]})
            self.start = self._moment()

    def picture(self) -> NDArray[np.uint8]:
        frame = self.painter.draw(self.background, self.position)[0].copy()
        ghost = self.painter.draw(self.background, self.target)[0]
        tint = (ghost != self.background[0]).any(-1, keepdims=True)
        shown: NDArray[np.uint8] = np.where(tint, frame // 2 + np.array([20, 100, 40], np.uint8), frame)
        return shown

    def _moment(self) -> Moment:
        observation: Observation = {"image": self.painter.draw(self.background, self.position)[0]}
        reached = bool(np.linalg.norm(self.position - self.target) < SUCCESS)
        return Moment(observation, reached, self.legal)


@final
class TwoRoomTask:
    """`two-room-fixed-v1` and `two-room-random-v1`. Classes: "cross" (start and goal in different rooms); "hard" (random layout
    only): pairs that neither the straight line nor sampling on Euclidean distance with the true dynamics solves."""

    def __init__(self, random: bool, size: int = 64) -> None:
        self.random, self.size = random, size
        self.id = "two-room-random-v1" if random else "two-room-fixed-v1"
        self.budget = 150 if random else 100

    def pairs(self, count: int, seed: int) -> tuple[Pair, ...]:
        streams = [np.random.default_rng([seed, 7919, index]) for index in range(count)]
        layout = random_layout(streams) if self.random else fixed_layout(count)
        start, goal = random_position(layout, streams), random_position(layout, streams)
        cross = np.sign(start[:, 0] - layout.wall_x_N) != np.sign(goal[:, 0] - layout.wall_x_N)
        easy = _straight(layout, start, goal, self.budget) | _euclidean(layout, start, goal, self.budget, seed)
        setups = np.column_stack([layout.wall_x_N, layout.door_y_N, start, goal])
        apart = np.linalg.norm(start - goal, axis=1)
        return tuple(
            Pair(
                f"{self.id}/{seed}/{index}", int(streams[index].integers(2**62)), setups[index], bool(apart[index] < SUCCESS),
                (("cross",) if cross[index] else ()) + (() if easy[index] else ("hard",)),
            )
            for index in range(count)
        )  # fmt: skip

    def begin(self, pair: Pair) -> TwoRoomEpisode:
        return TwoRoomEpisode(pair, self.size)

    def floors(self) -> dict[str, Rule]:
        def geometric(rule: Callable[[Layout, Floats, Floats], Floats]) -> Rule:
            return lambda episode, rng: rule(episode.layout, episode.position, episode.target)[0]

        return {
            "random": lambda episode, rng: rng.uniform(-1, 1, 2),
            "idle": lambda episode, rng: np.zeros(2),
            "straight": geometric(lambda layout, position, goal: straight_action(position, goal)),
            "oracle": geometric(shortest_action),
        }


def _straight(layout: Layout, start: Floats, goal: Floats, budget: int) -> NDArray[np.bool_]:
    position, reached = start, np.zeros(len(start), np.bool_)
    for _ in range(budget):
        position = move(layout, position, straight_action(position, goal))
        reached |= np.linalg.norm(position - goal, axis=1) < SUCCESS
    return reached


def _euclidean(layout: Layout, start: Floats, goal: Floats, budget: int, seed: int) -> NDArray[np.bool_]:
    """Random shooting, 64 sequences of 6 steps, on the true dynamics and Euclidean distance; each pair has its own stream."""
    return np.array(
        [_euclidean_one(layout.take([i]), start[[i]], goal[[i]], budget, [seed, 104729, i]) for i in range(len(start))]
    )


def _euclidean_one(layout: Layout, start: Floats, goal: Floats, budget: int, stream: list[int]) -> bool:
    rng, position, samples, horizon = np.random.default_rng(stream), start, 64, 6
    many = Layout(np.repeat(layout.wall_x_N, samples), np.repeat(layout.door_y_N, samples))
    for _ in range(budget):
        if np.linalg.norm(position - goal) < SUCCESS:
            return True
        plans = np.clip(rng.normal(size=(samples, horizon, 2)) + rng.normal(size=(samples, 1, 2)), -1, 1)
        ends = np.repeat(position, samples, 0)
        for h in range(horizon):
            ends = move(many, ends, plans[:, h])
        position = move(layout, position, plans[np.linalg.norm(ends - goal, axis=1).argmin(), 0][None])
    return bool(np.linalg.norm(position - goal) < SUCCESS)


def distance_map(agent: ForethoughtAgent, pair: Pair, cells: int = 40) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """The critic's distance to the pair's goal from every free cell (cells, cells; NaN in walls), and the scene's picture."""
    episode = TwoRoomEpisode(pair, agent.spec.sensors[0].shape[0])
    centres = (np.arange(cells) + 0.5) / cells
    places = np.stack(np.meshgrid(centres, centres), -1).reshape(-1, 2)
    layout = Layout(np.repeat(episode.layout.wall_x_N, len(places)), np.repeat(episode.layout.door_y_N, len(places)))
    blocked = inside_wall(layout, places) | (places < LOW).any(1) | (places > HIGH).any(1)
    images = episode.painter.draw(np.repeat(episode.background, len(places), 0), places)
    goal = agent.init(episode.goal).target
    with torch.inference_mode():
        z_BD = agent.model.encode({agent.spec.sensors[0].name: torch.from_numpy(images).to(agent.device)})
        stay = Rollout(Belief(z_BD, z_BD[:, :0], agent.model.encoder.scene_size), z_BD[None, :, None])
        distance = agent.cost(stay, z_BD[None, :, None], goal)[0].double().cpu().numpy()
    return np.where(blocked, np.nan, distance).reshape(cells, cells), episode.picture()
