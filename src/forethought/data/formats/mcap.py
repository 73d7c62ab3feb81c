"""ROS 2 bags as MCAP, without ROS: topics become sensors, one or more command topics the action; one file is one episode.

Messages come when they like. They are read on one clock: the rate of the slowest camera, or of the commands where there is no
camera, from the first moment when every topic has spoken to the last when all still do; at each tick the latest message
counts. Which topics are actions is told by their names. Format: https://mcap.dev/spec, ROS 2 messages in CDR.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from forethought.data.experience import Experience
from forethought.data.extras import optional
from forethought.data.formats.raw import LAST_ACTION, Steps, sensor_for, space_for, to_episode
from forethought.data.schema import check_spec, explain, natural
from forethought.errors import DataError, ForethoughtError
from forethought.types import Array, Episode, ExperienceSpec

MAGIC = b"\x89MCAP0\r\n"
ACTIONS = ("action", "command", "cmd", "control")
"""A topic with one of these in its name is an action."""
_CHANNELS = {"rgb8": 3, "bgr8": 3, "mono8": 1, "rgba8": 4, "bgra8": 4}
_PICTURES = ("sensor_msgs/Image", "sensor_msgs/CompressedImage")
_LARGEST = 2**28  # bytes of one record: no honest message or chunk is larger


@final
class McapReader:
    """Reads a bag, a folder of bags, or ROS's own bag folders in a folder."""

    name = "mcap"

    def detect(self, path: Path) -> bool:
        """Does it begin as MCAP does, or is it a folder of files that do?"""
        return any(_is_bag(file) for file in _bags(path)[:1])

    def open(self, path: Path) -> Experience:
        """Open it; looks at the messages' times, and at one message of each topic. Raises DataError."""
        return McapExperience(path)


@final
@dataclass(frozen=True)
class _Bag:
    """Log times (ns, ascending) of each topic that can be used, its message type, and what was left out."""

    times: Mapping[str, NDArray[np.int64]]
    types: Mapping[str, str]
    dropped: tuple[str, ...]


@final
class McapExperience(Experience):
    """One episode for each bag; a bag is read when asked for, and only the messages that a tick needs are decoded."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._files = _bags(path)
        self._scans = [_scan(file) for file in self._files]
        first = self._scans[0]
        self._actions = tuple(sorted(topic for topic in first.times if _is_action(topic)))
        self._sensors = tuple(sorted(topic for topic in first.times if not _is_action(topic)))
        if not self._actions or not self._sensors:
            got = ", ".join(first.times) or "none"
            raise DataError(
                f"got the topics {got}, expected a sensor, and an action whose topic's name holds one of {', '.join(ACTIONS)}; "
                "rename a topic (`ros2 bag convert` remaps)",
                self._files[0],
            )
        self._ticks = [self._clock(index) for index in range(len(self._files))]
        self.dropped = (LAST_ACTION, *dict.fromkeys(text for scan in self._scans for text in scan.dropped))
        self.spec = self._spec()

    def __len__(self) -> int:
        return len(self._files)

    def ids(self) -> tuple[str, ...]:
        base = self.path.parent if self.path.is_file() else self.path
        return tuple(file.relative_to(base).with_suffix("").as_posix() for file in self._files)

    def lengths(self) -> tuple[int, ...]:
        return tuple(max(0, len(ticks) - 1) for ticks in self._ticks)

    def episode(self, index: int) -> Episode:
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        file, ticks = self._files[index], self._ticks[index]
        columns = self._columns(index, ticks, (*self._sensors, *self._actions))
        steps = Steps(
            {_name(topic): columns[topic] for topic in self._sensors},
            np.concatenate([columns[name].reshape(len(ticks), -1) for name in self._actions], 1),
            metadata={"timestamp": (ticks - ticks[0]) / 1e9},
        )
        return to_episode(self.ids()[index], steps, self.spec, file, "")

    def _clock(self, index: int) -> NDArray[np.int64]:
        """The moments (ns) of an episode's rows. Raises DataError if a topic is missing or there is no time when all speak."""
        scan, file = self._scans[index], self._files[index]
        missing = [topic for topic in (*self._sensors, *self._actions) if topic not in scan.times]
        if missing:
            raise DataError(f"the topic {missing[0]} of the first bag is missing here; record the same topics", file)
        cameras = [topic for topic in self._sensors if scan.types[topic] in _PICTURES]
        gaps = [np.diff(scan.times[topic]) for topic in cameras or self._actions if len(scan.times[topic]) > 1]
        used = [scan.times[topic] for topic in (*self._sensors, *self._actions)]
        begin, end = max(times[0] for times in used), min(times[-1] for times in used)
        step = max((float(np.median(gap)) for gap in gaps), default=0.0)
        if not step > 0 or end < begin:
            raise DataError("its topics do not speak at the same time, or only once; record them together", file)
        ticks: NDArray[np.int64] = begin + np.round(np.arange(int((end - begin) / step + 1e-6) + 1) * step).astype(np.int64)
        return ticks

    def _columns(self, index: int, ticks: NDArray[np.int64], topics: Sequence[str]) -> dict[str, Array]:
        """The rows of each topic at the ticks; a message is decoded once, however many ticks it holds for."""
        file, scan = self._files[index], self._scans[index]
        chosen = {topic: np.searchsorted(scan.times[topic], ticks, side="right") - 1 for topic in topics}
        wanted = {topic: set(rows.tolist()) for topic, rows in chosen.items()}
        found: dict[str, dict[int, Array]] = {topic: {} for topic in topics}
        for topic, number, value in _messages(file, wanted):
            found[topic][number] = value
        with _reading(file):
            return {topic: np.stack([found[topic][row] for row in chosen[topic]]) for topic in topics}

    def _spec(self) -> ExperienceSpec:
        columns = self._columns(0, self._ticks[0][:2], self._sensors)
        sensors = tuple(sensor_for(_name(topic), columns[topic], self._files[0]) for topic in self._sensors)
        every = (self._columns(index, ticks, self._actions) for index, ticks in enumerate(self._ticks))
        actions = (np.concatenate([part[topic].reshape(len(part[topic]), -1) for topic in self._actions], 1) for part in every)
        rate = 1e9 / float(np.median(np.diff(self._ticks[0]))) if len(self._ticks[0]) > 1 else None
        found = tuple(sensor for sensor in sensors if sensor is not None)
        return check_spec(ExperienceSpec(found, space_for(actions, self.path, "actions"), steps_per_second=rate), self.path)


