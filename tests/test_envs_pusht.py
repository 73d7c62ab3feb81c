"""Push-T's adapter, on the real simulator: exact starts, the success rule, relative actions, the weak pusher."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from forethought.envs import pusht
from forethought.errors import MissingExtra, UsageError


@pytest.fixture(scope="module")
def env() -> pusht.PushT:
    pytest.importorskip("gym_pusht")
    return pusht.PushT(relative_actions=True)


def test_success_needs_both_bodies_and_the_angle() -> None:
    goal = np.array([100.0, 100.0, 300.0, 300.0, 0.1])
    assert pusht.success(goal + np.array([11, 0, 0, 16, 0]), goal)  # a joint error of 19.4
    assert not pusht.success(goal + np.array([15, 0, 0, 15, 0]), goal)  # each below 20, together 21.2
    assert pusht.success(goal + np.array([0, 0, 0, 0, 2 * np.pi - 0.3]), goal)
    assert not pusht.success(goal + np.array([0, 0, 0, 0, np.pi / 9 + 0.01]), goal)


def test_relative_actions_are_displacements_of_the_target_within_the_world() -> None:
    agent = np.array([450.0, 50.0])
    assert pusht.absolute(np.array([1.0, -0.2]), agent).tolist() == [512.0, 30.0]
    np.testing.assert_allclose(pusht.relative(pusht.absolute(np.array([-0.3, 0.4]), agent), agent), [-0.3, 0.4])


def test_reset_is_exact_and_the_same_action_gives_the_same_future(env: pusht.PushT) -> None:
    state = np.array([120.0, 130.0, 260.0, 240.0, 1.3])
    futures = []
    for _ in range(2):
        np.testing.assert_allclose(env.reset(state), state, atol=1e-9)
        futures.append(np.stack([env.step(np.array([0.9, 0.8])) for _ in range(8)]))
    np.testing.assert_array_equal(futures[0], futures[1])
    assert np.abs(futures[0][-1, 2:] - state[2:]).max() > 1  # it reached the block


def test_the_frame_is_the_environments_own(env: pusht.PushT) -> None:
    state = np.array([120.0, 130.0, 260.0, 240.0, 1.3])
    env.reset(state)
    own = env._cv2.resize(env._env._get_img(env._env._draw(), 96, 96), (64, 64), interpolation=env._cv2.INTER_AREA)
    frame = env.frame()
    assert frame.shape == (64, 64, 3) and frame.dtype == np.uint8
    np.testing.assert_array_equal(frame, own)
    env.reset(state + np.array([0, 0, 0, 0, 0.5]))
    assert (env.frame() != frame).any()


def test_an_absolute_target_is_reached(env: pusht.PushT) -> None:
    plain = pusht.PushT()
    plain.reset(np.array([100.0, 100.0, 400.0, 400.0, 0.0]))
    for _ in range(15):
        state = plain.step(np.array([150.0, 120.0]))
    np.testing.assert_allclose(state[:2], [150, 120], atol=1.0)


def test_the_pusher_is_reproducible_and_moves_the_block(env: pusht.PushT) -> None:
    first, again = (list(pusht.record(4, 60, seed=3)) for _ in range(2))
    np.testing.assert_array_equal(first[2].observations["image"], again[2].observations["image"])
    np.testing.assert_array_equal(first[2].actions, again[2].actions)
    assert np.abs(first[0].actions).max() <= 1 and first[0].observations["image"].shape == (61, 64, 64, 3)
    touched = np.mean([episode.metadata["touch"].mean() for episode in first])
    assert touched > 0.15
    assert not np.array_equal(first[0].actions, first[1].actions)
    (last,) = pusht.record(4, 60, seed=3, first=3)
    assert last.id == first[3].id and np.array_equal(last.actions, first[3].actions)


def test_wrong_states_and_sizes_say_what_to_do(env: pusht.PushT) -> None:
    with pytest.raises(UsageError, match="five finite numbers"):
        env.reset(np.zeros(4))
    with pytest.raises(UsageError, match="at most"):
        pusht.PushT(size=128)


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gym_pusht.envs.pusht", None)
    with pytest.raises(MissingExtra, match=r"forethought\[pusht\]"):
        pusht.PushT()
