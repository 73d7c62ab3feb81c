"""ROS 2 bags, written by the MCAP packages themselves."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from forethought.data import open_log, write_log
from forethought.data.formats.mcap import McapReader
from forethought.errors import DataError, MissingExtra
from forethought.testing import check_reader
from forethought.types import SensorKind

SECOND = 10**9
RULE = "=" * 80
TIME = f"{RULE}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
HEADER = f"{RULE}\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n{TIME}"
VECTOR = f"{RULE}\nMSG: geometry_msgs/Vector3\nfloat64 x\nfloat64 y\nfloat64 z\n"
JOINTS = f"std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n{HEADER}"
SIZES = "uint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\n"
IMAGE = f"std_msgs/Header header\n{SIZES}uint8[] data\n{HEADER}"
PACKED = f"std_msgs/Header header\nstring format\nuint8[] data\n{HEADER}"
TWIST = f"geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular\n{VECTOR}"
STAMP = {"stamp": {"sec": 0, "nanosec": 0}, "frame_id": ""}


def joints(place: float) -> dict[str, object]:
    return {"header": STAMP, "name": ["a", "b"], "position": [place, -place], "velocity": [], "effort": []}


def picture(value: int, encoding: str = "bgr8") -> dict[str, object]:
    pixels = np.zeros((4, 7, 3), np.uint8)
    pixels[..., 0] = value  # blue, as the message has it
    padded = np.concatenate([pixels.reshape(4, 21), np.full((4, 3), 99, np.uint8)], 1)
    return {
        "header": STAMP, "height": 4, "width": 7, "encoding": encoding, "is_bigendian": 0, "step": 24, "data": padded.tobytes(),
    }  # fmt: skip


def twist(forward: float) -> dict[str, object]:
    return {"linear": {"x": forward, "y": 0.0, "z": 0.0}, "angular": {"x": 0.0, "y": 0.0, "z": -forward}}


def bag(path: Path, seconds: float = 2.0, text: bool = True) -> Path:
    """Joints at 50 Hz from 0.0 s, commands at 20 Hz from 0.1 s, a camera at 10 Hz from 0.05 s, each telling its own time."""
    from mcap_ros2.writer import Writer

    with path.open("wb") as file:
        writer = Writer(file)
        kinds = {
            name: writer.register_msgdef(name, definition)
            for name, definition in (
                ("sensor_msgs/msg/JointState", JOINTS), ("sensor_msgs/msg/Image", IMAGE),
                ("geometry_msgs/msg/Twist", TWIST), ("std_msgs/msg/String", "string data"),
            )
        }  # fmt: skip
        for tick in range(int(seconds * 50)):
            writer.write_message(
                "/arm/joint_states", kinds["sensor_msgs/msg/JointState"], joints(tick / 50), int(tick * SECOND / 50)
            )
        for tick in range(int(seconds * 20) - 4):
            at = 0.1 + tick / 20
            writer.write_message("/cmd_vel", kinds["geometry_msgs/msg/Twist"], twist(at), int(at * SECOND))
        for tick in range(int(seconds * 10) - 2):
            at = 0.05 + tick / 10
            writer.write_message("/camera", kinds["sensor_msgs/msg/Image"], picture(tick), int(at * SECOND))
        if text:
            writer.write_message("/talk", kinds["std_msgs/msg/String"], {"data": "hello"}, 0)
        writer.finish()
    return path


def test_messages_are_read_on_the_cameras_clock(tmp_path: Path) -> None:
    log = open_log(bag(tmp_path / "drive.mcap"))
    episode = log.episode(0)
    sensors = {sensor.name: (sensor.kind, sensor.shape) for sensor in log.spec.sensors}
    assert sensors == {"arm.joint_states": (SensorKind.VECTOR, (2,)), "camera": (SensorKind.IMAGE, (4, 7, 3))}
    assert log.spec.steps_per_second == pytest.approx(10.0)
    assert log.lengths() == (episode.num_steps,) == (16,)  # ticks at 0.1, 0.2, ... 1.75 s
    assert any("/talk" in text for text in log.dropped)
    at = 0.1 + np.arange(17) / 10
    assert np.allclose(episode.metadata["timestamp"], at - 0.1, atol=1e-6)
    assert np.allclose(episode.observations["arm.joint_states"][:, 0], at, atol=0.02)
    assert np.allclose(episode.actions[:, 0], at[:-1], atol=1e-6) and np.allclose(episode.actions[:, 5], -at[:-1], atol=1e-6)
    assert episode.observations["camera"][:, 0, 0, 2].tolist() == list(range(17))  # blue, last
    assert not episode.observations["camera"][..., :2].any()


def test_a_folder_of_bags_is_a_log(tmp_path: Path) -> None:
    folder = tmp_path / "bags"
    (folder / "run-10").mkdir(parents=True)
    bag(folder / "run-2.mcap", 3.0)
    bag(folder / "run-10" / "run-10_0.mcap", 2.0)
    check_reader(McapReader(), folder)
    experience = open_log(folder)
    assert experience.ids() == ("run-2", "run-10/run-10_0")
    copied = open_log(write_log(tmp_path / "copy.h5", experience))
    assert copied.lengths() == experience.lengths()


def test_compressed_pictures(tmp_path: Path) -> None:
    from mcap_ros2.writer import Writer
    from PIL import Image

    with (tmp_path / "log.mcap").open("wb") as file:
        writer = Writer(file)
        packed = writer.register_msgdef("sensor_msgs/msg/CompressedImage", PACKED)
        moves = writer.register_msgdef("geometry_msgs/msg/Twist", TWIST)
        for tick in range(5):
            buffer = io.BytesIO()
            Image.fromarray(np.full((8, 6, 3), 40 * tick, np.uint8)).save(buffer, "png")
            message = {"header": STAMP, "format": "png", "data": buffer.getvalue()}
            writer.write_message("/eye/compressed", packed, message, tick * SECOND)
            writer.write_message("/cmd_vel", moves, twist(0.1), tick * SECOND)
        writer.finish()
    episode = open_log(tmp_path / "log.mcap").episode(0)
    assert episode.observations["eye.compressed"][:, 0, 0, 0].tolist() == [0, 40, 80, 120, 160]


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    from mcap_ros2.writer import Writer

    with (tmp_path / "still.mcap").open("wb") as file:
        writer = Writer(file)
        kind = writer.register_msgdef("sensor_msgs/msg/JointState", JOINTS)
        writer.write_message("/arm/joint_states", kind, joints(1.0), 0)
        writer.finish()
    with pytest.raises(DataError, match="expected a sensor, and an action"):
        open_log(tmp_path / "still.mcap")
    whole = bag(tmp_path / "whole.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="copy the file again"):
        open_log(tmp_path / "cut.mcap").episode(0)


@pytest.mark.parametrize("module", ["mcap.reader", "mcap_ros2.decoder"])
def test_a_missing_extra_is_named_and_not_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    path = bag(tmp_path / "drive.mcap")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"forethought\[mcap\]"):
        open_log(path).episode(0)
