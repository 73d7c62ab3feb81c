"""RLDS datasets, their records written by the `tfrecord` package."""

from __future__ import annotations

import json
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutate
import numpy as np
import pytest
from tfrecord.writer import TFRecordWriter

from forethought.data import open_log
from forethought.data.formats import detect_format
from forethought.data.formats.rlds import RldsReader
from forethought.data.formats.tfrecord import decode, find_records, masked_crc, parse_example, read_record
from forethought.errors import DataError, MissingExtra
from forethought.page.png import encode_png
from forethought.testing.reader import check_reader
from forethought.types import BoxSpace, SensorKind

LENGTHS = {"train": (4, 1), "val": (3,)}  # actions an episode
SHARD = "toy-train.tfrecord-00000-of-00001"


def tensor(dtype: str, *shape: int) -> dict[str, Any]:
    dimensions = {"dimensions": [str(size) for size in shape]} if shape else {}
    return {"tensor": {"dtype": dtype, "shape": dimensions, "encoding": "none"}}


def nest(**features: Any) -> dict[str, Any]:
    return {"featuresDict": {"features": features}}


STEP = nest(
    observation=nest(
        image={"image": {"dtype": "uint8", "encodingFormat": "png", "shape": {"dimensions": ["16", "20", "3"]}}},
        state=tensor("float64", 3),
    ),
    action=nest(world=tensor("float32", 2), close=tensor("bool")),
    reward=tensor("float32"),
    discount=tensor("float32"),
    is_first=tensor("bool"),
    is_last=tensor("bool"),
    is_terminal=tensor("bool"),
    language_instruction={"text": {}},
    count=tensor("int64"),
)


def episode(actions: int, seed: int) -> dict[str, Any]:
    rows, rng = actions + 1, np.random.default_rng(seed)
    last = np.arange(rows) == actions
    return {
        "image": rng.integers(0, 256, (rows, 16, 20, 3), dtype=np.uint8),
        "state": rng.normal(size=(rows, 3)).astype(np.float32),
        "world": np.where(last[:, None], 1000, rng.uniform(-1, 1, (rows, 2))).astype(np.float32),
        "close": rng.integers(0, 2, rows),
        "reward": rng.normal(size=rows).astype(np.float32),
        "last": last,
        "count": rng.integers(-(2**62), 2**62, rows),
    }


def example(data: dict[str, Any], seed: int) -> dict[str, Any]:
    rows = len(data["last"])
    return {
        "steps/observation/image": ([encode_png(image) for image in data["image"]], "byte"),
        "steps/observation/state": (data["state"].reshape(-1).tolist(), "float"),
        "steps/action/world": (data["world"].reshape(-1).tolist(), "float"),
        "steps/action/close": (data["close"].tolist(), "int"),
        "steps/reward": (data["reward"].tolist(), "float"),
        "steps/discount": ([0.5] * rows, "float"),
        "steps/is_first": ([1] + [0] * (rows - 1), "int"),
        "steps/is_last": (data["last"].astype(int).tolist(), "int"),
        "steps/is_terminal": ((data["last"] & (seed == 0)).astype(int).tolist(), "int"),
        "steps/language_instruction": ([b"push" if seed else b"lift"] * rows, "byte"),
        "steps/count": (data["count"].tolist(), "int"),
        "episode_metadata/file_path": ([b"a"], "byte"),
    }


def dataset(folder: Path) -> Path:
    """A TFDS folder of three episodes in two splits."""
    folder.mkdir()
    features = nest(steps={"sequence": {"feature": STEP, "length": "-1"}}, episode_metadata=nest(file_path={"text": {}}))
    splits = [{"name": name, "shardLengths": [str(len(part))], "numBytes": "1"} for name, part in LENGTHS.items()]
    (folder / "features.json").write_text(json.dumps(features))
    (folder / "dataset_info.json").write_text(
        json.dumps({"name": "toy", "version": "1.0.0", "fileFormat": "tfrecord", "splits": splits})
    )
    seed = 0
    for name, lengths in LENGTHS.items():
        writer = TFRecordWriter(str(folder / f"toy-{name}.tfrecord-00000-of-00001"))
        for actions in lengths:
            writer.write(example(episode(actions, seed), seed))
            seed += 1
        writer.close()
    return folder


