"""Broken logs: each gives one error that says where and what to do, and nothing is left half-written."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from forethought.data import open_log, open_writer, write_log
from forethought.data.dataset import Dataset
from forethought.data.windows import sample_windows
from forethought.errors import DataError, ForethoughtError, UsageError
from forethought.types import BoxSpace, DiscreteSpace, Episode, ExperienceSpec, Sensor, SensorKind

SPEC = ExperienceSpec(
    (Sensor("pixels", SensorKind.IMAGE, (4, 4, 3), "uint8"), Sensor("state", SensorKind.VECTOR, (2,), "float32")),
    BoxSpace((-1.0, -1.0), (1.0, 1.0)),
    has_reward=True,
)
HERE = "episodes/000001"


def episodes(count: int = 3, steps: int = 10) -> Iterator[Episode]:
    for index in range(count):
        rng = np.random.default_rng(index)
        pixels = rng.integers(0, 256, (steps + 1, 4, 4, 3), dtype=np.uint8)
        state = rng.normal(size=(steps + 1, 2)).astype(np.float32)
        actions = rng.uniform(-1, 1, (steps, 2)).astype(np.float32)
        observations = {"pixels": pixels, "state": state}
        yield Episode(f"e{index}", observations, actions, np.zeros(steps, np.float32), metadata={"x": state[:, 0]})


def read_all(path: Path) -> None:
    """What training does first."""
    dataset = Dataset.load(open_log(path))
    sample_windows(dataset, seed=0, update=0, batch_size=4, num_frames=3, frameskip=2)


def assert_clear(error: ForethoughtError, path: Path, words: str) -> None:
    text = str(error)
    assert isinstance(error, (DataError, UsageError))
    assert str(path) in text, "the error names the file"
    assert words in text
    assert ";" in text or "See docs" in text, "the error says what to do"
    assert len(text) < 600
    assert "Traceback" not in text


# HDF5: a whole log, then one thing wrong with it.


def _replace(where: str, values: Any, **options: Any) -> Callable[[h5py.File], None]:
    def damage(file: h5py.File) -> None:
        if where in file:
            del file[where]
        file.create_dataset(where, data=values, **options)

    return damage


def _delete(where: str) -> Callable[[h5py.File], None]:
    return lambda file: file.__delitem__(where)


def _attribute(name: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.__setitem__(name, value)


def _spec(**changes: Any) -> Callable[[h5py.File], None]:
    def damage(file: h5py.File) -> None:
        file.attrs["spec"] = json.dumps(json.loads(file.attrs["spec"]) | changes)

    return damage


def _first_sensor(**changes: Any) -> Callable[[h5py.File], None]:
    def damage(file: h5py.File) -> None:
        sensors = json.loads(file.attrs["spec"])["sensors"]
        sensors[0] |= changes
        _spec(sensors=sensors)(file)

    return damage


def _both(*damages: Callable[[h5py.File], None]) -> Callable[[h5py.File], None]:
    def damage(file: h5py.File) -> None:
        for one in damages:
            one(file)

    return damage


def _nan(where: str, row: int) -> Callable[[h5py.File], None]:
    return lambda file: file[where].__setitem__(row, np.nan)


def _declared_huge(file: h5py.File) -> None:
    del file[f"{HERE}/observations/state"]
    file.create_dataset(f"{HERE}/observations/state", shape=(10**11, 2), dtype="float32", chunks=(1024, 2))


def _objects(file: h5py.File) -> None:
    del file[f"{HERE}/observations/state"]
    file.create_dataset(f"{HERE}/observations/state", data=["a", "b"], dtype=h5py.string_dtype())


STATE, ACTIONS = f"{HERE}/observations/state", f"{HERE}/actions"
HDF5 = {
    "missing sensor": (_delete(STATE), "sensor 'state' is missing; got pixels"),
    "misspelt sensor": (lambda file: file.move(STATE, STATE + "s"), "Did you mean 'state'?"),
    "wrong sensor dtype": (_replace(STATE, np.zeros((11, 2))), "got dtype float64, the spec says float32"),
    "image as float": (_replace(f"{HERE}/observations/pixels", np.zeros((11, 4, 4, 3), "f4")), "the spec says uint8"),
    "wrong sensor shape": (_replace(STATE, np.zeros((11, 3), "f4")), "got shape (11, 3), expected (11, 2)"),
    "ragged lengths": (_replace(STATE, np.zeros((9, 2), "f4")), "one row more than the 10 actions"),
    "no last observation": (_replace(STATE, np.zeros((10, 2), "f4")), "log the observation after the last action too"),
    "actions of another size": (_replace(ACTIONS, np.zeros((10, 3), "f4")), "expected floating point (T, 2)"),
    "actions without axis": (_replace(ACTIONS, np.zeros(10, "f4")), "expected floating point (T, 2)"),
    "integers as box actions": (_replace(ACTIONS, np.zeros((10, 2), "i4")), "expected floating point (T, 2)"),
    "scalar actions": (_replace(ACTIONS, 1.0), "'actions' is missing"),
    "missing actions": (_delete(ACTIONS), "'actions' is missing"),
    "missing observations": (_delete(f"{HERE}/observations"), "'observations' is missing"),
    "missing rewards": (_delete(f"{HERE}/rewards"), "got no rewards, but the spec says has_reward=True"),
    "too few rewards": (_replace(f"{HERE}/rewards", np.zeros(9, "f4")), "expected float32 (10,)"),
    "unannounced rewards": (_spec(has_reward=False), "got rewards, but the spec says has_reward=False"),
    "short metadata": (_replace(f"{HERE}/metadata/x", np.zeros(3)), "expected 11 rows"),
    "NaN in a sensor": (_nan(STATE, 4), "got nan at row 4, expected finite numbers"),
    "NaN in actions": (_nan(ACTIONS, 7), "got nan at row 7, expected finite numbers"),
    "NaN in rewards": (_nan(f"{HERE}/rewards", 2), "got nan at row 2, expected finite numbers"),
    "objects": (_objects, "a pickle, which is never loaded"),
    "strings": (_replace(STATE, np.array([b"ab", b"c"])), "got dtype |S2, expected plain numbers"),
    "records": (_replace(STATE, np.zeros(11, [("a", "f4")])), "expected plain numbers"),
    "huge declared size": (_declared_huge, "bytes declared, 0 stored"),
    "a dataset as episode": (_both(_delete(HERE), _replace(HERE, 1.0)), "expected a group with observations"),
    "a dataset as observations": (
        _both(_delete(f"{HERE}/observations"), _replace(f"{HERE}/observations", 1.0)),
        "expected a group with one dataset per name",
    ),
    "a group as sensor": (_both(_delete(STATE), lambda file: file.create_group(STATE)), "got a group, expected a dataset"),
    "a dangling link": (
        _both(_delete(STATE), lambda file: file.__setitem__(STATE, h5py.SoftLink("/nowhere"))),
        "cannot be read",
    ),
    "no episodes group": (_delete("episodes"), "the group 'episodes' is missing"),
    "zero episodes": (
        _both(_delete("episodes"), lambda file: file.create_group("episodes")),
        "the log has no episodes",
    ),
    "no version": (lambda file: file.attrs.__delitem__("version"), "the attributes ['version'] are missing"),
    "version of the future": (_attribute("version", 99), "version 99"),
    "version as text": (_attribute("version", "new"), "version new"),
    "another format": (_attribute("format", "robomimic"), "'robomimic'"),
    "spec not JSON": (_attribute("spec", "{oops"), "not JSON (line 1, column 2"),
    "spec without sensors": (_spec(sensors=[]), "no sensors"),
    "spec with an unknown field": (_spec(sensor=1), "Did you mean 'sensors'?"),
    "spec without actions": (_attribute("spec", '{"format": "forethought-log", "version": 1, "sensors": []}'), "'actions'"),
    "spec version differs": (_spec(version=2), "got schema version 2, expected 1"),
    "unknown sensor kind": (_first_sensor(kind="imagery"), "Did you mean 'image'?"),
    "unknown dtype": (_first_sensor(dtype="unit8"), "got dtype 'unit8'"),
    "image of floats in the spec": (_first_sensor(dtype="float32"), "a sensor of kind image needs uint8"),
    "image of two axes": (_first_sensor(shape=[4, 4]), "image needs (height, width, channels)"),
    "negative shape": (_first_sensor(shape=[4, -4, 3]), "all at least 1"),
    "repeated sensor names": (_first_sensor(name="state"), "repeat"),
    "sensor name with a slash": (_first_sensor(name="../state"), "expected one without '/'"),
    "tokens without vocabulary": (
        _first_sensor(kind="tokens", shape=[2], dtype="int64", vocabulary=0),
        "tokens need at least 1",
    ),
    "unbounded actions": (_spec(actions={"kind": "box", "low": [-1, -1], "high": [1, float("inf")]}), "finite low < high"),
    "bounds the wrong way": (_spec(actions={"kind": "box", "low": [1, 1], "high": [-1, -1]}), "finite low < high"),
    "bounds of two sizes": (_spec(actions={"kind": "box", "low": [-1], "high": [1, 1]}), "1 low and 2 high"),
    "no discrete actions": (_spec(actions={"kind": "discrete", "count": 0}), "expected at least 1"),
    "box actions in a discrete log": (_spec(actions={"kind": "discrete", "count": 3}), "expected integers (T,)"),
}


@pytest.mark.parametrize("name", HDF5)
def test_broken_hdf5(tmp_path: Path, name: str) -> None:
    damage, words = HDF5[name]
    path = write_log(tmp_path / "log.h5", episodes(), SPEC)
    with h5py.File(path, "r+") as file:
        damage(file)
    before = path.read_bytes()
    with pytest.raises(ForethoughtError) as caught:
        read_all(path)
    assert_clear(caught.value, path, words)
    assert caught.value.exit_code in (1, 2)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["log.h5"]


# NPZ: members of the archive replaced by others.

PREFIX = "episodes/000001/"


def _npy(values: Any, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(values), allow_pickle=allow_pickle)
    return buffer.getvalue()


_HUGE = _npy(np.zeros((11, 2), "f4")).replace(b"(11, 2), }          ", b"(99999999999, 2), } ")
NPZ: dict[str, tuple[dict[str, bytes | None], str]] = {
    "pickled objects": (
        {f"{PREFIX}observations/state": _npy(np.array([{}, 1], object), True)},
        "a pickle, which is never loaded",
    ),
    "pickled spec": ({"spec": _npy(np.array({}, object), True)}, "a pickle, which is never loaded"),
    "spec of numbers": ({"spec": _npy(np.zeros(3))}, "expected one string"),
    "spec missing": ({"spec": None}, "'spec' is missing"),
    "actions missing": ({f"{PREFIX}actions": None}, "'actions' is missing"),
    "sensor missing": ({f"{PREFIX}observations/state": None}, "sensor 'state' is missing"),
    "huge declared size": ({f"{PREFIX}observations/state": _HUGE}, "bytes declared, 88 stored"),
    "not an array": ({f"{PREFIX}observations/state": b"hello"}, "cannot be read"),
    "half an array": ({f"{PREFIX}observations/state": _npy(np.zeros((11, 2), "f4"))[:-9]}, "bytes declared"),
    "extra bytes": ({f"{PREFIX}observations/state": _npy(np.zeros((11, 2), "f4")) + b"x"}, "bytes declared"),
    "wrong shape": ({f"{PREFIX}actions": _npy(np.zeros((10, 5), "f4"))}, "expected floating point (T, 2)"),
}


def _rewrite(path: Path, changes: dict[str, bytes | None]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members |= {f"{name}.npy": data for name, data in changes.items()}  # type: ignore[dict-item]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            if data is not None:
                archive.writestr(name, data)


@pytest.mark.parametrize("name", NPZ)
def test_broken_npz(tmp_path: Path, name: str) -> None:
    changes, words = NPZ[name]
    path = write_log(tmp_path / "log.npz", episodes(), SPEC)
    _rewrite(path, changes)
    with pytest.raises(DataError) as caught:
        read_all(path)
    assert_clear(caught.value, path, words)


# Files that are no logs at all.


def _truncate(share: float, suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = write_log(folder / f"log{suffix}", episodes(), SPEC)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        return path

    return make


def _flip(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = write_log(folder / f"log{suffix}", episodes(), SPEC)
        data = bytearray(path.read_bytes())
        for at in range(len(data) // 3, len(data) // 3 + 4000):
            data[at] ^= 0x5A
        path.write_bytes(data)
        return path

    return make


def _written(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def _dangling(folder: Path) -> Path:
    (folder / "log.h5").symlink_to(folder / "gone.h5")
    return folder / "log.h5"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "log.h5")
    return folder / "log.h5"


def _folder(*names: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "log").mkdir()
        for name in names:
            (folder / "log" / name).write_bytes(b"{")
        return folder / "log"

    return make


def _broken_part(folder: Path) -> Path:
    writer = open_writer(folder / "log.npz", SPEC)
    for episode in episodes():
        writer.append(episode)
    (folder / "log.npz" / "000001.npz").write_bytes(b"PK\x03\x04 not quite")
    return folder / "log.npz"


PATHS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "does not exist": (lambda folder: folder / "log.h5", "does not exist"),
    "its folder does not exist": (lambda folder: folder / "a" / "b.h5", "does not exist"),
    "empty file": (_written("log.h5", b""), "got an empty file"),
    "not HDF5": (_written("log.h5", b"time,x,y\n1,2,3\n"), "begins with b'time,x,y'"),
    "not NPZ": (_written("log.npz", b"\x80\x04pickle"), "begins with"),
    "HDF5 signature only": (_written("log.h5", b"\x89HDF\r\n\x1a\n"), "is not a whole HDF5 file"),
    "zip signature only": (_written("log.npz", b"PK\x03\x04"), "is not a whole archive"),
    "zip of other things": (_written("log.npz", b"PK\x05\x06" + bytes(18)), "'spec' is missing"),
    "empty folder": (_folder(), "a folder that is no log"),
    "folder of other things": (_folder("a.txt", "b.csv"), "a folder that is no log"),
    "folder with a broken spec": (_folder("spec.json"), "not JSON"),
    "folder with a broken episode": (_broken_part, "is not a whole archive"),
    "dangling link": (_dangling, "is a link to"),
    "named pipe": (_pipe, "is neither a file nor a folder"),
    "HDF5 cut in half": (_truncate(0.5, ".h5"), "is not a whole HDF5 file"),
    "HDF5 without its last byte": (_truncate(0.999, ".h5"), "is not a whole HDF5 file"),
    "NPZ cut in half": (_truncate(0.5, ".npz"), "is not a whole archive"),
    "HDF5 with flipped bytes": (_flip(".h5"), ""),
    "NPZ with flipped bytes": (_flip(".npz"), ""),
}


@pytest.mark.parametrize("name", PATHS)
def test_broken_files(tmp_path: Path, name: str) -> None:
    make, words = PATHS[name]
    path = make(tmp_path)
    with pytest.raises(DataError) as caught:
        read_all(path)
    assert_clear(caught.value, path, words)


def test_somebody_elses_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(DataError) as caught:
        open_log(tmp_path / "other.h5")
    assert_clear(caught.value, tmp_path / "other.h5", "HDF5, but not our schema; see docs/data.md for how to convert")


@pytest.mark.parametrize("actions", [[0, 3], [-1, 0]])
def test_discrete_actions_outside(tmp_path: Path, actions: list[int]) -> None:
    spec = ExperienceSpec(SPEC.sensors[1:], DiscreteSpace(3))
    one = Episode("a", {"state": np.zeros((3, 2), np.float32)}, np.array(actions))
    path = write_log(tmp_path / "log.h5", [one], spec)
    with pytest.raises(DataError) as caught:
        read_all(path)
    assert_clear(caught.value, path, "expected 0 to 2")


def test_too_short_for_windows(tmp_path: Path) -> None:
    dataset = Dataset.load(open_log(write_log(tmp_path / "log.h5", episodes(), SPEC)))
    with pytest.raises(DataError, match="windows need 12 steps, the longest episode has 10; lower num_frames"):
        sample_windows(dataset, seed=0, update=0, batch_size=2, num_frames=4, frameskip=4)


# Permissions and full disks, the real ones.

WRITE = """
import resource, sys
from pathlib import Path
from test_bad_logs import SPEC, episodes
from forethought.data import open_log, open_writer, write_log
from forethought.errors import DataError
how, path, limit = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if how == "whole":
        write_log(path, episodes(400), SPEC)
    elif how == "read":
        open_log(path)
    else:
        writer = open_writer(path, SPEC)
        for episode in episodes(400):
            writer.append(episode)
            print("kept")
