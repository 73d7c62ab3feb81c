"""HDF5 as other libraries lay it out: found by looking inside, read without loss, and what is left out is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from forethought.data import open_log, write_log
from forethought.data.dataset import Dataset
from forethought.data.formats import detect_format
from forethought.errors import DataError
from forethought.testing.reader import check_reader, check_same
from forethought.types import BoxSpace, DiscreteSpace

RNG = np.random.default_rng(0)


def robomimic(path: Path, *, after: bool = True, lengths: tuple[int, ...] = (5, 3, 11)) -> Path:
    """To robomimic's documented structure."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = sum(lengths)
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "env_type": 1, "env_kwargs": {"control_freq": 20}})
        for index, steps in enumerate(lengths):
            demo = data.create_group(f"demo_{index}")
            demo.attrs.update(
                {"num_samples": steps, "model_file": "<mujoco/>", "ep_meta": json.dumps({"lang": f"lift {index}"})}
            )
            image = RNG.integers(0, 256, (steps + 1, 12, 12, 3), dtype=np.uint8)
            state = RNG.normal(size=(steps + 1, 4))
            for group, rows in (("obs", slice(0, -1)), ("next_obs", slice(1, None)))[: 2 if after else 1]:
                demo[f"{group}/agentview_image"], demo[f"{group}/eef_pos"] = image[rows], state[rows]
            demo["actions"] = RNG.uniform(-1, 1, (steps, 7))
            demo["rewards"] = np.arange(steps, dtype=np.float64)
            demo["dones"] = np.arange(steps) == steps - 1
            demo["states"] = RNG.normal(size=(steps, 9))
        file["mask/train"] = np.array([b"demo_0", b"demo_2"])
        file["mask/valid"] = np.array([b"demo_1"])
    return path


def d4rl(path: Path, *, after: bool = False) -> Path:
    """To D4RL's flat layout: an episode that terminates, one that times out, one cut off by the end of the recording."""
    rows, ends = 12, ((4, "terminals"), (9, "timeouts"))
    with h5py.File(path, "w") as file:
        states = RNG.normal(size=(rows + 1, 3)).astype(np.float32)
        file["observations"] = states[:-1]
        file["actions"] = RNG.uniform(-2, 2, (rows, 2)).astype(np.float32)
        file["rewards"] = np.arange(rows, dtype=np.float32)
        for name in ("terminals", "timeouts"):
            file[name] = np.array([(row, name) in ends for row in range(rows)])
        file["infos/qpos"] = RNG.normal(size=(rows, 2))
        file["metadata/algorithm"] = np.bytes_("SAC")
        if after:
            file["next_observations"] = states[1:]
    return path


def worldmodel(path: Path) -> Path:
    """As stable-worldmodel's HDF5Writer lays it out: chunked a row, resizable, actions moved up, the last one NaN."""
    lengths = (6, 4)
    rows = sum(lengths)
    columns = {
        "pixels": RNG.integers(0, 256, (rows, 8, 8, 3), dtype=np.uint8),
        "proprio": RNG.normal(size=(rows, 2)).astype(np.float32),
        "action": RNG.uniform(-1, 1, (rows, 2)).astype(np.float32),
        "reward": np.arange(rows, dtype=np.float64),
        "terminated": np.arange(rows) == 5,
        "step_idx": np.concatenate([np.arange(n) for n in lengths]),
        "goal": RNG.integers(0, 256, (rows, 8, 8, 3), dtype=np.uint8),
    }
    columns["action"][[5, 9]] = np.nan
    with h5py.File(path, "w", libver="latest") as file:
        for name, values in columns.items():
            file.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]), chunks=(1, *values.shape[1:]))
        words = ["push"] * 6 + ["pull"] * 4
        file.create_dataset("instruction", data=words, dtype=h5py.string_dtype(), chunks=(1,), maxshape=(None,))
        file.create_dataset("ep_len", data=np.array(lengths, np.int32), maxshape=(None,))
        file.create_dataset("ep_offset", data=np.array([0, 6], np.int64), maxshape=(None,))
    return path


MAKERS: dict[str, Callable[[Path], Path]] = {"robomimic": robomimic, "d4rl": d4rl, "stable-worldmodel": worldmodel}


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".data"])
@pytest.mark.parametrize("name", MAKERS)
def test_dialects_are_found_and_conform(tmp_path: Path, name: str, suffix: str) -> None:
    path = MAKERS[name](tmp_path / f"log{suffix}")
    before = path.read_bytes()
    assert detect_format(path).name == name
    check_reader(detect_format(path).reader(), path)
    assert Dataset.load(open_log(path)).num_episodes == len(open_log(path))
    ours = open_log(write_log(tmp_path / "ours.h5", open_log(path)))
    assert detect_format(tmp_path / "ours.h5").name == "hdf5"
    for read, again in zip(open_log(path), ours, strict=True):
        check_same(read, again)
    assert path.read_bytes() == before