def test_the_log_is_what_was_written(tmp_path: Path) -> None:
    path = dataset(tmp_path / "log")
    assert detect_format(path).name == "rlds"
    check_reader(RldsReader(), path)
    log = open_log(path)
    assert log.ids() == ("train-000000", "train-000001", "val-000000") and log.lengths() == (4, 1, 3)
    assert {sensor.name: sensor.kind for sensor in log.spec.sensors} == {"image": SensorKind.IMAGE, "state": SensorKind.VECTOR}
    assert isinstance(log.spec.action_space, BoxSpace) and max(log.spec.action_space.high) <= 1, "the last step's is no action"
    assert log.spec.tasks == ("lift", "push")
    assert any("last step" in text for text in log.dropped) and any("episode_metadata" in text for text in log.dropped)
    for seed, (actions, read) in enumerate(zip((4, 1, 3), log, strict=True)):
        wrote = episode(actions, seed)
        assert np.array_equal(read.observations["image"], wrote["image"])
        assert np.array_equal(read.observations["state"], wrote["state"])
        assert np.array_equal(read.actions[:, 1:], wrote["world"][:-1]) and np.array_equal(
            read.actions[:, 0], wrote["close"][:-1]
        )
        assert read.rewards is not None and np.array_equal(read.rewards, wrote["reward"][:-1])
        assert np.array_equal(read.metadata["count"], wrote["count"]) and set(read.metadata["task_index"]) == {min(seed, 1)}
        assert (read.terminated, read.truncated) == (seed == 0, seed != 0)


@pytest.mark.parametrize(("at", "text"), [(0, "record's length"), (9, "record's length"), (200, "record's data")])
def test_a_wrong_checksum_names_file_and_record(tmp_path: Path, at: int, text: str) -> None:
    path = dataset(tmp_path / "log")
    shard = path / SHARD
    data, second = bytearray(shard.read_bytes()), find_records(shard)[1].start - 12
    data[second + at] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match=f"{SHARD}: record 1: .*{text}"):
        open_log(path)


def test_a_length_beyond_the_file_is_refused_unread(tmp_path: Path) -> None:
    length = struct.pack("<Q", 2**60)
    (tmp_path / "x").write_bytes(length + struct.pack("<I", masked_crc(length)) + b"abc")
    with pytest.raises(DataError, match="record 0: got a record of 1152921504606846976 bytes in a file of 15"):
        find_records(tmp_path / "x")


def test_damage_under_a_right_checksum_is_read_or_refused(tmp_path: Path) -> None:
    path = dataset(tmp_path / "log")
    shard, outcomes = path / SHARD, set()
    first, second = find_records(shard)
    whole, rest = read_record(first), shard.read_bytes()[second.start - 12 :]
    for seed in range(60):
        data = bytearray(whole)
        rng = random.Random(seed)
        for _ in range(3):  # half of them in the first bytes, where the lengths are
            data[rng.randrange(len(data) if seed % 2 else 200)] = rng.randrange(256)
        length = struct.pack("<Q", len(data))
        shard.write_bytes(
            length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(bytes(data))) + rest
        )
        outcomes.add(mutate.read_everything(path))
    assert "refused" in outcomes


def _edit_info(path: Path, key: str, value: Any) -> None:
    info = json.loads((path / "dataset_info.json").read_text())
    info[key] = value
    (path / "dataset_info.json").write_text(json.dumps(info))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda path: (path / SHARD).unlink(), "is the shard missing"),
        (lambda path: _edit_info(path, "splits", [{"name": "train", "shardLengths": ["3"]}]), "got 2 records, .* says 3"),
        (lambda path: _edit_info(path, "fileFormat", "array_record"), "expected 'tfrecord'"),
        (lambda path: _edit_info(path, "splits", 3), "expected a list"),
        (lambda path: _edit_info(path, "name", "../toy"), "expected one in this folder"),
        (lambda path: (path / "features.json").write_text("{}"), "is this an RLDS dataset"),
        (lambda path: (path / "features.json").write_text("{"), "cannot be read as JSON"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, damage: Callable[[Path], None], text: str) -> None:
    path = dataset(tmp_path / "log")
    damage(path)
    with pytest.raises(DataError, match=text):
        open_log(path)


def test_numbers_are_read_packed_and_unpacked(tmp_path: Path) -> None:
    packed, unpacked = bytes([0x1A, 4, 0x0A, 2, 1, 5]), bytes([0x1A, 4, 0x08, 1, 0x08, 5])
    for feature in (packed, unpacked):
        assert np.array_equal(decode(memoryview(feature)), [1, 5])
    one = struct.pack("<f", 2.5)
    for feature in (bytes([0x12, 6, 0x0A, 4]) + one, bytes([0x12, 5, 0x0D]) + one):
        assert np.array_equal(decode(memoryview(feature)), [2.5])
    shard = dataset(tmp_path / "log") / SHARD
    assert len(parse_example(read_record(find_records(shard)[0]))) == 12


def test_the_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dataset(tmp_path / "log")
    monkeypatch.setitem(sys.modules, "crc32c", None)
    with pytest.raises(MissingExtra, match="extra 'rlds'"):
        open_log(path)
