"""Every kind of fault is found by its name, a clean log is left alone, and what can be mended is: the benchmark, small."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forethought.data import open_log
from forethought.data.checks import Severity, check_log, examine
from forethought.data.checks.fix import write_fixed
from forethought.data.episodes import MemoryExperience
from forethought.types import BoxSpace, DiscreteSpace, Episode, ExperienceSpec, Sensor, SensorKind

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._faults import FAULTS

SENSORS = (
    Sensor("camera", SensorKind.IMAGE, (24, 24, 3), "uint8"),
    Sensor("state", SensorKind.VECTOR, (2,), "float32"),
)
SPEC = ExperienceSpec(SENSORS, BoxSpace((-1.0, -1.0), (1.0, 1.0)), has_reward=True, steps_per_second=10.0)


def body(index: int, steps: int = 42) -> Episode:
    """A coloured spot that the actions move, its place, rewards for being in the middle, and a clock."""
    rng = np.random.default_rng(index)
    actions = rng.uniform(-1, 1, (steps, 2)).astype(np.float32)
    places = [rng.uniform(-0.5, 0.5, 2)]
    for action in actions:
        places.append(np.clip(places[-1] + 0.2 * action, -1, 1))
    path = np.stack(places).astype(np.float32)
    camera = np.full((steps + 1, 24, 24, 3), (20, 20, 60), np.uint8)
    for frame, (x, y) in zip(camera, ((path + 1) * 10).astype(int) + 1, strict=True):
        frame[y : y + 2, x : x + 2] = (250, 120, 30)
    times = np.arange(steps + 1) / 10 + rng.normal(0, 0.001, steps + 1)
    rewards = -np.linalg.norm(path[1:], axis=1).astype(np.float32)
    return Episode(
        f"e{index}", {"camera": camera, "state": path}, actions, rewards, metadata={"timestamp": times, "position": path}
    )


CLEAN = [body(index) for index in range(16)]


def planted(kind: str, seed: int = 0) -> tuple[MemoryExperience, str | None]:
    """A log with that fault, and the episode it lies in."""
    own = [
        replace(
            episode,
            observations={name: values.copy() for name, values in episode.observations.items()},
            actions=episode.actions.copy(),
            rewards=episode.rewards.copy(),
            metadata={name: values.copy() for name, values in episode.metadata.items()},
        )
        for episode in CLEAN
    ]
    where = FAULTS[kind].plant(own, SPEC, np.random.default_rng(seed))
    return MemoryExperience(SPEC, own), where


def blamed(log: MemoryExperience) -> set[str]:
    return {finding.code for finding in check_log(log) if finding.severity is not Severity.INFO}


def test_a_clean_log_is_left_alone() -> None:
    assert blamed(MemoryExperience(SPEC, CLEAN)) == set()


CODES = {"mirrored picture": "mirrored-sensor"}  # where another sensor tells that it was not the actions
MENDED = (
    "NaN in a sensor", "infinite action", "NaN reward", "action beyond its bounds", "id given twice", "episode of three steps",
    "training episode among the tests", "stretch of training in a test", "two episodes in one", "clock set back",
    "time logged twice", "lost frames", "stuck numbers", "stuck camera", "frozen numbers", "frozen camera",
    "one number unplugged", "degrees for radians", "sensor zeroed again", "one misread number", "BGR for RGB",
    "inverted picture", "picture from 0 to 1", "picture from 0 to 127", "blank frames", "mirrored picture",
    "actuator turned round", "actuators exchanged", "one episode's actions in other units", "nothing answers",
    "rewards not logged", "rewards in other units", "milliseconds for seconds", "metres for millimetres",
)  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_found_where_it_is_and_mended_if_the_log_can_tell_how(kind: str, tmp_path: Path) -> None:
    log, where = planted(kind)
    examination, code = examine(log), CODES.get(kind, FAULTS[kind].code)
    places = [finding for finding in examination.places if finding.code == code]
    assert places, blamed(log)
    assert all(finding.severity is not Severity.INFO for finding in places)
    assert where is None or {finding.episode for finding in places} == {where}
    assert all(";" in finding.message or "." in finding.message for finding in places), "a finding says what to do"
    assert (code in {repair.code for repair in examination.repairs}) == (kind in MENDED)
    if kind in MENDED:
        mended = write_fixed(log, tmp_path / "good.npz", examination.repairs)
        assert mended.repairs and mended.after >= len(CLEAN) - 1
        assert code not in blamed(open_log(tmp_path / "good.npz"))


@pytest.mark.parametrize(
    "kind", ["BGR for RGB", "inverted picture", "mirrored picture", "actuator turned round", "actuators exchanged"]
)
def test_what_was_turned_round_is_as_it_was_to_the_bit(kind: str, tmp_path: Path) -> None:
    log, where = planted(kind)
    write_fixed(log, tmp_path / "good.npz", examine(log).repairs)
    good = open_log(tmp_path / "good.npz")
    got, true = good.episode(good.ids().index(where)), next(episode for episode in CLEAN if episode.id == where)
    assert np.array_equal(got.actions, true.actions)
    assert np.array_equal(got.observations["camera"], true.observations["camera"])


def test_a_reward_never_earned_is_no_fault_of_the_recording() -> None:
    log = MemoryExperience(SPEC, [replace(episode, rewards=np.zeros_like(episode.rewards)) for episode in CLEAN])
    found = {finding.code: finding.severity for finding in check_log(log)}
    assert found["constant-reward"] is Severity.INFO
    assert blamed(log) == set()


def test_a_thing_that_nobody_touched_is_no_dead_sensor() -> None:
    spec = replace(SPEC, sensors=(*SENSORS, Sensor("thing", SensorKind.VECTOR, (1,), "float32")))
    things = [np.where(np.arange(43) < 20, 0.1 * i, 0.1 * i + 0.001 * np.maximum(np.arange(43) - 20, 0)) for i in range(16)]
    things[4:7] = [np.full(43, 0.3)] * 3
    episodes = [
        replace(episode, observations={**episode.observations, "thing": thing[:, None].astype(np.float32)})
        for episode, thing in zip(CLEAN, things, strict=True)
    ]
    assert "stuck-number" not in blamed(MemoryExperience(spec, episodes))


def test_unknown_tokens_and_discrete_actions_are_cut_out(tmp_path: Path) -> None:
    spec = ExperienceSpec((Sensor("words", SensorKind.TOKENS, (1,), "int64", 5),), DiscreteSpace(3))
    rng = np.random.default_rng(0)
    episodes = [Episode(f"e{i}", {"words": rng.integers(0, 5, (41, 1))}, rng.integers(0, 3, 40)) for i in range(12)]
    episodes[3].observations["words"][20], episodes[5].actions[12] = 5, 3
    log = MemoryExperience(spec, episodes)
    mended = write_fixed(log, tmp_path / "good.npz", examine(log).repairs)
    assert mended.after == 14
    assert sum(open_log(tmp_path / "good.npz").lengths()) == 12 * 40 - 2 - 1
    assert not {"token-out-of-vocabulary", "action-out-of-bounds"} & blamed(open_log(tmp_path / "good.npz"))