def test_robomimic_with_what_actions_led_to_loses_no_action(tmp_path: Path) -> None:
    log = open_log(robomimic(tmp_path / "log.hdf5"))
    assert (log.ids(), log.lengths()) == (("demo_0", "demo_1", "demo_2"), (5, 3, 11))
    assert log.spec.action_space == BoxSpace((-1.0,) * 7, (1.0,) * 7)
    assert log.spec.steps_per_second == 20
    assert log.spec.tasks == ("lift 0", "lift 1", "lift 2")
    assert log.dropped == ("the attribute 'model_file' of each demonstration",)
    one = log.episode(1)
    with h5py.File(tmp_path / "log.hdf5") as file:
        demo = file["data/demo_1"]
        assert np.array_equal(one.observations["agentview_image"][:-1], demo["obs/agentview_image"][()])
        assert np.array_equal(one.observations["eef_pos"][-1], demo["next_obs/eef_pos"][-1])
        assert np.array_equal(one.actions, demo["actions"][()])
        assert np.array_equal(one.metadata["states"][:-1], demo["states"][()])
    assert np.isnan(one.metadata["states"][-1]).all()
    assert one.metadata["task_index"].tolist() == [1] * 4
    assert one.metadata["task_index"].dtype == np.int64
    assert not one.metadata["mask.train"].any() and one.metadata["mask.valid"].all()
    assert one.terminated and one.rewards is not None and one.rewards.tolist() == [0, 1, 2]


def test_robomimic_without_it_says_what_is_left_out(tmp_path: Path) -> None:
    log = open_log(robomimic(tmp_path / "log.hdf5", after=False))
    assert log.lengths() == (4, 2, 10)
    assert log.dropped[0].startswith("the last action of each episode")
    assert not log.episode(0).terminated
    assert log.episode(0).metadata["states"].shape == (5, 9)


def test_d4rl_is_cut_at_terminals_and_timeouts(tmp_path: Path) -> None:
    log = open_log(d4rl(tmp_path / "log.hdf5"))
    assert log.lengths() == (4, 4, 1)
    assert [one.terminated for one in log] == [False, False, False]
    assert "the last action of each episode" in log.dropped[0]
    assert log.dropped[1] == "'metadata/algorithm'"
    whole = open_log(d4rl(tmp_path / "whole.hdf5", after=True))
    assert whole.lengths() == (5, 5, 2)
    assert [one.terminated for one in whole] == [True, False, False]
    assert whole.dropped == ("'metadata/algorithm'",)
    with h5py.File(tmp_path / "whole.hdf5") as file:
        assert np.array_equal(whole.episode(1).observations["observations"][-1], file["next_observations"][9])
        assert np.array_equal(whole.episode(1).actions, file["actions"][5:10])
        low, high = file["actions"][()].min(axis=0), file["actions"][()].max(axis=0)
    assert whole.spec.action_space == BoxSpace(tuple(map(float, low)), tuple(map(float, high)))
    assert whole.episode(2).metadata["qpos"].shape == (3, 2)


def test_discrete_actions_of_a_flat_file(tmp_path: Path) -> None:
    path = d4rl(tmp_path / "log.hdf5")
    with h5py.File(path, "r+") as file:
        del file["actions"]
        file["actions"] = np.arange(12) % 4
    assert open_log(path).spec.action_space == DiscreteSpace(4)
    assert open_log(path).episode(1).actions.tolist() == [1, 2, 3, 0]


def test_worldmodel_rewards_are_those_of_arrival(tmp_path: Path) -> None:
    log = open_log(worldmodel(tmp_path / "log.h5"))
    assert log.lengths() == (5, 3)
    assert [sensor.name for sensor in log.spec.sensors] == ["pixels", "proprio"]
    assert log.dropped == ()
    first, second = log
    assert first.rewards is not None and first.rewards.tolist() == [1, 2, 3, 4, 5]
    assert first.terminated and not second.terminated
    assert np.isfinite(first.actions).all()
    assert [log.spec.tasks[one.metadata["task_index"][0]] for one in log] == ["push", "pull"]
    assert {"step_idx", "goal"} <= set(second.metadata)


def damage_link(file: h5py.File) -> None:
    del file["observations"]
    file["observations"] = h5py.ExternalLink("/etc/hostname", "/x")


def damage_circle(file: h5py.File) -> None:
    del file["rewards"]
    file["rewards"] = h5py.SoftLink("/rewards")


def damage_external(file: h5py.File) -> None:
    del file["actions"]
    file.create_dataset("actions", shape=(12, 2), dtype="f4", external=[("/etc/hostname", 0, 96)])


def damage_bomb(file: h5py.File) -> None:
    del file["actions"]
    file.create_dataset("actions", shape=(12, 10**9), dtype="f4", chunks=(1, 10**6), compression="gzip")


def damage_short(file: h5py.File) -> None:
    del file["rewards"]
    file["rewards"] = np.zeros(3, np.float32)


def damage_objects(file: h5py.File) -> None:
    del file["observations"]
    file.create_dataset("observations", data=["a"] * 12, dtype=h5py.string_dtype())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_link, "link to another file"),
        (damage_circle, "leads in a circle"),
        (damage_external, "lie in other files"),
        (damage_bomb, "bytes declared"),
        (damage_short, "expected"),
        (damage_objects, "a pickle, which is never loaded"),
    ],
)
def test_what_leads_elsewhere_or_lies_is_refused(tmp_path: Path, damage: Callable[[h5py.File], None], words: str) -> None:
    path = d4rl(tmp_path / "log.hdf5")
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(DataError, match=words) as caught:
        Dataset.load(open_log(path))
    assert str(path) in str(caught.value) and len(str(caught.value)) < 600
