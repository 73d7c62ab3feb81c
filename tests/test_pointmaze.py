"""OGBench's point mazes: the real package, seeded, with its own tasks and success test."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from forethought.arena.protocol import evaluate_rule
from forethought.arena.tasks import make_task
from forethought.data import open_log, write_log
from forethought.envs.ogbench import PointMaze, global_seed, heading, log_spec, record
from forethought.errors import UsageError


def test_an_episode_depends_on_seed_and_index_alone() -> None:
    whole, rest = list(record("medium", 0, 3, 60, 5)), list(record("medium", 2, 3, 60, 5))
    assert whole[2].id == rest[0].id
    assert np.array_equal(whole[2].observations["state"], rest[0].observations["state"])
    assert np.array_equal(whole[2].actions, rest[0].actions)
    assert not np.array_equal(whole[0].actions, whole[1].actions)


def test_the_navigator_visits_and_stays_out_of_walls(tmp_path: Path) -> None:
    maze, visited = PointMaze("large"), set()
    log = open_log(write_log(tmp_path / "log.h5", record("large", 0, 5, 400, 0), log_spec()))
    for episode in log:
        path = episode.observations["state"].astype(np.float64)
        visited |= {maze.cell(place) for place in path}
        assert all(maze.legal_move(a, b) for a, b in itertools.pairwise(path))
        assert np.abs(np.diff(path, axis=0)).max() < 0.21 and np.abs(episode.actions).max() <= 1.0
    assert visited <= set(maze.free_cells()) and len(visited) > 30


def test_walls_hold_and_moves_through_them_would_be_seen() -> None:
    maze = PointMaze("medium")
    maze.place(maze.centre((1, 1)), maze.centre((6, 6)))
    for _ in range(40):
        position, reached = maze.step(np.array([-1.0, -1.0]))
    assert not reached and maze.cell(position) == (1, 1) and 1.3 < np.abs(position - maze.centre((1, 1))).max() < 1.4
    assert not maze.legal_move(maze.centre((1, 2)), maze.centre((1, 3)))  # into a wall
    assert not maze.legal_move(maze.centre((1, 1)), maze.centre((6, 6)))  # too far
    assert maze.maze_map[1, 4] == maze.maze_map[2, 3] == 1  # (1, 3) is wall too; between (3, 3) and (4, 4) there is a way
    assert maze.legal_move(maze.centre((3, 3)), maze.centre((4, 4)))


def test_vertices_are_ends_turns_and_forks() -> None:
    maze = PointMaze("large")
    assert (1, 1) in maze.vertices() and (1, 4) in maze.vertices() and (3, 1) in maze.vertices()
    assert (1, 2) not in maze.vertices() and (2, 1) not in maze.vertices()


@pytest.mark.parametrize("name", ["medium", "large"])
def test_tasks_are_the_packages_own(name: str) -> None:
    task = make_task(f"ogbench-pointmaze-{name}-v1")
    pairs, again, other = task.pairs(10, 1), task.pairs(7, 1), task.pairs(5, 2)
    assert all(np.array_equal(a.setup, b.setup) and a.key == b.key for a, b in zip(pairs, again, strict=False))
    assert not np.array_equal(pairs[0].setup, other[0].setup)
    maze = PointMaze(name)
    for index, pair in enumerate(pairs):
        info = maze._maze.task_infos[index % 5]
        assert f"task{index % 5 + 1}" in pair.classes
        assert np.abs(pair.setup[2:4] - info["init_xy"]).max() <= 1 and np.abs(pair.setup[4:] - info["goal_xy"]).max() <= 1
        episode = task.begin(pair)
        assert np.array_equal(episode.position, pair.setup[2:4]) and np.allclose(
            episode.goal.observation["state"], pair.setup[4:]
        )
    assert task.budget == maze.env.spec.max_episode_steps


def test_floors_oracle_and_the_global_generator() -> None:
    task = make_task("ogbench-pointmaze-medium-v1")
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    pairs = task.pairs(10, 0)
    found = {name: evaluate_rule(task.floors()[name], task, pairs, name) for name in ("idle", "straight", "oracle")}
    assert np.array_equal(np.random.get_state()[1], before)
    assert found["oracle"].success().share == 1.0 and found["idle"].success().share == 0.0
    hard = {pair.id for pair in pairs if "hard" in pair.classes}
    assert {o.pair for o in found["straight"].outcomes if not o.success} == hard and 0 < len(hard) < 10
    assert all(o.legal for result in found.values() for o in result.outcomes)


def test_a_picture_shows_maze_goal_and_agent() -> None:
    task = make_task("ogbench-pointmaze-medium-v1")
    picture = task.begin(task.pairs(1, 0)[0]).picture()
    assert picture.shape == (160, 160, 3) and picture.dtype == np.uint8
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 4
    green = np.argwhere((picture == [60, 170, 90]).all(-1)).mean(0) / 20
    assert np.abs(green - [6.5, 6.5]).max() < 0.6  # task 1 ends in cell (6, 6)


def test_an_unknown_maze_is_named_and_seeding_is_undone() -> None:
    with pytest.raises(UsageError, match="Did you mean 'medium'"):
        PointMaze("medum")
    with global_seed(1):
        inside = np.random.rand()
    with global_seed(1):
        assert np.random.rand() == inside
    assert heading(np.zeros(2), np.array([10.0, -5.0])).tolist() == [1.0, -0.5]
    assert np.allclose(heading(np.zeros(2), np.array([0.1, 0.0])), [0.5, 0.0])
