"""Conformance of the Reader seam: what every log format must do."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from forethought.data.experience import Experience, Reader
from forethought.data.formats import Format
from forethought.data.schema import check_episode
from forethought.errors import ContractError, DataError
from forethought.types import (
    Array,
    BoxSpace,
    DiscreteSpace,
    Episode,
    ExperienceSpec,
    Sensor,
    SensorKind,
    Space,
)


def check_reader(reader: Reader, path: Path) -> None:
    """Check a reader on a log of its format. Raises ContractError that says what it did and what it should do."""
    _require(bool(reader.name), "name is empty; give the format a name")
    _require(reader.detect(path), f"detect({path}) is False for a log of its own format")
    _check_refusals(reader)
    experience = reader.open(path)
    _require(isinstance(experience, Experience), f"open returned {type(experience).__name__}, expected an Experience")
    _check_experience(experience)


def check_format(format: Format, folder: Path) -> None:
    """Check a format that can write: round trips are lossless, appends can be continued, and the reader conforms."""
    if format.writer is None:
        raise ContractError(f"format '{format.name}' has no writer; use check_reader with a log of that format")
    for number, space in enumerate((BoxSpace((-1.0, 0.0), (1.0, 5.0)), DiscreteSpace(3))):
        spec, episodes = _example(space)
        for durable in (True, False):
            path = folder / f"log-{number}-{durable}{''.join(format.suffixes[:1])}"
            for part in (episodes[:2], episodes[2:]) if durable else (episodes,):
                writer = format.writer(path, spec, durable)
                for episode in part:
                    writer.append(episode)
                writer.close()
                writer.close()
            check_reader(format.reader(), path)
            found = format.reader().open(path)
            _require(found.spec == spec, f"the spec came back as {found.spec}, expected {spec}")
            _require(len(found) == len(episodes), f"wrote {len(episodes)} episodes, read {len(found)}")
            for wrote, read in zip(episodes, found, strict=True):
                check_same(wrote, read)


def check_same(wrote: Episode, read: Episode) -> None:
    """Two episodes are the same to the bit, dtypes included. Raises ContractError."""
    for name in ("id", "terminated", "truncated"):
        got, expected = getattr(read, name), getattr(wrote, name)
        _require(got == expected, f"{name} came back as {got!r}, expected {expected!r}")
    pairs = [("actions", wrote.actions, read.actions), ("rewards", wrote.rewards, read.rewards)]
    for kind, a, b in (("sensor", wrote.observations, read.observations), ("metadata", wrote.metadata, read.metadata)):
        _require(set(a) == set(b), f"{kind} names came back as {sorted(b)}, expected {sorted(a)}")
        pairs += [(f"{kind} '{name}'", a[name], b[name]) for name in a]
    for name, expected, got in pairs:
        if expected is None or got is None:
            _require(expected is None and got is None, f"{name}: one side is missing")
            continue
        alike = expected.dtype == got.dtype and expected.shape == got.shape and expected.tobytes() == got.tobytes()
        _require(alike, f"{name} came back different ({got.dtype} {got.shape}, expected {expected.dtype} {expected.shape})")


def _check_experience(experience: Experience) -> None:
    lengths, ids = experience.lengths(), experience.ids()
    _require(len(lengths) == len(experience) == len(ids), f"{len(experience)} episodes, {len(lengths)} lengths, {len(ids)} ids")
    _require(len(set(ids)) == len(ids), "episode ids repeat; they must differ")
    for index, episode in enumerate(experience):
        _require(episode.id == ids[index], f"episode {index} has id {episode.id!r}, ids() says {ids[index]!r}")
        _require(episode.num_steps == lengths[index], f"episode {index}: {episode.num_steps} steps, lengths() {lengths[index]}")
        try:
            check_episode(episode, experience.spec)
        except DataError as error:
            raise ContractError(f"episode {index} does not fit the spec: {error}") from error
        check_same(episode, experience.episode(index))
    try:
        experience.episode(len(experience))
    except IndexError:
        return
    raise ContractError(f"episode({len(experience)}) of {len(experience)} did not raise IndexError")


def _check_refusals(reader: Reader) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty").write_bytes(b"")
        (folder / "noise").write_bytes(bytes(range(256)) * 8)
        for path in (folder, folder / "empty", folder / "noise"):
            try:
                claimed = reader.detect(path)
            except Exception as error:
                raise ContractError(f"detect raised {type(error).__name__} for {path.name}; it must return False") from error
            _require(not claimed, f"detect claims {path.name}, which is no log")


def _example(space: Space) -> tuple[ExperienceSpec, tuple[Episode, ...]]:
    """A log with every kind of sensor, and with the shortest episode there is."""
    sensors = (
        Sensor("pixels", SensorKind.IMAGE, (4, 6, 3), "uint8"),
        Sensor("arm.state", SensorKind.VECTOR, (2,), "float64"),
        Sensor("words", SensorKind.TOKENS, (1,), "int32", 7),
    )
    generator = np.random.default_rng(0)
    episodes = []
    for index, steps in enumerate((5, 1, 0, 3)):
        discrete = isinstance(space, DiscreteSpace)
        actions: Array = generator.integers(0, 3, steps) if discrete else generator.uniform(0, 1, (steps, 2)).astype(np.float32)
        observations: dict[str, Array] = {
            "pixels": generator.integers(0, 256, (steps + 1, 4, 6, 3), dtype=np.uint8),
            "arm.state": generator.normal(size=(steps + 1, 2)),
            "words": generator.integers(0, 7, (steps + 1, 1), dtype=np.int32),
        }
        metadata: dict[str, Array] = {
            "position": generator.normal(size=(steps + 1, 2)).astype(np.float32),
            "door": np.arange(steps + 1) > 1,
        }
        rewards = generator.normal(size=steps).astype(np.float32)
        ended = bool(index % 2)
        episodes.append(Episode(f"é/{index}", observations, actions, rewards, ended, not ended, metadata))
    return ExperienceSpec(sensors, space, True, 12.5), tuple(episodes)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ContractError(message)