def _bags(path: Path) -> list[Path]:
    """The files of a path, in natural order: itself, or those in a folder and in the folders in it."""
    if path.is_file():
        return [path]
    found = [*path.glob("*.mcap"), *path.glob("*/*.mcap")]
    return sorted((file for file in found if file.is_file()), key=lambda file: natural(str(file)))


def _is_bag(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC


def _name(topic: str) -> str:
    """/arm/joint_states is arm.joint_states: names of sensors hold no slash."""
    return topic.strip("/").replace("/", ".")


def _is_action(topic: str) -> bool:
    return any(word in topic.lower() for word in ACTIONS)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """What the libraries raise on damaged files, as a DataError."""
    try:
        yield
    except ForethoughtError:  # a missing extra among them
        raise
    except Exception as error:  # struct, unicode, zstandard, lz4, CDR ...: each has its own
        raise DataError(f"cannot be read as MCAP ({explain(error)}); copy the file again", file) from None


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    reader = optional("mcap.reader", "MCAP bags", "mcap")
    with _reading(file), file.open("rb") as stream:
        yield reader.SeekingReader(stream, validate_crcs=True, record_size_limit=_LARGEST)


def _scan(file: Path) -> _Bag:
    """All messages' times, without decoding any."""
    times: dict[str, list[int]] = {}
    types: dict[str, str] = {}
    dropped: dict[str, None] = {}
    with _opened(file) as reader:
        for schema, channel, message in reader.iter_messages():
            kind = _type(schema)
            if kind in _VALUES and channel.message_encoding == "cdr":
                times.setdefault(channel.topic, []).append(message.log_time)
                types[channel.topic] = kind
            else:
                dropped[f"the topic {channel.topic} ({kind or 'no schema'}): messages of this kind are not read"] = None
    return _Bag({topic: np.array(rows, np.int64) for topic, rows in sorted(times.items())}, types, tuple(dropped))


def _messages(file: Path, wanted: Mapping[str, set[int]]) -> Iterator[tuple[str, int, Array]]:
    """(topic, number within the topic, value) of the wanted messages."""
    count = dict.fromkeys(wanted, 0)
    decoders: dict[int, Any] = {}
    with _opened(file) as reader:
        for schema, channel, message in reader.iter_messages(topics=list(wanted)):
            number, count[channel.topic] = count[channel.topic], count[channel.topic] + 1
            if number in wanted[channel.topic]:
                decode = decoders.setdefault(channel.id, _decoder(schema))
                yield channel.topic, number, _VALUES[_type(schema)](decode(message.data))


def _decoder(schema: Any) -> Any:
    decoder = optional("mcap_ros2.decoder", "ROS 2 messages", "mcap")
    return decoder.DecoderFactory().decoder_for("cdr", schema)


def _type(schema: Any) -> str:
    return "" if schema is None else str(schema.name).replace("/msg/", "/")


def _numbers(values: Any) -> Array:
    return np.asarray(values, np.float64).reshape(-1)


def _twist(twist: Any) -> Array:
    return _numbers([twist.linear.x, twist.linear.y, twist.linear.z, twist.angular.x, twist.angular.y, twist.angular.z])


def _pose(pose: Any) -> Array:
    at, turn = pose.position, pose.orientation
    return _numbers([at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w])


def _image(message: Any) -> Array:
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        raise ValueError(f"image encoding '{message.encoding}', expected one of {', '.join(_CHANNELS)}")
    rows = np.frombuffer(bytes(message.data), np.uint8).reshape(message.height, message.step)
    image = rows[:, : message.width * channels].reshape(message.height, message.width, channels)
    if message.encoding.startswith("bgr"):
        image = image[..., 2::-1]
    return np.ascontiguousarray(image[..., :3])


def _compressed(message: Any) -> Array:
    with optional("PIL.Image", "compressed images", "mcap").open(io.BytesIO(bytes(message.data))) as picture:
        return np.asarray(picture.convert("RGB"))


_VALUES: dict[str, Callable[[Any], Array]] = {
    "sensor_msgs/JointState": lambda message: _numbers(message.position),
    "sensor_msgs/Image": _image,
    "sensor_msgs/CompressedImage": _compressed,
    "geometry_msgs/Twist": _twist,
    "geometry_msgs/TwistStamped": lambda message: _twist(message.twist),
    "geometry_msgs/Pose": _pose,
    "geometry_msgs/PoseStamped": lambda message: _pose(message.pose),
    "std_msgs/Float32": lambda message: _numbers([message.data]),
    "std_msgs/Float64": lambda message: _numbers([message.data]),
    "std_msgs/Float32MultiArray": lambda message: _numbers(message.data),
    "std_msgs/Float64MultiArray": lambda message: _numbers(message.data),
}
"""How a message of each type becomes one row. Another type is one line here."""
