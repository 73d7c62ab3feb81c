"""A small log of every format in the table of docs/data.md, with enough in it to train: a point that is pushed about."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from forethought.data import write_log
from forethought.types import BoxSpace, Episode, ExperienceSpec, Sensor, SensorKind

COUNT, STEPS = 30, 12
SPEC = ExperienceSpec((Sensor("state", SensorKind.VECTOR, (2,), "float32"),), BoxSpace((-1.0,) * 2, (1.0,) * 2), False, 10.0)


def point(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Places (STEPS + 1, 2), and the moves (STEPS, 2) between them."""
    moves = np.random.default_rng(number).uniform(-1, 1, (STEPS, 2)).astype(np.float32)
    return np.concatenate([np.zeros((1, 2), np.float32), np.cumsum(0.2 * moves, axis=0)]), moves


def episodes() -> Iterator[Episode]:
    for number in range(COUNT):
        state, actions = point(number)
        yield Episode(f"e{number}", {"state": state}, actions)


def ours(format: str) -> Callable[[Path], object]:
    return lambda path: write_log(path, episodes(), SPEC, format=format)


def robomimic(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for number in range(COUNT):
            state, actions = point(number)
            demo = file.create_group(f"data/demo_{number}")
            demo["obs/state"], demo["next_obs/state"], demo["actions"] = state[:-1], state[1:], actions


def d4rl(path: Path) -> None:
    states, actions = map(np.stack, zip(*map(point, range(COUNT)), strict=True))
    with h5py.File(path, "w") as file:
        file["observations"], file["next_observations"] = states[:, :-1].reshape(-1, 2), states[:, 1:].reshape(-1, 2)
        file["actions"], file["terminals"] = actions.reshape(-1, 2), np.zeros(COUNT * STEPS, bool)
        file["timeouts"] = np.arange(COUNT * STEPS) % STEPS == STEPS - 1


def worldmodel(path: Path) -> None:
    states, actions = map(np.stack, zip(*map(point, range(COUNT)), strict=True))
    padded = np.concatenate([actions, np.full((COUNT, 1, 2), np.nan, np.float32)], axis=1)
    with h5py.File(path, "w") as file:
        file["proprio"], file["action"] = states.reshape(-1, 2), padded.reshape(-1, 2)
        file["ep_len"] = np.full(COUNT, STEPS + 1, np.int32)
        file["ep_offset"] = np.arange(COUNT, dtype=np.int64) * (STEPS + 1)


def replay_buffer(path: Path) -> None:
    import zarr

    states, actions = map(np.stack, zip(*map(point, range(COUNT)), strict=True))
    root = zarr.open_group(path, mode="w", zarr_format=2)
    ends = np.arange(1, COUNT + 1) * STEPS
    for name, values in (("data/state", states[:, :-1]), ("data/action", actions), ("meta/episode_ends", ends)):
        root.create_array(name, data=np.ascontiguousarray(values.reshape(-1, *values.shape[2:])))


def rlds(path: Path) -> None:
    import test_data_rlds as made
    from tfrecord.writer import TFRecordWriter

    path.mkdir(parents=True)
    parts = {"observation": made.nest(state=made.tensor("float32", 2)), "action": made.tensor("float32", 2)}
    flags = {name: made.tensor("bool") for name in ("is_first", "is_last", "is_terminal")}
    step = {"sequence": {"feature": made.nest(**parts, **flags), "length": "-1"}}
    split = {"name": "train", "shardLengths": [str(COUNT)], "numBytes": "1"}
    about = {"name": "toy", "version": "1.0.0", "fileFormat": "tfrecord", "splits": [split]}
    (path / "features.json").write_text(json.dumps(made.nest(steps=step)))
    (path / "dataset_info.json").write_text(json.dumps(about))
    writer = TFRecordWriter(str(path / "toy-train.tfrecord-00000-of-00001"))
    for state, actions in map(point, range(COUNT)):
        numbers = {"observation/state": state, "action": np.concatenate([actions, np.zeros((1, 2), np.float32)])}
        ends = np.arange(STEPS + 1) == STEPS
        record = {f"steps/{name}": (values.reshape(-1).tolist(), "float") for name, values in numbers.items()}
        flags_of = {"is_first": np.arange(STEPS + 1) == 0, "is_last": ends, "is_terminal": ends & False}
        record |= {f"steps/{name}": (values.astype(int).tolist(), "int") for name, values in flags_of.items()}
        writer.write(record)
    writer.close()


def bags(path: Path) -> None:
    import test_data_mcap as made
    from mcap_ros2.writer import Writer

    path.mkdir()
    for number in range(COUNT):
        with (path / f"run_{number}.mcap").open("wb") as file:
            writer = Writer(file)
            joints = writer.register_msgdef("sensor_msgs/msg/JointState", made.JOINTS)
            twist = writer.register_msgdef("geometry_msgs/msg/Twist", made.TWIST)
            state, actions = point(number)
            for tick, place in enumerate(state):
                at = tick * made.SECOND // 10
                told = actions[min(tick, STEPS - 1)]
                writer.write_message("/joint_states", joints, made.joints(0.0) | {"position": place.tolist()}, at)
                writer.write_message("/cmd_vel", twist, made.twist(float(told[0])), at)
            writer.finish()


def films(path: Path) -> None:
    import test_data_video_folder as made

    for number in range(COUNT):
        made.film(path / f"run_{number}.mp4", number, STEPS + 1)
        made.table(path / f"run_{number}.csv", made.rows_of(number, STEPS + 1))


MAKERS: dict[str, Callable[[Path], object]] = {
    "hdf5": ours("hdf5"),
    "npz": ours("npz"),
    "zarr": ours("zarr"),
    "minari": ours("minari"),
    "lerobot": ours("lerobot"),
    "robomimic": robomimic,
    "d4rl": d4rl,
    "stable-worldmodel": worldmodel,
    "replay-buffer": replay_buffer,
    "rlds": rlds,
    "mcap": bags,
    "video-folder": films,
}
"""By the format's name, as it is registered."""


def make(format: str, path: Path) -> None:
    """The log of a format at a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    MAKERS[format](path)
