"""A growing log, read: every episode once, whole, in order, whoever is killed."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from forethought.cli.main import app
from forethought.data import durable, open_log, open_writer, write_log
from forethought.data.durable import journal_of
from forethought.data.follow import Follow, copy_growing
from forethought.data.formats.hdf5 import Hdf5Experience, Hdf5Writer
from forethought.data.snapshot import commit_of
from forethought.errors import DataError, UsageError
from forethought.record import Recorder
from forethought.testing.reader import check_same
from forethought.types import BoxSpace, Episode, ExperienceSpec, Sensor, SensorKind

ROOT = Path(__file__).resolve().parents[1]
SPEC = ExperienceSpec((Sensor("state", SensorKind.VECTOR, (3,), "float32"),), BoxSpace((-1.0,), (1.0,)))


def make(index: int, steps: int = 20) -> Episode:
    rng = np.random.default_rng(index)
    state = rng.normal(size=(steps + 1, 3)).astype(np.float32)
    return Episode(f"e{index}", {"state": state}, rng.uniform(-1, 1, (steps, 1)).astype(np.float32))


def ids(path: Path, **how: object) -> list[str]:
    return [episode.id for episode in Follow(path, poll=0.01, idle=0, **how)]  # type: ignore[arg-type]


def test_at_every_write_a_reader_sees_the_last_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real, seen, opened, safe = tmp_path / "log.h5", os.pwrite, set[int](), list[tuple[object, Hdf5Experience]](), [0]

    def look() -> None:
        opened.append((commit_of(path), Hdf5Experience(path)))
        for state, log in opened:
            if state == commit_of(path):  # what was opened earlier is right as long as this stays the same
                assert safe[0] <= len(log) <= safe[0] + 1
                seen.add(len(log))
                for index in range(len(log)):
                    check_same(make(index), log.episode(index))
        del opened[:-2]

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        half = real(descriptor, memoryview(data)[: len(data) // 2], offset)
        look()
        done = half + real(descriptor, memoryview(data)[half:], offset + half)
        look()
        return done

    writer = Hdf5Writer(path, SPEC)
    monkeypatch.setattr(durable.os, "pwrite", pwrite)
    for index in range(9):  # enough for HDF5 to move its table of links
        writer.append(make(index))
        safe[0] = index + 1
    monkeypatch.undo()
    writer.close()
    assert seen == set(range(10))


@pytest.mark.parametrize("suffix", ["h5", "npz"])
def test_a_recording_is_read_while_it_is_made(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log.{suffix}"
    states = [make(i).observations["state"] for i in range(30)]

    def record() -> None:
        time.sleep(0.1)  # the log is not there yet when the reader begins
        with Recorder(path, SPEC, clock=None) as recorder:
            for state in states:
                for row in state[:-1]:
                    recorder.step({"state": row}, [0.5])
                recorder.end({"state": state[-1]})

    recording = threading.Thread(target=record)
    recording.start()
    found = []
    for episode in Follow(path, poll=0.01, idle=60):  # a busy machine takes seconds to start the recorder's process
        found.append(episode)
        if len(found) == 30:
            break
    recording.join()
    assert [episode.id for episode in found] == [f"episode-{i:06d}" for i in range(30)]
    assert all((one.observations["state"] == state).all() for one, state in zip(found, states, strict=True))
    assert ids(path, start=28) == ids(path, have=[e.id for e in found[:28]]) == ["episode-000028", "episode-000029"]


@pytest.mark.parametrize("name", ["hdf5", "npz", "minari", "lerobot"])
def test_every_format_that_grows_is_followed(tmp_path: Path, name: str) -> None:
    if name == "lerobot":
        pytest.importorskip("pyarrow")
    path = tmp_path / ("grow-v0" if name in ("minari", "lerobot") else f"grow.{name}")
    following = iter(Follow(path, poll=0.01, idle=5))
    writer = open_writer(path, SPEC, format=name)
    for index in range(4):
        writer.append(make(index))
        check_same(make(index), next(following))
    writer.close()
    writer = open_writer(path, SPEC, format=name)
    writer.append(make(4))
    writer.close()
    check_same(make(4), next(following))


def test_a_folder_into_which_others_put_logs(tmp_path: Path) -> None:
    folder, told = tmp_path / "inbox", list[str]()
    folder.mkdir()
    whole = write_log(tmp_path / "whole.h5", [make(2), make(3)], SPEC)
    following = Follow(folder, poll=0.02, idle=0.2, refused=lambda error: told.append(str(error)))
    write_log(folder / "b.h5", [make(0)], SPEC)
    write_log(folder / "c.npz", [make(1)], SPEC)
    (folder / "notes.txt").write_text("no log")
    (folder / "d.h5.part").write_bytes(whole.read_bytes())
    (folder / "a.h5").write_bytes(whole.read_bytes()[:-900])  # half a copy, standing still
    found = []
    for episode in following:
        found.append(episode.id)
        if found[-1] == "c.npz/e1":
            shutil.copy(whole, folder / "a.h5")
    assert found == ["b.h5/e0", "c.npz/e1", "a.h5/e2", "a.h5/e3"]
    assert len(told) == 1 and str(folder / "a.h5") in told[0]
    assert ids(folder, have=found[:3]) == ["a.h5/e3"]
    with pytest.raises(UsageError, match="pass have=IDS"):
        ids(folder, start=1)


def test_a_log_that_cannot_be_read_is_an_error_and_a_bad_episode_is_passed_over(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.h5", [make(i) for i in range(5)], SPEC)
    data = path.read_bytes()
    path.write_bytes(data[:-500])
    with pytest.raises(DataError, match=r"log\.h5"):
        list(Follow(path, poll=0.01, idle=0.1))
    folder, told = tmp_path / "folder.npz", list[str]()
    writer = open_writer(folder, SPEC)
    for i in range(3):
        writer.append(make(i))
    writer.close()
    (folder / "000001.npz").write_bytes(b"PK\x03\x04")
    assert ids(folder, refused=lambda error: told.append(str(error))) == ["e0", "e2"]
    assert len(told) == 1 and "000001.npz" in told[0]


def test_a_copy_goes_on_where_it_was(tmp_path: Path) -> None:
    source, target = tmp_path / "log.h5", tmp_path / "copy.h5"
    writer = open_writer(source, SPEC)
    for index in range(3):
        writer.append(make(index))
    first = copy_growing(source, target, poll=0.01, idle=0.05)  # the source is still open
    writer.append(make(3))
    writer.close()
    again = copy_growing(source, target, poll=0.01, idle=0.05)
    assert (first.episodes, first.resumed, again.episodes, again.resumed) == (3, 0, 4, 3)
    for index, episode in enumerate(open_log(target)):
        check_same(make(index), episode)
    nothing = copy_growing(tmp_path / "never.h5", tmp_path / "none.h5", poll=0.01, idle=0.05)
    assert nothing.episodes == 0 and not nothing.path.exists()


def test_an_interrupted_commit_is_finished_by_whoever_opens_it_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.h5"

    def interrupted(descriptor: int, pages: dict[int, bytes], size: int) -> None:
        apply(descriptor, dict(list(pages.items())[:1]), size)
        raise KeyboardInterrupt

    apply: Callable[[int, dict[int, bytes], int], None] = durable._apply
    writer = open_writer(path, SPEC)
    for index in range(5):
        writer.append(make(index))
    monkeypatch.setattr(durable, "_apply", interrupted)
    with suppress(KeyboardInterrupt):
        writer.append(make(5))
    writer.close()
    monkeypatch.undo()
    assert journal_of(path).exists() and ids(path) == [f"e{i}" for i in range(6)]
    assert open_log(path).ids() == tuple(f"e{i}" for i in range(6)) and not journal_of(path).exists()


def test_the_command_line(tmp_path: Path) -> None:
    write_log(tmp_path / "log.npz", [make(i) for i in range(3)], SPEC)
    said = CliRunner().invoke(
        app, ["data", "import", f"{tmp_path}/log.npz", f"{tmp_path}/copy", "--follow", "--idle", "0", "--json"]
    )
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["episodes"] == 3 and len(open_log(tmp_path / "copy")) == 3
    wrong = CliRunner().invoke(app, ["data", "import", f"{tmp_path}/log.npz", f"{tmp_path}/other", "--idle", "3"])
    assert wrong.exit_code == 2 and "--follow" in wrong.output


@pytest.mark.lane
@pytest.mark.parametrize("suffix", ["h5", "npz"])
def test_recorder_and_reader_are_killed_and_nothing_is_lost(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    kill = importlib.import_module("benchmarks.follow_kill")
    found = kill.followed(tmp_path / f"log.{suffix}", tmp_path / "copy.h5", kills=3, seed=2)
    assert found.recorder_killed and found.reader_killed and found.acknowledged > 20
    assert found.copied == found.recorded >= found.acknowledged
    assert found.missing == found.repeated == found.different == 0
