"""Two-Room: physics that never passes a wall, episodes that never depend on the batch, drawing, and the Gymnasium env."""

from __future__ import annotations

import hashlib

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import forethought.envs  # noqa: F401  registers the ids
from forethought.envs.two_room import (
    BORDER,
    HALF_DOOR,
    HALF_WALL,
    RADIUS,
    STEP,
    SUCCESS,
    Layout,
    Painter,
    crosses_wall,
    fixed_layout,
    move,
    random_layout,
    random_position,
    random_walk,
    record,
    shortest_action,
    straight_action,
    wander,
)
from forethought.errors import UsageError


def streams(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, index]) for index in range(count)]


def reached(layout: Layout, start: np.ndarray, goal: np.ndarray, budget: int, rule) -> np.ndarray:
    position, done = start, np.linalg.norm(start - goal, axis=1) < SUCCESS
    for _ in range(budget):
        after = move(layout, position, rule(position))
        assert not crosses_wall(layout, position, after).any()
        position = after
        done |= np.linalg.norm(position - goal, axis=1) < SUCCESS
    return done


@pytest.mark.parametrize("policy", [wander, random_walk])
def test_no_move_passes_or_enters_a_wall(policy) -> None:
    generators = streams(200)
    layout = random_layout(generators)
    position, memory = random_position(layout, generators), np.zeros((200, 2))
    for _ in range(150):
        action, memory = policy(generators, memory)
        after = move(layout, position, action)
        assert not crosses_wall(layout, position, after).any()
        assert np.abs(after - position).max() <= STEP + 1e-12
        position = after
    assert (position >= BORDER + RADIUS).all()
    assert (position <= 1 - BORDER - RADIUS).all()


def test_a_wall_stops_and_slides_and_a_door_lets_through() -> None:
    layout, east = fixed_layout(2), np.tile([1.0, 0.5], (2, 1))
    position = np.array([[0.44, 0.8], [0.44, 0.48]])
    for _ in range(4):
        position = move(layout, position, east)
    assert position[0, 0] == pytest.approx(0.5 - HALF_WALL - RADIUS)
    assert position[0, 1] == pytest.approx(0.88)
    assert position[1, 0] > 0.5 + HALF_WALL + RADIUS


def test_the_validity_check_catches_a_jump_through_the_wall_and_a_body_inside_it() -> None:
    layout = fixed_layout(4)
    before = np.array([[0.48, 0.9], [0.44, 0.9], [0.2, 0.2], [0.49, 0.5]])
    after = np.array([[0.51, 0.9], [0.47, 0.9], [0.4, 0.2], [0.52, 0.5]])
    assert crosses_wall(layout, before, after).tolist() == [True, True, True, False]


def test_actions_beyond_the_bounds_are_clipped() -> None:
    layout, position = fixed_layout(1), np.array([[0.2, 0.2]])
    assert np.array_equal(move(layout, position, np.array([[9.0, -9.0]])), move(layout, position, np.array([[1.0, -1.0]])))


def test_the_oracle_reaches_every_goal_and_the_floors_do_not() -> None:
    generators = streams(300, seed=3)
    layout = random_layout(generators)
    start, goal = random_position(layout, generators), random_position(layout, generators)
    assert reached(layout, start, goal, 100, lambda p: shortest_action(layout, p, goal)).all()
    straight = reached(layout, start, goal, 150, lambda p: straight_action(p, goal)).mean()
    random = reached(layout, start, goal, 150, lambda p: random_walk(generators, p)[0]).mean()
    assert 0.70 < straight < 0.84
    assert 0.08 < random < 0.24


def test_wander_crosses_rooms_much_more_often_than_a_random_walk() -> None:
    def crossing(policy) -> float:
        generators = streams(300, seed=1)
        layout = random_layout(generators)
        position, memory = random_position(layout, generators), np.zeros((300, 2))
        side, crossed = position[:, 0] < layout.wall_x_N, np.zeros(300, bool)
        for _ in range(128):
            action, memory = policy(generators, memory)
            position = move(layout, position, action)
            crossed |= (position[:, 0] < layout.wall_x_N) != side
        return crossed.mean()

    assert crossing(wander) > 1.3 * crossing(random_walk)


