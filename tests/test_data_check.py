"""Checking, showing and recording logs."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from typer.testing import CliRunner

from forethought.cli.main import app
from forethought.data import open_log, open_writer, write_log
from forethought.data.checks import Finding, Severity, check_log, examine, summarise
from forethought.data.checks.fix import write_fixed
from forethought.data.episodes import MemoryExperience
from forethought.data.record import (
    collect,
    random_policy,
    record_episode,
    space_of,
    spec_of,
    to_env_action,
    to_logged,
    to_sensors,
)
from forethought.data.split import Split, split_of
from forethought.errors import UsageError
from forethought.page.png import encode_png
from forethought.testing.reader import check_same
from forethought.types import BoxSpace, DiscreteSpace, Episode, ExperienceSpec, Sensor, SensorKind

SENSORS = (
    Sensor("pixels", SensorKind.IMAGE, (8, 8, 3), "uint8"),
    Sensor("state", SensorKind.VECTOR, (2,), "float32"),
    Sensor("words", SensorKind.TOKENS, (1,), "int64", 5),
)
SPEC = ExperienceSpec(SENSORS, BoxSpace((-1.0, -1.0), (1.0, 1.0)))


def make(index: int, steps: int = 20, seed: int | None = None) -> Episode:
    rng = np.random.default_rng(index if seed is None else seed)
    observations = {
        "pixels": rng.integers(0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8),
        "state": rng.normal(size=(steps + 1, 2)).astype(np.float32),
        "words": rng.integers(0, 5, (steps + 1, 1)),
    }
    metadata = {"timestamp": np.arange(steps + 1) / 10}
    return Episode(f"e{index}", observations, rng.uniform(-1, 1, (steps, 2)).astype(np.float32), metadata=metadata)


def found_after(damage: Callable[[Episode], None], spec: ExperienceSpec = SPEC, at: int = 4) -> dict[str, Finding]:
    episodes = [make(i) for i in range(40)]
    damage(episodes[at])
    return {finding.code: finding for finding in check_log(MemoryExperience(spec, episodes))}


def test_a_good_log_has_no_findings() -> None:
    assert {code: f for code, f in found_after(lambda episode: None).items() if f.severity is not Severity.INFO} == {}


def _set(name: str, rows: Any, value: Any) -> Callable[[Episode], None]:
    def damage(episode: Episode) -> None:
        arrays = {"actions": episode.actions, **episode.observations, **episode.metadata}
        arrays[name][rows] = value

    return damage


@pytest.mark.parametrize(
    ("code", "severity", "damage", "sensor", "row", "count"),
    [
        ("not-finite", Severity.ERROR, _set("state", slice(5, 7), np.nan), "state", 5, 2),
        ("not-finite", Severity.ERROR, _set("actions", (3, 1), np.inf), "actions", 3, 1),
        ("action-out-of-bounds", Severity.WARNING, _set("actions", (9, 0), 1.5), "actions", 9, 1),
        ("token-out-of-vocabulary", Severity.ERROR, _set("words", 2, 5), "words", 2, 1),
        ("stuck-sensor", Severity.WARNING, _set("state", slice(None), 0.25), "state", 0, 1),
        ("time-backwards", Severity.ERROR, _set("timestamp", 8, 0.0), "timestamp", 8, 1),
    ],
)
def test_each_fault_is_found_where_it_is(code: str, severity: Severity, damage: Any, sensor: str, row: int, count: int) -> None:
    finding = found_after(damage)[code]
    assert (finding.severity, finding.sensor, finding.episode) == (severity, sensor, "e4")
    assert (finding.row, finding.count) == (row, count)
    assert ";" in finding.message or "." in finding.message, "a finding says what to do"


def test_actions_that_do_nothing_are_found_but_rest_is_not() -> None:
    def freeze(episode: Episode) -> None:
        for values in episode.observations.values():
            values[6:16] = values[6]

    def rest(episode: Episode) -> None:
        freeze(episode)
        episode.actions[6:15] = 0

    assert found_after(freeze)["idle-action"].row == 6
    assert found_after(freeze)["idle-action"].count == 9
    assert "idle-action" not in found_after(rest)


def test_constant_actions_short_episodes_repeated_ids_and_empty_logs() -> None:
    episodes = [make(i, steps) for i, steps in enumerate([20, 3, 0, 20])] + [make(0, seed=77)]
    for episode in episodes:
        episode.actions[:, 1:] = 0.5
    codes = {finding.code: finding for finding in check_log(MemoryExperience(SPEC, episodes))}
    assert "[1] never change" in codes["constant-action"].message
    assert codes["short-episode"].count == 2
    assert codes["repeated-id"].episode == "e0"
    assert codes["empty-split-test"].severity is Severity.WARNING
    assert check_log(MemoryExperience(SPEC, []))[0].code == "no-episodes"


def test_discrete_actions_out_of_range_and_never_taken() -> None:
    spec = ExperienceSpec(SENSORS[1:2], DiscreteSpace(4))
    rng = np.random.default_rng(0)
    state = rng.normal(size=(40, 21, 2)).astype(np.float32)
    episodes = [Episode(f"e{i}", {"state": state[i]}, rng.integers(0, 3, 20)) for i in range(40)]
    episodes[2].actions[7] = 4
    codes = {finding.code: finding for finding in check_log(MemoryExperience(spec, episodes))}
    assert (codes["action-out-of-bounds"].episode, codes["action-out-of-bounds"].row) == ("e2", 7)
    assert "[3] are never taken" in codes["constant-action"].message


def test_near_duplicates_across_splits_are_found() -> None:
    train = next(i for i in range(99) if split_of(f"e{i}") is Split.TRAIN)
    test = next(i for i in range(99) if split_of(f"e{i}") is Split.TEST)
    episodes = [make(i) for i in range(max(train, test) + 10)]
    twin = make(train)
    twin.observations["state"][3] += 1e-4
    episodes[test] = Episode(f"e{test}", twin.observations, twin.actions)
    finding = next(f for f in check_log(MemoryExperience(SPEC, episodes)) if f.code == "near-duplicate")
    assert (finding.episode, finding.count) == (f"e{test}", 1)
    assert f"'e{train}'" in finding.message


def test_summary_counts() -> None:
    found = summarise(MemoryExperience(SPEC, [make(i, 5 + i) for i in range(30)]))
    assert (found.episodes, found.steps, found.shortest, found.longest) == (30, sum(range(5, 35)), 5, 34)
    assert sum(found.splits) == 30


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (1, 1, 4)])
def test_png_is_what_other_programs_read(shape: tuple[int, ...]) -> None:
    image_module = pytest.importorskip("PIL.Image")
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    decoded = np.asarray(image_module.open(io.BytesIO(encode_png(image))))
    assert (decoded == image.reshape(decoded.shape)).all()


def test_png_refuses_what_it_cannot_write() -> None:
    for image in (np.zeros((2, 2, 5), np.uint8), np.zeros((2, 2), np.float32), np.zeros((0, 2), np.uint8)):
        with pytest.raises(UsageError, match="expected uint8"):
            encode_png(image)


class Everything(gymnasium.Env[Any, Any]):
    """Every observation space there is, in one nested environment; ends after a random number of steps."""

    metadata = {"render_fps": 20}  # noqa: RUF012
    observation_space = spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (6, 5, 3), np.uint8),
            "grey": spaces.Box(0, 255, (6, 5), np.uint8),
            "stack": spaces.Box(0, 255, (4, 6, 5), np.uint8),
            "arm": spaces.Dict({"joints": spaces.Box(-9, 9, (2, 2), np.float64), "grip": spaces.Discrete(3, start=5)}),
            "bits": spaces.MultiBinary(3),
            "cards": spaces.MultiDiscrete([4, 9]),
            "counts": spaces.Box(0, 9, (2,), np.int32),
        }
    )

    def __init__(self, action_space: spaces.Space[Any]) -> None:
        self.action_space = action_space

    def _observe(self) -> Any:
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(3, 30))
        return self._observe(), {"left": self.left, "note": "text"}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.left -= 1
        return self._observe(), float(np.sum(action)), self.left == 0, False, {"left": self.left, "hit": True}


BOX, CHOICE = spaces.Box(-1, 2, (2, 2), np.float32), spaces.Discrete(4, start=-1)


@pytest.mark.parametrize("actions", [BOX, CHOICE], ids=["box", "discrete"])
def test_any_environment_is_recorded_without_loss(tmp_path: Path, actions: spaces.Space[Any]) -> None:
    env = Everything(actions)
    spec = spec_of(env)
    shapes = {sensor.name: (sensor.kind.value, sensor.shape) for sensor in spec.sensors}
    assert shapes == {
        "camera": ("image", (6, 5, 3)),
        "grey": ("image", (6, 5, 1)),
        "stack": ("image", (6, 5, 4)),
        "arm.joints": ("vector", (4,)),
        "arm.grip": ("tokens", (1,)),
        "bits": ("vector", (3,)),
        "cards": ("tokens", (2,)),
        "counts": ("vector", (2,)),
    }
    writer = open_writer(tmp_path / "log.h5", spec)
    assert collect(lambda: Everything(actions), random_policy, 4, writer, seed=1) == 4
    writer.close()
    found = open_log(tmp_path / "log.h5")
    assert found.spec.steps_per_second == 20
    one = found.episode(2)
    raw, _ = env.reset(seed=int(np.random.SeedSequence([1, 2]).spawn(1)[0].generate_state(1)[0] >> 1))
    for name, value in to_sensors(raw, env.observation_space).items():
        assert (one.observations[name][0] == value).all()
    assert one.terminated
    assert not one.truncated
    assert one.metadata["left"].tolist() == list(range(one.num_steps, -1, -1))
    assert set(one.metadata) == {"left"}
    replayed = [env.step(to_env_action(action, actions))[1] for action in one.actions]
    assert one.rewards is not None
    assert np.allclose(replayed, one.rewards)


def test_actions_go_both_ways() -> None:
    assert space_of(BOX) == BoxSpace((-1.0,) * 4, (2.0,) * 4)
    assert space_of(CHOICE) == DiscreteSpace(4)
    for space in (BOX, CHOICE):
        space.seed(0)
        action = space.sample()
        assert np.array_equal(to_env_action(to_logged(action, space), space), action)
    for bad in (spaces.Box(-np.inf, 1, (2,)), spaces.MultiDiscrete([2, 2]), spaces.Text(5)):
        with pytest.raises(UsageError, match="wrap"):
            space_of(bad)
    with pytest.raises(UsageError, match="for 'observation'"):
        to_sensors("word", spaces.Text(5))


def test_max_steps_truncates_and_an_episode_is_a_function_of_its_number() -> None:
    env = Everything(BOX)
    whole = record_episode(env, random_policy, 5, 3)
    check_same(whole, record_episode(Everything(BOX), random_policy, 5, 3))
    cut = record_episode(env, random_policy, 5, 3, max_steps=2)
    assert (cut.num_steps, cut.truncated, cut.terminated) == (2, True, False)
    assert (cut.actions == whole.actions[:2]).all()


COLLECT = """
import sys, gymnasium
from forethought.data import open_writer
from forethought.data.record import collect, random_policy, spec_of
make = lambda: gymnasium.make("CartPole-v1")
writer = open_writer(sys.argv[1], spec_of(make()))
collect(make, random_policy, 120, writer, seed=4, progress=lambda index, episode: print(index, flush=True))
writer.close()
"""


def _collect(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", COLLECT, str(path)], stdout=subprocess.PIPE, text=True, env={**os.environ})


def test_killed_collection_goes_on_to_the_same_log(tmp_path: Path) -> None:
    rng, kills = random.Random(0), 0
    while True:
        process = _collect(tmp_path / "killed.h5")
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(rng.uniform(0, 0.2))
        if kills < 2 and first:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.stdout.read()
        process.stdout.close()
        if process.wait() == 0:
            break
    writer = open_writer(tmp_path / "straight.h5", spec_of(gymnasium.make("CartPole-v1")))
    collect(lambda: gymnasium.make("CartPole-v1"), random_policy, 120, writer, seed=4)
    writer.close()
    a, b = open_log(tmp_path / "killed.h5"), open_log(tmp_path / "straight.h5")
    assert len(a) == len(b) == 120
    assert kills > 0
    for one, other in zip(a, b, strict=True):
        check_same(one, other)


def driven(number: int, late: int) -> Episode:
    """A place that follows the actions at once; the log has them `late` rows too late."""
    generator = np.random.default_rng(number)
    actions = generator.uniform(-1, 1, (40, 1)).astype(np.float32)
    place = np.concatenate([np.zeros((1, 1)), np.cumsum(0.1 * actions, 0)]).astype(np.float32)
    return Episode(f"d{number}", {"place": place}, np.roll(actions, late, 0))


@pytest.mark.parametrize("late", [0, 2, -1])
def test_actions_of_another_row_are_found_and_shifted_back(tmp_path: Path, late: int) -> None:
    spec = ExperienceSpec((Sensor("place", SensorKind.VECTOR, (1,), "float32"),), BoxSpace((-1.0,), (1.0,)))
    log = open_log(write_log(tmp_path / "log.h5", (driven(i, late) for i in range(30)), spec))
    found = [finding for finding in check_log(log) if finding.code == "delay"]
    assert len(found) == (late != 0)
    if late:
        assert f"--shift {-late}" in found[0].message
        assert f"{abs(late)} frame" in found[0].message and ("late" if late > 0 else "early") in found[0].message
    mended = write_fixed(log, tmp_path / "mended.h5", (), shift=-late)
    assert mended.before == mended.after == 30
    for episode in open_log(tmp_path / "mended.h5"):
        assert np.allclose(np.diff(episode.observations["place"], axis=0), 0.1 * episode.actions, atol=1e-5)


def test_a_repaired_copy_has_no_errors_and_the_log_is_as_it_was(tmp_path: Path) -> None:
    spec = ExperienceSpec((Sensor("place", SensorKind.VECTOR, (1,), "float32"),), BoxSpace((-1.0,), (1.0,)))
    episodes = [driven(i, 0) for i in range(30)]
    episodes[3].observations["place"][20] = np.nan
    episodes[5].actions[7] = 3.0
    path = write_log(tmp_path / "log.h5", episodes, spec)
    before = path.read_bytes()
    found = examine(open_log(path))
    faults = {"not-finite", "action-out-of-bounds"}
    assert faults <= {finding.code for finding in found.findings}
    arguments = ["data", "check", str(path), "--fix", str(tmp_path / "mended.h5"), "--shift", "1", "--json"]
    said = json.loads(CliRunner().invoke(app, arguments).stdout)["fixed"]
    assert said["episodes"] == 31
    assert said["repairs"] == {
        "shifted actions by 1": 30,
        "cut at rows that are not finite": 1,
        "clipped actions": 1,
    }
    mended = open_log(tmp_path / "mended.h5")
    assert not faults & {finding.code for finding in check_log(mended)}
    assert path.read_bytes() == before
    assert CliRunner().invoke(app, ["data", "check", str(path), "--shift", "1"]).exit_code == 2


def test_a_repeated_id_gets_a_name_before_its_episode_is_cut(tmp_path: Path) -> None:
    spec = ExperienceSpec((Sensor("place", SensorKind.VECTOR, (1,), "float32"),), BoxSpace((-1.0,), (1.0,)))
    episodes = [driven(3, 0), replace(driven(4, 0), id="d3")]
    for episode in episodes:
        episode.observations["place"][20] = np.nan
    log = MemoryExperience(spec, episodes)
    mended = write_fixed(log, tmp_path / "mended.h5", examine(log).repairs)
    names = open_log(tmp_path / "mended.h5").ids()
    assert mended.repairs["gave repeated ids new names"] == 1
    assert len(names) == len(set(names)) == 4
    assert {split_of(name) for name in names} == {split_of("d3")}, "parts stay in their split"


def _tinted(code: str) -> Callable[[int], Episode]:
    def tinted(number: int) -> Episode:
        episode, frames = make(number), make(number).observations["pixels"] // 4
        frames[..., 0] += 90
        change = {"value-range": frames // 200, "channel-swap": frames[..., ::-1]}
        frames = change.get(code, frames) if number == 7 else frames
        state = episode.observations["state"] * np.float32(57.3 if (number, code) == (7, "unit-jump") else 1)
        return replace(episode, observations={**episode.observations, "pixels": frames, "state": state})

    return tinted


@pytest.mark.parametrize("code", ["none", "unit-jump", "value-range", "channel-swap"])
def test_an_episode_of_another_machine_is_found(code: str) -> None:
    found = check_log(MemoryExperience(SPEC, [_tinted(code)(i) for i in range(30)]))
    jumps = {f.code: f for f in found if f.code in ("unit-jump", "value-range", "channel-swap")}
    assert set(jumps) == {code} - {"none"}
    assert all((finding.episode, finding.count) == ("e7", 1) for finding in jumps.values())