except DataError as error:
    print("error", error)
"""


def _child(how: str, path: Path, limit: int = 0, before: tuple[str, ...] = ()) -> tuple[int, str]:
    """Episodes kept, and the error."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [*before, sys.executable, "-c", WRITE, how, str(path), str(limit)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.stderr == ""
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    return lines.count("kept"), next((line for line in lines if line.startswith("error")), "")


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
@pytest.mark.parametrize("how", ["whole", "append"])
def test_no_space_by_limit(tmp_path: Path, suffix: str, how: str) -> None:
    path, limit = tmp_path / f"log{suffix}", 600 if (suffix, how) == (".npz", "append") else 60_000
    kept, error = _child(how, path, limit)
    assert "cannot be written (File too large)" in error
    assert str(path) in error
    left = [entry for entry in tmp_path.rglob("*") if entry.is_file() and entry.suffix != suffix]
    if how == "whole":
        assert list(tmp_path.iterdir()) == []
    elif suffix == ".h5":
        assert left == []
        assert len(open_log(path)) == kept > 3
        assert [episode.id for episode in open_log(path)] == [f"e{i}" for i in range(kept)]


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_no_space_to_begin_with(tmp_path: Path, suffix: str) -> None:
    assert "cannot be written (File too large)" in _child("append", tmp_path / f"log{suffix}", 100)[1]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB, where we may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not mount or not umount:
        pytest.skip("no mount command")
    options = ["-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here; test_no_space_by_limit covers the error path")
    yield folder
    subprocess.run([umount, "-l", str(folder)], check=True)


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_disk_full(small_disk: Path, suffix: str) -> None:
    kept, error = _child("append", small_disk / f"log{suffix}")
    assert "cannot be written (No space left on device)" in error
    found = open_log(small_disk / f"log{suffix}")
    assert [episode.id for episode in found] == [f"e{i}" for i in range(kept)]
    assert kept > 3
    _, error = _child("whole", small_disk / f"whole{suffix}")
    assert "cannot be written (No space left on device)" in error
    left = [entry for entry in small_disk.rglob("*") if entry.name.startswith(".") or "journal" in entry.name]
    assert left == []
    assert [entry.name for entry in small_disk.iterdir()] == [f"log{suffix}"]


