"""Two-Room: a dot, a wall with a door, a goal. One core steps and draws many copies at once; the Gymnasium env uses it too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import gymnasium
import numpy as np
from numpy.typing import NDArray

from forethought.errors import UsageError
from forethought.types import BoxSpace, Episode, ExperienceSpec, Sensor, SensorKind

Floats = NDArray[np.float64]
BORDER = 0.05  # thickness of the outer wall
HALF_WALL = 0.025  # half the thickness of the middle wall
HALF_DOOR = 0.10
RADIUS = 0.02  # of the dot's body, for contacts
STEP = 0.04  # longest move of one action, per axis
SUCCESS = 0.05
WALL_RANGE, DOOR_RANGE = (0.3, 0.7), (0.2, 0.8)
LOW, HIGH = BORDER + RADIUS, 1.0 - BORDER - RADIUS


@final
@dataclass(frozen=True)
class Layout:
    """Where the wall stands and the door opens, N of each: wall_x_N, door_y_N, in the unit square."""

    wall_x_N: Floats
    door_y_N: Floats

    def __len__(self) -> int:
        return len(self.wall_x_N)

    def take(self, index: Any) -> Layout:
        """The layouts at an index or mask."""
        return Layout(self.wall_x_N[index], self.door_y_N[index])


def fixed_layout(count: int) -> Layout:
    """The fixed layout, `count` times."""
    return Layout(np.full(count, 0.5), np.full(count, 0.5))


def random_layout(generators: list[np.random.Generator]) -> Layout:
    """One random layout from each generator."""
    drawn = np.array([(g.uniform(*WALL_RANGE), g.uniform(*DOOR_RANGE)) for g in generators]).reshape(-1, 2)
    return Layout(drawn[:, 0], drawn[:, 1])


def inside_wall(layout: Layout, position_N2: Floats) -> NDArray[np.bool_]:
    """Would a body centred there touch the middle wall? (N,)"""
    across = np.abs(position_N2[..., 0] - layout.wall_x_N) < HALF_WALL + RADIUS
    blocked: NDArray[np.bool_] = across & (np.abs(position_N2[..., 1] - layout.door_y_N) > HALF_DOOR - RADIUS)
    return blocked


def random_position(layout: Layout, generators: list[np.random.Generator]) -> Floats:
    """A free position for each layout, (N, 2), each from its own generator."""
    return np.stack([_free_position(layout.take(slice(i, i + 1)), g) for i, g in enumerate(generators)])


def _free_position(layout: Layout, generator: np.random.Generator) -> Floats:
    while True:
        position = generator.uniform(LOW, HIGH, 2)
        if not inside_wall(layout, position[None])[0]:
            return position


def move(layout: Layout, position_N2: Floats, action_N2: NDArray[Any]) -> Floats:
    """One step of the physics: x first, then y, each stopped at the walls, so that contacts slide. Actions in [-1, 1]."""
    delta = np.clip(np.asarray(action_N2, dtype=np.float64), -1.0, 1.0) * STEP
    x, y = position_N2[:, 0], position_N2[:, 1]
    near, far = layout.wall_x_N - HALF_WALL - RADIUS, layout.wall_x_N + HALF_WALL + RADIUS
    closed = np.abs(y - layout.door_y_N) > HALF_DOOR - RADIUS
    new_x = np.clip(x + delta[:, 0], LOW, HIGH)
    new_x = np.where(closed & (x <= near), np.minimum(new_x, near), new_x)
    new_x = np.where(closed & (x >= far), np.maximum(new_x, far), new_x)
    new_y = np.clip(y + delta[:, 1], LOW, HIGH)
    in_door = (new_x > near) & (new_x < far)
    low, high = layout.door_y_N - HALF_DOOR + RADIUS, layout.door_y_N + HALF_DOOR - RADIUS
    new_y = np.where(in_door, np.clip(new_y, low, high), new_y)
    return np.stack([new_x, new_y], 1)


def crosses_wall(layout: Layout, before_N2: Floats, after_N2: Floats) -> NDArray[np.bool_]:
    """Did a move pass through the wall? True where the sides differ without the door, or the body ends inside it. (N,)"""
    sides = np.sign(before_N2[:, 0] - layout.wall_x_N) != np.sign(after_N2[:, 0] - layout.wall_x_N)
    door = HALF_DOOR - RADIUS + 1e-9
    outside = (np.abs(before_N2[:, 1] - layout.door_y_N) > door) & (np.abs(after_N2[:, 1] - layout.door_y_N) > door)
    far = np.abs(after_N2 - before_N2).max(1) > STEP + 1e-9
    edge = np.abs(after_N2[:, 0] - layout.wall_x_N) < HALF_WALL + RADIUS - 1e-9
    inside = edge & (np.abs(after_N2[:, 1] - layout.door_y_N) > door)
    result: NDArray[np.bool_] = (sides & outside) | far | inside
    return result


def shortest_action(layout: Layout, position_N2: Floats, goal_N2: Floats) -> Floats:
    """The oracle: straight if the way is free, else through the door. (N, 2) in [-1, 1]."""
    near, far = layout.wall_x_N - HALF_WALL - RADIUS, layout.wall_x_N + HALF_WALL + RADIUS
    left, goal_left = position_N2[:, 0] < layout.wall_x_N, goal_N2[:, 0] < layout.wall_x_N
    in_door = (position_N2[:, 0] > near) & (position_N2[:, 0] < far)
    cross = (left != goal_left) | (in_door & ((goal_N2[:, 0] <= near) | (goal_N2[:, 0] >= far)))
    aligned = np.abs(position_N2[:, 1] - layout.door_y_N) < HALF_DOOR - RADIUS - 0.01
    at_mouth = np.abs(position_N2[:, 0] - layout.wall_x_N) < HALF_WALL + RADIUS + 0.5 * STEP
    mouth_x = np.where(left, near - 1e-3, far + 1e-3)
    exit_x = np.where(goal_left, near - STEP, far + STEP)
    via_x = np.where(aligned & (at_mouth | in_door), exit_x, np.where(aligned, exit_x, mouth_x))
    waypoint = np.where(cross[:, None], np.stack([via_x, layout.door_y_N], 1), goal_N2)
    return straight_action(position_N2, waypoint)


def straight_action(position_N2: Floats, goal_N2: Floats) -> Floats:
    """Straight to the goal, sliding along whatever is in the way. (N, 2) in [-1, 1]."""
    gap = (goal_N2 - position_N2) / STEP
    unit: Floats = gap / np.maximum(1.0, np.abs(gap).max(1, keepdims=True))
    return unit


class Painter:
    """Draws frames (N, size, size, 3) uint8: dark walls, light floor, a red anti-aliased dot."""

    FLOOR, WALL, DOT = np.array([235, 235, 230]), np.array([40, 44, 60]), np.array([220, 50, 47])

    def __init__(self, size: int) -> None:
        self.size = size
        self.centres = (np.arange(size) + 0.5) / size
        self.reach = int(np.ceil(0.075 * size))
        self.sigma = 0.028

    def background(self, layout: Layout) -> NDArray[np.uint8]:
        """The scene without the dot; draw it once an episode."""
        edge = np.minimum(self.centres, 1 - self.centres)
        cover_x = _cover(HALF_WALL - np.abs(self.centres[None] - layout.wall_x_N[:, None]), self.size)
        cover_y = _cover(np.abs(self.centres[None] - layout.door_y_N[:, None]) - HALF_DOOR, self.size)
        border = _cover(BORDER - np.minimum(edge[None, :], edge[:, None]), self.size)
        wall = np.maximum(border[None], cover_y[:, :, None] * cover_x[:, None, :])
        mixed = self.FLOOR + wall[..., None] * (self.WALL - self.FLOOR)
        scene: NDArray[np.uint8] = mixed.astype(np.uint8)
        return scene

    def draw(self, background: NDArray[np.uint8], position_N2: Floats) -> NDArray[np.uint8]:
        """The scene with the dot at each position."""
        frames = background.copy()
        count, width = len(frames), 2 * self.reach + 1
        corner = np.floor(position_N2 * self.size).astype(np.int64) - self.reach
        offsets = np.arange(width)
        columns, rows = corner[:, :1] + offsets, corner[:, 1:] + offsets
        dx = (columns + 0.5) / self.size - position_N2[:, :1]
        dy = (rows + 0.5) / self.size - position_N2[:, 1:]
        square = (dy**2)[:, :, None] + (dx**2)[:, None, :]
        alpha = np.exp(-0.5 * (square / self.sigma**2) ** 2).astype(np.float32)[..., None]
        index = (
            np.arange(count)[:, None, None],
            np.clip(rows, 0, self.size - 1)[:, :, None],
            np.clip(columns, 0, self.size - 1)[:, None, :],
        )
        patch = frames[index].astype(np.float32)
        frames[index] = (patch + alpha * (self.DOT.astype(np.float32) - patch)).astype(np.uint8)
        return frames


def _cover(depth: Floats, size: int) -> Floats:
    """How much of a pixel a shape covers, from the signed depth of its centre."""
    return np.clip(depth * size + 0.5, 0.0, 1.0)


def random_walk(generators: list[np.random.Generator], memory_N2: Floats) -> tuple[Floats, Floats]:
    """Independent uniform actions (N, 2), and the unchanged memory."""
    return np.stack([g.uniform(-1, 1, 2) for g in generators]), memory_N2


def wander(generators: list[np.random.Generator], memory_N2: Floats, turn: float = 0.12) -> tuple[Floats, Floats]:
    """A heading held until a coin says turn; knows nothing of walls, so it bumps and slides. Memory: the heading (N, 2)."""
    coins = np.array([g.random(4) for g in generators])
    angle = coins[:, 1] * 2 * np.pi
    speed = np.sqrt(coins[:, 2])
    fresh = np.stack([np.cos(angle), np.sin(angle)], 1) * (0.3 + 0.9 * speed[:, None])
    start = (coins[:, 0] < turn) | (np.abs(memory_N2).sum(1) == 0)
    heading = np.where(start[:, None], fresh, memory_N2)
    jitter = np.stack([g.normal(0, 0.2, 2) for g in generators])
    return np.clip(heading + jitter, -1, 1), heading


def log_spec(size: int = 64) -> ExperienceSpec:
    """What `record` records: one camera, two-dimensional actions."""
    return ExperienceSpec((Sensor("image", SensorKind.IMAGE, (size, size, 3), "uint8"),), BoxSpace((-1.0, -1.0), (1.0, 1.0)))


def record(count: int, steps: int, seed: int, *, random: bool, policy: str = "wander", size: int = 64) -> Iterator[Episode]:
    """Episodes of `wander` or `random`, many copies at once; episode i depends on (seed, i) alone. Positions are metadata."""
    if policy not in ("wander", "random"):
        raise UsageError(f"unknown policy '{policy}'; known: wander, random")
    for first in range(0, count, 64):
        yield from _record_batch(range(first, min(first + 64, count)), steps, seed, random, policy, size)


def _record_batch(indices: range, steps: int, seed: int, random: bool, policy: str, size: int) -> Iterator[Episode]:
    streams = [np.random.default_rng([seed, index]) for index in indices]
    layout = random_layout(streams) if random else fixed_layout(len(indices))
    painter, act = Painter(size), wander if policy == "wander" else random_walk
    background, position, memory = painter.background(layout), random_position(layout, streams), np.zeros((len(indices), 2))
    frames, positions, actions = [painter.draw(background, position)], [position], []
    for _ in range(steps):
        action, memory = act(streams, memory)
        position = move(layout, position, action)
        actions.append(action.astype(np.float32))
        positions.append(position)
        frames.append(painter.draw(background, position))
    images, path, taken = np.stack(frames, 1), np.stack(positions, 1).astype(np.float32), np.stack(actions, 1)
    kind = "random" if random else "fixed"
    for row, index in enumerate(indices):
        yield Episode(
            f"two-room-{kind}-{seed}-{index:06d}", {"image": images[row]}, taken[row], metadata={"position": path[row]}
        )


class TwoRoomEnv(gymnasium.Env[dict[str, NDArray[Any]], NDArray[np.float32]]):
    """`forethought/TwoRoom-v1`: layout "fixed" or "random"; observation {"image"} (size x size x 3 uint8) or {"state"} (x, y).

    With a random layout the state is (x, y, wall x, door y). `reset(options={"position": (x, y), "layout": (wall x, door y)})`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, layout: str = "fixed", pixels: bool = True, size: int = 64, render_mode: str | None = None) -> None:
        if layout not in ("fixed", "random"):
            raise UsageError(f"unknown layout '{layout}'; known: fixed, random")
        self.layout_kind, self.pixels, self.render_mode = layout, pixels, render_mode
        self.painter = Painter(size)
        space: gymnasium.Space[Any] = gymnasium.spaces.Box(0.0, 1.0, (2 if layout == "fixed" else 4,), np.float32)
        if pixels:
            space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict({"image" if pixels else "state": space})  # type: ignore[assignment]
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        super().reset(seed=seed)
        options = options or {}
        drawn = fixed_layout(1) if self.layout_kind == "fixed" else random_layout([self.np_random])
        if "layout" in options:
            drawn = Layout(*np.asarray(options["layout"], dtype=np.float64).reshape(2, 1))
        self.layout, self.background = drawn, self.painter.background(drawn)
        position = np.asarray(options.get("position", _free_position(drawn, self.np_random)), dtype=np.float64).reshape(1, 2)
        if inside_wall(drawn, position)[0] or (position < LOW).any() or (position > HIGH).any():
            raise UsageError(
                f"position {position[0].tolist()} is inside a wall; give one in [{LOW:.2f}, {HIGH:.2f}] clear of it"
            )
        self.position = position
        return self._observation(), self._info()

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        self.position = move(self.layout, self.position, np.asarray(action).reshape(1, 2))
        return self._observation(), 0.0, False, False, self._info()

    def render(self) -> NDArray[np.uint8]:
        frame: NDArray[np.uint8] = self.painter.draw(self.background, self.position)[0]
        return frame

    def _observation(self) -> dict[str, NDArray[Any]]:
        if self.pixels:
            return {"image": self.render()}
        layout = [] if self.layout_kind == "fixed" else [self.layout.wall_x_N, self.layout.door_y_N]
        return {"state": np.concatenate([self.position[0], *layout]).astype(np.float32)}

    def _info(self) -> dict[str, Any]:
        return {"position": self.position[0].copy(), "wall_x": self.layout.wall_x_N[0], "door_y": self.layout.door_y_N[0]}
