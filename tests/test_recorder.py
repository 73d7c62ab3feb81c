"""The recorder: nothing acknowledged is lost, the loop never waits, and what goes wrong is one clear error."""

from __future__ import annotations

import importlib
import resource
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from forethought.data import open_log
from forethought.data.record import spec_of
from forethought.errors import DataError, UsageError
from forethought.record import RecordedEnv, Recorder
from forethought.types import BoxSpace, ExperienceSpec, Sensor, SensorKind

ROOT = Path(__file__).resolve().parents[1]
SENSORS = (Sensor("front", SensorKind.IMAGE, (16, 16, 3), "uint8"), Sensor("joints", SensorKind.VECTOR, (2,), "float32"))
SPEC = ExperienceSpec(SENSORS, BoxSpace((-1.0,), (1.0,)), True)


def image(number: int) -> np.ndarray:
    return np.full((16, 16, 3), number % 256, np.uint8)


def drive(recorder: Recorder, steps: int = 5, wait: bool = False) -> None:
    for i in range(steps):
        recorder.step({"front": image(i), "joints": [i, -i]}, [0.5], reward=i)
    recorder.end({"front": image(steps), "joints": [0, 0]}, terminated=True)
    if wait:
        recorder.wait()


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_a_users_own_loop_reads_back_and_is_gone_on_with(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log{suffix}"
    with Recorder(path, SPEC, clock=None) as recorder:
        buffer = image(0)
        for i in range(3):  # the same buffer again and again, as camera drivers do
            buffer[:] = i
            recorder.step(
                {"front": buffer, "joints": [i, -i]},
                [0.5],
                reward=i,
                quantities={"speed": i / 2, "odd": i} if i else {"speed": 0.0},
            )
        buffer[:] = 3
        recorder.end({"front": buffer, "joints": [3, -3]}, quantities={"speed": 1.5, "odd": 1})
        assert recorder.wait() == recorder.saved == 1
        drive(recorder)
    with Recorder(path, SPEC) as recorder:
        assert recorder.saved == 2
        drive(recorder)
    found = open_log(path)
    assert found.ids() == ("episode-000000", "episode-000001", "episode-000002")
    one = found.episode(0)
    assert one.observations["front"][:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert one.observations["joints"].tolist() == [[0, 0], [1, -1], [2, -2], [3, -3]]
    assert (one.rewards is not None) and one.rewards.tolist() == [0, 1, 2] and one.actions.tolist() == [[0.5]] * 3
    assert (one.terminated, one.truncated) == (False, True) and found.episode(1).terminated
    assert {name: values.tolist() for name, values in one.metadata.items()} == {"speed": [0.0, 0.5, 1.0, 1.5]}
    assert (np.diff(found.episode(2).metadata["timestamp"]) >= 0).all()


def test_cameras_at_rates_of_their_own_are_held_and_keep_their_times(tmp_path: Path) -> None:
    ticks = iter(range(100))
    with Recorder(tmp_path / "log.h5", SPEC, clock=lambda: float(next(ticks))) as recorder:
        with pytest.raises(UsageError, match=r"got no 'front' yet; .* reading\('front'"):
            recorder.step({"joints": [0, 0]}, [0.0])
        for i in range(4):
            if i % 2 == 0:
                recorder.reading("front", image(i), timestamp=10.0 + i)
            recorder.step({"joints": [i, i]}, [0.0])
        recorder.end({"joints": [4, 4]})
    one = open_log(tmp_path / "log.h5").episode(0)
    assert one.observations["front"][:, 0, 0, 0].tolist() == [0, 0, 2, 2, 2]
    assert one.metadata["timestamp.front"].tolist() == [10, 10, 12, 12, 12]
    assert len(one.metadata["timestamp"]) == 5


def test_an_environment_is_recorded_as_it_was_driven(tmp_path: Path) -> None:
    env = gymnasium.make("CartPole-v1")
    seen = []
    with Recorder(tmp_path / "pole.h5", spec_of(env)) as recorder:
        recorded = RecordedEnv(env, recorder)
        for seed in range(2):
            seen.append([recorded.reset(seed=seed)[0]])
            for i in range(4):
                seen[-1].append(recorded.step(i % 2)[0])
        recorded.close()
    found = open_log(tmp_path / "pole.h5")
    assert len(found) == 2
    for episode, states in zip(found, seen, strict=True):
        assert np.array_equal(episode.observations["state"], np.stack(states)) and episode.actions.tolist() == [0, 1, 0, 1]
        assert episode.rewards is not None and episode.rewards.tolist() == [1] * 4 and not episode.terminated


@pytest.mark.parametrize(
    ("observation", "action", "words"),
    [
        ({"front": np.zeros((16, 16, 3)), "joints": [0, 0]}, [0.0], r"sensor 'front': got shape \(16, 16, 3\), dtype float64"),
        ({"front": image(0), "joints": [0, 0, 0]}, [0.0], r"sensor 'joints': got shape \(3,\)"),
        ({"front": image(0), "joints": [0, 0]}, [0.0, 1.0], r"action: got shape \(2,\)"),
        ({"frontt": image(0), "joints": [0, 0]}, [0.0], "Did you mean 'front'"),
    ],
)
def test_what_does_not_fit_is_said_at_the_step_and_leaves_no_trace(
    tmp_path: Path, observation: dict, action: list[float], words: str
) -> None:
    with Recorder(tmp_path / "log.h5", SPEC) as recorder:
        with pytest.raises(UsageError, match="without a step before it"):
            recorder.end({"front": image(0), "joints": [0, 0]})
        with pytest.raises(UsageError, match=words):
            recorder.step(observation, action)
        drive(recorder)
    assert open_log(tmp_path / "log.h5").lengths() == (5,)


def test_when_memory_is_full_the_episode_is_given_up_and_the_next_is_kept(tmp_path: Path) -> None:
    with Recorder(tmp_path / "log.h5", SPEC, memory=20_000) as recorder:
        drive(recorder)
        recorder.wait()
        with pytest.raises(DataError, match=r"an episode of 50 steps was given up: .* memory=20,000 is the limit"):
            drive(recorder, steps=50)
        drive(recorder)
    assert open_log(tmp_path / "log.h5").lengths() == (5, 5)


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_a_full_disk_is_one_error_and_everything_before_it_is_intact(tmp_path: Path, suffix: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))  # for the writer process, which inherits it
    try:
        recorder = Recorder(tmp_path / f"log{suffix}", SPEC)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    drive(recorder)
    recorder.wait()
    with pytest.raises(DataError, match=r"log.*cannot be written \(File too large\)"):
        drive(recorder, steps=200, wait=True)
    with pytest.raises(DataError, match="File too large"):
        drive(recorder)
    with pytest.raises(DataError, match="File too large"):
        recorder.close()
    recorder.close()
    assert open_log(tmp_path / f"log{suffix}").lengths() == (5,)


def test_a_log_of_another_spec_is_refused_at_once(tmp_path: Path) -> None:
    Recorder(tmp_path / "log.h5", SPEC).close()
    with pytest.raises(DataError, match="another spec"):
        Recorder(tmp_path / "log.h5", ExperienceSpec(SENSORS, BoxSpace((-2.0,), (2.0,)), True))


def test_a_dead_writer_is_one_error(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "log.h5", SPEC)
    drive(recorder, wait=True)
    recorder._process.kill()
    with pytest.raises(DataError, match="the process that writes it has ended"):
        drive(recorder, wait=True)
    with pytest.raises(DataError):
        recorder.close()
    assert len(open_log(tmp_path / "log.h5")) == 1


@pytest.mark.lane
def test_killed_at_random_moments_every_acknowledged_episode_reads_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    kill = importlib.import_module("benchmarks.recorder_kill")
    for suffix in (".h5", ".npz"):
        outcome = kill.killed(tmp_path / f"log{suffix}", kills=3, seed=1)
        assert outcome.kills == 3 and outcome.acknowledged > 0 and outcome.lost == outcome.different == 0


@pytest.mark.lane
def test_the_loop_hardly_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    latency = importlib.import_module("benchmarks.recorder_latency")
    figures = latency.measure(hertz=200, steps=300, episode=50)
    assert figures["steps"] == 300 and figures["saved_episodes"] == 6
    assert 0 < figures["added_ms"]["p50"] < 1
