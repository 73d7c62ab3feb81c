"""Formats: lossless round trips, conformance, and appends that survive a kill at any moment."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forethought.data import durable, open_log, open_writer, write_log
from forethought.data.durable import JournalledFile, journal_of, recover
from forethought.data.experience import Experience
from forethought.data.formats import detect_format, formats
from forethought.data.formats.hdf5 import Hdf5Reader, Hdf5Writer
from forethought.data.schema import spec_from_json, spec_to_json
from forethought.errors import ContractError, DataError, UsageError
from forethought.testing.reader import check_format, check_reader, check_same
from forethought.types import BoxSpace, DiscreteSpace, Episode, ExperienceSpec, Sensor, SensorKind

SPEC = ExperienceSpec((Sensor("state", SensorKind.VECTOR, (3,), "float32"),), BoxSpace((-1.0,), (1.0,)))


def episode(index: int, steps: int = 20) -> Episode:
    rng = np.random.default_rng(index)
    state = rng.normal(size=(steps + 1, 3)).astype(np.float32)
    return Episode(f"e{index}", {"state": state}, rng.uniform(-1, 1, (steps, 1)).astype(np.float32))


@pytest.mark.parametrize("format", [f for f in formats() if f.writer], ids=lambda format: format.name)
def test_every_format_conforms(format, tmp_path: Path) -> None:
    check_format(format, tmp_path)


def test_conformance_notices_a_lossy_reader() -> None:
    read = Episode("e1", {"state": episode(1).observations["state"].astype(np.float64)}, episode(1).actions)
    with pytest.raises(ContractError, match="sensor 'state' came back different"):
        check_same(episode(1), read)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"detect": lambda self, path: True}, "claims"),
        ({"detect": lambda self, path: False}, "is False for a log of its own format"),
        ({"detect": lambda self, path: path.read_bytes() != b""}, "detect raised IsADirectoryError"),
        ({"name": ""}, "name is empty"),
        ({"open": lambda self, path: 3}, "open returned int"),
        ({"open": lambda self, path: Forgetful(path)}, "lengths"),
    ],
)
def test_conformance_notices_bad_readers(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    path = write_log(tmp_path / "log.h5", [episode(0), episode(1)], SPEC)
    good = {"name": "mine", "suffixes": (), "detect": lambda self, path: Hdf5Reader().detect(path)}
    good["open"] = lambda self, path: Hdf5Reader().open(path)
    check_reader(type("Good", (), good)(), path)
    with pytest.raises(ContractError, match=words):
        check_reader(type("Bad", (), good | changes)(), path)


class Forgetful(Experience):
    """Says nothing of its last episode's length."""

    def __init__(self, path: Path) -> None:
        self._whole = open_log(path)
        self.spec = self._whole.spec

    def __len__(self) -> int:
        return len(self._whole)

    def episode(self, index: int) -> Episode:
        return self._whole.episode(index)

    def lengths(self) -> tuple[int, ...]:
        return self._whole.lengths()[:-1]


numbers = st.sampled_from(["float32", "float64", ">f4", "int16", "uint8", "bool"])


@st.composite
def logs(draw: st.DrawFn) -> tuple[ExperienceSpec, list[Episode]]:
    names = draw(st.lists(st.text("abcé. _-9", min_size=1, max_size=5).filter(lambda n: n.strip(".")), min_size=1, unique=True))
    kinds = {SensorKind.IMAGE: ("uint8",), SensorKind.VECTOR: ("float16", "float32", "float64"), SensorKind.TOKENS: ("int64",)}
    sensors = []
    for name in names[:3]:
        kind = draw(st.sampled_from(list(kinds)))
        shape = (2, 3, draw(st.integers(1, 4))) if kind is SensorKind.IMAGE else (draw(st.integers(1, 3)),)
        sensors.append(Sensor(name, kind, shape, draw(st.sampled_from(kinds[kind])), 9 * (kind is SensorKind.TOKENS)))
    bound = draw(st.floats(0.1, 1e6))
    space = draw(st.sampled_from([BoxSpace((-bound, 0.0), (bound, 1 / 3)), DiscreteSpace(4)]))
    tasks = tuple(draw(st.lists(st.text(max_size=9), max_size=2, unique=True)))
    spec = ExperienceSpec(tuple(sensors), space, draw(st.booleans()), draw(st.none() | st.floats(0.1, 100)), tasks)
    ids = draw(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), max_size=3, unique=True))
    return spec, [draw(episodes(spec, name)) for name in ids]