def _as_nobody() -> tuple[str, ...]:
    """A command prefix under which permissions count: nothing for an ordinary user, another user for root."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    prefix = (setpriv or "", "--reuid=65534", "--regid=65534", "--clear-groups")
    if not setpriv or subprocess.run([*prefix, sys.executable, "-c", "import forethought"], check=False).returncode:
        pytest.skip("root reads everything, and no other user can run this Python")
    return prefix


def test_no_permission(tmp_path_factory: pytest.TempPathFactory) -> None:
    prefix = _as_nobody()
    folder = Path(tmp_path_factory.mktemp("shared"))
    for parent in (folder, *folder.parents):
        if os.stat(parent).st_uid == os.getuid() and parent != Path("/tmp"):
            parent.chmod(0o755) if "pytest" in str(parent) else None
    path = write_log(folder / "log.h5", episodes(), SPEC)
    path.chmod(0)
    assert "no permission to read it" in _child("read", path, before=prefix)[1]
    folder.chmod(0o555)
    assert "cannot be written (Permission denied)" in _child("append", folder / "new.h5", before=prefix)[1]
    assert "cannot be written (Permission denied)" in _child("whole", folder / "new.npz", before=prefix)[1]
    folder.chmod(0o755)
    assert [entry.name for entry in folder.iterdir()] == ["log.h5"]


def test_writing_where_it_cannot_go(tmp_path: Path) -> None:
    spec_less = pytest.raises(UsageError, match="without a spec; pass spec=")
    with spec_less:
        write_log(tmp_path / "log.h5", list(episodes()))
    with pytest.raises(DataError, match="its folder does not exist; create it first"):
        open_writer(tmp_path / "a" / "log.h5", SPEC)
    with pytest.raises(UsageError, match=r"unknown log suffix '.csv'; known: .h5, .hdf5, .npz"):
        open_writer(tmp_path / "log.csv", SPEC)
    with pytest.raises(UsageError, match="Did you mean 'hdf5'"):
        open_writer(tmp_path / "log", SPEC, format="hdf")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        open_writer(tmp_path / "folder.h5", SPEC)
    (tmp_path / "text.h5").write_text("not a log")
    with pytest.raises(DataError, match="cannot be continued"):
        open_writer(tmp_path / "text.h5", SPEC)
    (tmp_path / "full.npz").mkdir()
    (tmp_path / "full.npz" / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="folder with other things"):
        open_writer(tmp_path / "full.npz", SPEC)
    assert (tmp_path / "text.h5").read_text() == "not a log"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder.h5", "full.npz", "text.h5"]


def test_more_than_memory_holds(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.h5", episodes(), SPEC)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(DataError, match=r"GiB for 'sensor-0' do not fit .*; give a folder with space"):
            Dataset.load(open_log(path), folder=tmp_path / "arrays")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
