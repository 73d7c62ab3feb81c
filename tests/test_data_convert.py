"""From one format to another: lossless, whole or not there, resumed after a kill, and larger than memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import FORETHOUGHT, call

from forethought.data import open_log, write_log
from forethought.data.convert import convert
from forethought.data.episodes import MemoryExperience
from forethought.errors import DataError, UsageError
from forethought.testing.reader import check_same
from forethought.types import BoxSpace, Episode, ExperienceSpec, Sensor, SensorKind

SENSORS = (Sensor("camera", SensorKind.IMAGE, (8, 8, 3), "uint8"), Sensor("joints", SensorKind.VECTOR, (2,), "float64"))
SPEC = ExperienceSpec(SENSORS, BoxSpace((-1.0,), (1.0,)), True, 10.0)


def episode(index: int, steps: int = 9) -> Episode:
    rng = np.random.default_rng(index)
    observations = {"camera": rng.integers(0, 256, (steps + 1, 8, 8, 3), np.uint8), "joints": rng.normal(size=(steps + 1, 2))}
    actions, rewards = rng.uniform(-1, 1, (steps, 1)).astype(np.float32), rng.normal(size=steps).astype(np.float32)
    return Episode(
        f"run/{index}", observations, actions, rewards, index % 2 == 0, False, {"position": rng.normal(size=steps + 1)}
    )


class Counted(MemoryExperience):
    """Notes which episodes are read, and dies at one of them."""

    def __init__(self, count: int, dies_at: int | None = None) -> None:
        super().__init__(SPEC, [episode(i) for i in range(count)])
        self.path, self.dies_at, self.read = Path("somewhere"), dies_at, list[int]()

    def episode(self, index: int) -> Episode:
        if index == self.dies_at:
            raise KeyboardInterrupt
        self.read.append(index)
        return super().episode(index)

    def ids(self) -> tuple[str, ...]:
        return tuple(one.id for one in self._episodes)


def same(path: Path, count: int) -> None:
    found = open_log(path)
    assert (found.spec, len(found)) == (SPEC, count)
    for index, one in enumerate(found):
        check_same(episode(index), one)


def test_there_and_back_loses_nothing(tmp_path: Path) -> None:
    write_log(tmp_path / "a.h5", [episode(i) for i in range(5)], SPEC)
    call("data", "import", tmp_path / "a.h5", tmp_path / "b.npz")
    said = call("data", "export", tmp_path / "b.npz", tmp_path / "c", "--format", "hdf5", "--json").stdout
    assert json.loads(said) == {
        "log": str(tmp_path / "c"), "format": "hdf5", "episodes": 5, "steps": 45, "resumed": 0, "dropped": [],
    }  # fmt: skip
    told = call("data", "import", tmp_path / "c", tmp_path / "d").stdout
    assert told.split("\n")[1:] == ["nothing dropped", ""] and "5 episodes, 45 steps (hdf5)" in told
    same(tmp_path / "b.npz", 5)
    same(tmp_path / "d", 5)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.h5", "b.npz", "c", "d"]


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_an_interrupted_copy_goes_on_where_it_was(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"copy{suffix}"
    with pytest.raises(KeyboardInterrupt):
        convert(Counted(6, dies_at=4), target)
    assert not target.exists()
    source, told = Counted(6), []
    done = convert(source, target, progress=lambda now, total: told.append((now, total)))
    assert (done.resumed, done.episodes, done.steps) == (4, 6, 54)
    assert source.read[:2] == [4, 5] and told == [(5, 6), (6, 6)]
    same(target, 6)
    assert list(tmp_path.iterdir()) == [target]


def test_a_copy_of_another_log_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        convert(Counted(6, dies_at=4), tmp_path / "copy.h5")
    assert convert(Counted(5), tmp_path / "copy.h5").resumed == 0
    same(tmp_path / "copy.h5", 5)
    assert list(tmp_path.iterdir()) == [tmp_path / "copy.h5"]


def test_what_the_new_log_lacks_is_told(tmp_path: Path) -> None:
    source = Counted(2)
    source.dropped = ("the file's sound track",)
    assert convert(source, tmp_path / "copy.h5").dropped == ("the file's sound track",)


def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.h5", [episode(0)], SPEC)
    assert "is there already; choose another path, or remove it" in call("data", "import", log, log, code=1).said
    assert "does not exist" in call("data", "import", tmp_path / "no.h5", tmp_path / "b.h5", code=1).said
    assert (
        "unknown log format 'hdf'; known: hdf5" in call("data", "export", log, tmp_path / "b", "--format", "hdf", code=2).said
    )
    assert "unknown log suffix" in call("data", "export", log, tmp_path / "b.xyz", code=2).said
    assert "choose another place" in call("data", "import", log, tmp_path / "no" / "b.h5", code=1).said
    with pytest.raises(UsageError):
        convert(open_log(log), tmp_path / "nameless")
    assert list(tmp_path.iterdir()) == [log]


def test_a_damaged_episode_stops_it_and_what_was_copied_is_kept(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.npz", [episode(i) for i in range(4)], SPEC)
    whole = log.read_bytes()
    at = whole.index(b"episodes/000002/observations/camera.npy") + 300
    log.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    with pytest.raises(DataError, match="000002"):
        convert(open_log(log), tmp_path / "copy.h5")
    assert not (tmp_path / "copy.h5").exists()
    log.write_bytes(whole)
    assert convert(open_log(log), tmp_path / "copy.h5").resumed == 2
    same(tmp_path / "copy.h5", 4)


@pytest.mark.lane
def test_the_command_killed_and_given_again_ends_with_the_same_log(tmp_path: Path) -> None:
    write_log(tmp_path / "a.h5", [episode(i, 200) for i in range(150)], SPEC)
    command = [*FORETHOUGHT, "data", "import", "a.h5", "b.npz", "--json"]
    killed = 0
    while True:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        grown = time.monotonic() + 20
        before = _copied(tmp_path)
        while killed < 2 and process.poll() is None and _copied(tmp_path) < before + 10 and time.monotonic() < grown:
            time.sleep(0.002)
        if killed < 2:
            process.send_signal(signal.SIGKILL)
        stdout, _ = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL and not (tmp_path / "b.npz").exists()
        killed += 1
    assert killed == 2 and json.loads(stdout)["resumed"] >= 20
    for one, other in zip(open_log(tmp_path / "a.h5"), open_log(tmp_path / "b.npz"), strict=True):
        check_same(one, other)


def _copied(folder: Path) -> int:
    return len(list(folder.glob(".b.npz.*.partial/b.npz/[!.]*.npz")))


CAPPED = """
import resource, sys
import numpy, h5py
from forethought.data import open_log
from forethought.data.convert import convert
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
done = convert(open_log(sys.argv[1]), sys.argv[2])
try:
    numpy.ones(limit, numpy.uint8)
except MemoryError:
    peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))
    print(done.steps, int(peak.split()[1]) * 1024)
"""


@pytest.mark.lane
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts all private memory against RLIMIT_DATA")
@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_a_log_four_times_as_large_as_the_memory_allowed(tmp_path: Path, suffix: str) -> None:
    limit, frames = 80 * 2**20, 40
    spec = ExperienceSpec((Sensor("camera", SensorKind.IMAGE, (128, 128, 3), "uint8"),), BoxSpace((-1.0,), (1.0,)))
    pixels = np.random.default_rng(0).integers(0, 256, (frames + 1, 128, 128, 3), np.uint8)
    actions = np.zeros((frames, 1), np.float32)
    count = -(-4 * limit // pixels.nbytes)
    log = write_log(tmp_path / "large.h5", (Episode(f"e{i}", {"camera": pixels}, actions) for i in range(count)), spec)
    assert log.stat().st_size >= 4 * limit
    command = [sys.executable, "-c", CAPPED, str(log), str(tmp_path / f"copy{suffix}"), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    steps, peak = map(int, done.stdout.split())
    assert steps == count * frames and peak < 1.5 * limit