@st.composite
def episodes(draw: st.DrawFn, spec: ExperienceSpec, name: str) -> Episode:
    steps = draw(st.integers(0, 4))
    box = isinstance(spec.action_space, BoxSpace)
    actions = draw(hnp.arrays("float32" if box else "int64", (steps, 2) if box else (steps,)))
    observations = {s.name: draw(hnp.arrays(s.dtype, (steps + 1, *s.shape))) for s in spec.sensors}
    rewards = draw(hnp.arrays("float32", (steps,))) if spec.has_reward else None
    metadata = {"named": draw(hnp.arrays(draw(numbers), (steps + 1, 2)))} if draw(st.booleans()) else {}
    return Episode(name, observations, actions, rewards, draw(st.booleans()), draw(st.booleans()), metadata)


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".zarr"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(log=logs())
def test_round_trips_are_lossless(tmp_path: Path, suffix: str, log: tuple[ExperienceSpec, list[Episode]]) -> None:
    spec, wrote = log
    found = open_log(write_log(tmp_path / f"log{suffix}", wrote, spec, overwrite=True))
    assert found.spec == spec
    assert len(found) == len(wrote)
    assert found.ids() == tuple(one.id for one in wrote)
    for a, b in zip(wrote, found, strict=True):
        check_same(a, b)


def test_specs_written_before_there_were_tasks_are_read(tmp_path: Path) -> None:
    spec = replace(SPEC, tasks=("push the dot", "zieh den Würfel"))
    assert spec_from_json(spec_to_json(spec), tmp_path) == spec
    old = json.loads(spec_to_json(spec))
    del old["tasks"]
    assert spec_from_json(json.dumps(old), tmp_path) == SPEC


def test_same_log_same_bytes_and_formats_convert(tmp_path: Path) -> None:
    wrote = [episode(i) for i in range(3)]
    first = write_log(tmp_path / "a.npz", wrote, SPEC).read_bytes()
    assert first == write_log(tmp_path / "b.npz", open_log(write_log(tmp_path / "c.h5", wrote, SPEC))).read_bytes()


def test_episode_order_is_natural_for_hand_made_files(tmp_path: Path) -> None:
    import h5py

    write_log(tmp_path / "log.h5", [episode(i) for i in range(3)], SPEC)
    with h5py.File(tmp_path / "log.h5", "r+") as file:
        for old, new in (("000000", "run 10"), ("000001", "run 9"), ("000002", "run 1")):
            file.move(f"episodes/{old}", f"episodes/{new}")
    assert open_log(tmp_path / "log.h5").ids() == ("e2", "e1", "e0")


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".zarr"])
def test_writers_refuse_what_does_not_fit(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log{suffix}"
    writer = open_writer(path, SPEC)
    writer.append(episode(0))
    with pytest.raises(DataError, match="of this id is there already"):
        writer.append(episode(0))
    with pytest.raises(DataError, match=r"got shape \(5, 3\), expected \(21, 3\)"):
        writer.append(Episode("x", {"state": np.zeros((5, 3), np.float32)}, episode(0).actions))
    writer.append(episode(1))
    writer.close()
    assert open_log(path).ids() == ("e0", "e1")
    other = ExperienceSpec(SPEC.sensors, BoxSpace((-2.0,), (2.0,)))
    with pytest.raises(DataError, match="another spec"):
        open_writer(path, other)
    with pytest.raises(DataError, match="overwrite=True"):
        write_log(path, [], SPEC)


def test_a_log_being_written_says_so(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "log.h5", SPEC)
    writer.append(episode(0))
    for attempt in (lambda: open_log(tmp_path / "log.h5"), lambda: open_writer(tmp_path / "log.h5", SPEC)):
        with pytest.raises(DataError, match="being written by another process"):
            attempt()
    writer.close()
    assert len(open_log(tmp_path / "log.h5")) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["log.h5"]


def test_a_folder_is_written_over(tmp_path: Path) -> None:
    for count in (2, 1):
        path = write_log(tmp_path / "log.zarr", [episode(i) for i in range(count)], SPEC, overwrite=True)
        assert len(open_log(path)) == count
    assert [entry.name for entry in tmp_path.iterdir()] == ["log.zarr"]


def test_zarr_keeps_awkward_names_dtypes_and_zeros(tmp_path: Path) -> None:
    names = ("__a", "zarr.json", "%5F", "back\\slash", ".hidden", "c")
    rows = np.array([0.0, 0.0, -0.0, np.nan, 1.0] * 5)[:21]
    with np.errstate(invalid="ignore"):
        named = {name: rows.astype(d) for name, d in zip(names, ("f8", ">f8", ">i2", "?", ">f4", "f2"), strict=True)}
    wrote = replace(episode(0), metadata=named)
    check_same(wrote, open_log(write_log(tmp_path / "log.zarr", [wrote], SPEC)).episode(0))


def test_a_chunk_of_zarr_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.zarr", [episode(0)], SPEC)
    shutil.make_archive(str(tmp_path / "log.zarr"), "zip", path)
    check_reader(detect_format(tmp_path / "log.zarr.zip").reader(), tmp_path / "log.zarr.zip")
    check_same(episode(0), open_log(tmp_path / "log.zarr.zip").episode(0))
    (path / "episodes/000000/observations/state/c/0/0").unlink()
    with pytest.raises(DataError, match=r"observations/state: cannot be read \(ValueError: 0 of 1 chunks are there"):
        open_log(path).episode(0)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    for suffix in (".h5", ".npz", ".zarr"):
        with pytest.raises(DataError):
            write_log(tmp_path / f"log{suffix}", [episode(0), episode(0)], SPEC)
    with pytest.raises(UsageError, match="unknown log suffix"):
        write_log(tmp_path / "log.h55", [], SPEC)
    assert list(tmp_path.iterdir()) == []


class Crash(BaseException):
    """Stands for the kill: not an Exception, so nothing cleans up after it."""


def _crash_at(monkeypatch: pytest.MonkeyPatch, operation: int) -> None:
    """The process dies at the n-th write to disk, half of which arrives."""
    left = [operation]
    real = os.pwrite

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            real(descriptor, memoryview(data)[: len(data) // 2], offset)
            raise Crash
        return real(descriptor, data, offset)

    monkeypatch.setattr(durable.os, "pwrite", pwrite)


def test_a_crash_at_every_write_keeps_all_acknowledged_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for operation in range(200):
        path = tmp_path / f"{operation}.h5"
        writer = Hdf5Writer(path, SPEC)
        acknowledged = 0
        _crash_at(monkeypatch, operation)
        try:
            for index in range(9):  # enough for HDF5 to move its table of links
                writer.append(episode(index))
                acknowledged += 1
        except Crash:
            pass
        monkeypatch.undo()
        os.close(writer._disk._descriptor)
        os.close(writer._disk._journal)
        writer._disk._descriptor = -1
        found = open_log(path)
        assert acknowledged <= len(found) <= acknowledged + 1
        for index, one in enumerate(found):
            check_same(episode(index), one)
        again = open_writer(path, SPEC)
        assert len(again) == len(found)
        again.append(episode(99))
        again.close()
        assert open_log(path).ids()[-1] == "e99"
        if acknowledged == 9:
            break
    assert 9 < operation < 199, "the loop must have crashed at many places and ended by itself"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["write", "truncate", "commit"]), st.integers(0, 20_000), st.integers(1, 9000))))