def test_an_episode_does_not_depend_on_the_batch_it_is_recorded_in() -> None:
    few, many = list(record(3, 12, seed=5, random=True)), list(record(70, 12, seed=5, random=True))
    for alone, among in zip(few, many, strict=False):
        assert alone.id == among.id
        assert np.array_equal(alone.observations["image"], among.observations["image"])
        assert np.array_equal(alone.actions, among.actions)
    assert few[0].actions.shape == (12, 2)
    assert few[0].observations["image"].shape == (13, 64, 64, 3)


@pytest.mark.parametrize("size", [64, 224])
def test_drawing_is_the_same_alone_and_in_a_batch_and_follows_the_dot_by_less_than_a_pixel(size: int) -> None:
    generators = streams(8)
    layout = random_layout(generators)
    position, painter = random_position(layout, generators), Painter(size)
    frames = painter.draw(painter.background(layout), position)
    assert frames.shape == (8, size, size, 3)
    alone = painter.draw(painter.background(layout.take([5])), position[[5]])
    assert np.array_equal(alone[0], frames[5])
    moved = painter.draw(painter.background(layout), position + 0.3 / size)
    assert all((a != b).any() for a, b in zip(frames, moved, strict=True))
    weight = np.abs(frames[0].astype(int) - painter.background(layout)[0]).sum(-1).astype(float)
    centre = (weight.sum(0) @ painter.centres, weight.sum(1) @ painter.centres) / weight.sum()
    assert np.abs(centre - position[0]).max() < 1.0 / size


@pytest.mark.parametrize("layout", ["fixed", "random"])
@pytest.mark.parametrize("pixels", [True, False])
def test_the_gymnasium_env_passes_its_checker(layout: str, pixels: bool) -> None:
    check_env(gymnasium.make("forethought/TwoRoom-v1", layout=layout, pixels=pixels).unwrapped, skip_render_check=True)


def test_the_env_has_the_dynamics_and_the_drawing_of_the_batch() -> None:
    env = gymnasium.make("forethought/TwoRoom-v1", layout="random").unwrapped
    observation, info = env.reset(seed=1, options={"position": (0.2, 0.3), "layout": (0.6, 0.4)})
    layout, position, painter = Layout(np.array([0.6]), np.array([0.4])), np.array([[0.2, 0.3]]), Painter(64)
    for action in np.random.default_rng(0).uniform(-1, 1, (20, 2)).astype(np.float32):
        observation, _, _, _, info = env.step(action)
        position = move(layout, position, action[None])
    assert np.array_equal(info["position"], position[0])
    assert (info["wall_x"], info["door_y"]) == (0.6, 0.4)
    assert np.array_equal(observation["image"], painter.draw(painter.background(layout), position)[0])


def test_the_state_observation_tells_the_layout_only_when_it_varies() -> None:
    fixed = gymnasium.make("forethought/TwoRoom-v1", pixels=False).unwrapped.reset(seed=0)[0]["state"]
    varied = gymnasium.make("forethought/TwoRoom-v1", layout="random", pixels=False).unwrapped.reset(seed=0)[0]["state"]
    assert fixed.shape == (2,)
    assert varied.shape == (4,)
    assert fixed.dtype == varied.dtype == np.float32


def test_wrong_questions_are_answered_with_the_remedy() -> None:
    env = gymnasium.make("forethought/TwoRoom-v1").unwrapped
    with pytest.raises(UsageError, match="inside a wall"):
        env.reset(options={"position": (0.5, 0.9)})
    with pytest.raises(UsageError, match="known: fixed, random"):
        gymnasium.make("forethought/TwoRoom-v1", layout="maze")
    with pytest.raises(UsageError, match="known: wander, random"):
        next(record(1, 2, 0, random=False, policy="dance"))


def test_half_the_door_is_wider_than_the_body() -> None:
    assert HALF_DOOR > 2 * RADIUS


def test_the_pixels_are_golden() -> None:
    """Logs and trained encoders depend on every pixel: corners, walls, doors, three sizes."""
    drawn = hashlib.sha256()
    for size in (64, 96, 224):
        streams = [np.random.default_rng([5, index]) for index in range(24)]
        layout, painter = random_layout(streams), Painter(size)
        position = random_position(layout, streams)
        position[:4] = [[0, 0], [1, 1], [0, 1], [0.07, 0.93]]
        background = painter.background(layout)
        drawn.update(background.tobytes())
        drawn.update(painter.draw(background, position).tobytes())
    assert drawn.hexdigest() == "0928b4eb222dc62ab753caf108b9f665a3faf654a878d793d469a9dc6a38a428"