def test_journalled_file_is_a_file(tmp_path: Path, operations: list[tuple[str, int, int]]) -> None:
    path = tmp_path / "file"
    path.unlink(missing_ok=True)
    disk = JournalledFile(path)
    try:
        model = _play(disk, path, operations)
    finally:
        disk.close()
    assert path.read_bytes() == model
    assert not journal_of(path).exists()


def _play(disk: JournalledFile, path: Path, operations: list[tuple[str, int, int]]) -> bytes:
    model = bytearray()
    for number, (kind, at, length) in enumerate([*operations, ("commit", 0, 0)]):
        if kind == "write":
            data = bytes([number % 255 + 1]) * length
            model.extend(bytes(max(0, at + length - len(model))))
            model[at : at + length] = data
            disk.seek(at)
            disk.write(memoryview(data))
        elif kind == "truncate":
            model = model[:at].ljust(at, b"\0")
            disk.truncate(at)
        else:
            disk.commit()
            assert path.read_bytes() == model
        disk.seek(0)
        assert disk.read() == model
    return bytes(model)


def test_a_torn_journal_is_ignored(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.h5", [episode(0)], SPEC)
    before = path.read_bytes()
    journal_of(path).write_bytes(b"FTJRNL01" + bytes(500))
    recover(path)
    assert path.read_bytes() == before
    assert not journal_of(path).exists()


KILLED = """
import sys
from forethought.data import open_writer
from test_data_formats import SPEC, episode
writer = open_writer(sys.argv[1], SPEC)
print(len(writer), flush=True)
for index in range(len(writer), 400):
    writer.append(episode(index, 200))
    print(index + 1, flush=True)
writer.close()
"""


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".zarr"])
def test_kill_minus_nine_at_random_moments(tmp_path: Path, suffix: str) -> None:
    path, rng = tmp_path / f"log{suffix}", random.Random(suffix)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        acknowledged = [int(line) for line in process.stdout.read().split()]
        process.stdout.close()
        process.wait()
        found = open_log(path)
        assert not acknowledged or len(found) >= acknowledged[-1]
        for index in {0, len(found) // 2, len(found) - 1} - {-1}:
            if len(found):
                check_same(episode(index, 200), found.episode(index))
    assert len(open_log(path)) > 0
