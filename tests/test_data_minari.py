"""Minari: what its own collector recorded is read, and what we write its own loader reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from forethought.data import open_log, open_writer, write_log
from forethought.data.dataset import Dataset
from forethought.data.formats import detect_format
from forethought.errors import DataError
from forethought.testing.reader import _example, check_reader, check_same
from forethought.types import BoxSpace, DiscreteSpace

FIXTURES = Path(__file__).parent / "fixtures" / "minari"
NAME = "fixture/pointmaze-umaze-v0"


@pytest.mark.parametrize("kind", ["hdf5", "arrow"])
@pytest.mark.parametrize("below", ["", "data"])
def test_what_the_collector_recorded(kind: str, below: str) -> None:
    path = FIXTURES / kind / NAME / below
    assert detect_format(path).name == "minari"
    check_reader(detect_format(path).reader(), path)
    log = open_log(path)
    assert [(s.name, s.shape, s.dtype) for s in log.spec.sensors] == [
        ("achieved_goal", (2,), "float64"),
        ("desired_goal", (2,), "float64"),
        ("observation", (4,), "float64"),
    ]
    assert log.spec.action_space == BoxSpace((-1.0, -1.0), (1.0, 1.0))
    assert log.lengths() == (40,) * 5
    assert [one.truncated for one in log] == [True] * 5
    assert log.episode(0).metadata["success"].shape == (41,)
    assert Dataset.load(log).num_rows == 5 * 41


def test_both_kinds_hold_the_same() -> None:
    for one, other in zip(open_log(FIXTURES / "hdf5" / NAME), open_log(FIXTURES / "arrow" / NAME), strict=True):
        check_same(one, other)


@pytest.mark.parametrize("kind", ["hdf5", "arrow"])
def test_the_real_package_reads_the_same_numbers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(FIXTURES / kind))
    for ours, theirs in zip(open_log(FIXTURES / kind / NAME), minari.load_dataset(NAME), strict=True):
        assert np.array_equal(ours.actions, theirs.actions)
        for name, values in theirs.observations.items():
            assert np.array_equal(ours.observations[name], values)


@pytest.mark.parametrize("space", [BoxSpace((-1.0, 0.0), (1.0, 5.0)), DiscreteSpace(3)], ids=["box", "discrete"])
def test_the_real_package_reads_what_we_write(space: BoxSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    spec, episodes = _example(space)
    write_log(tmp_path / "mine-v0", episodes, spec, format="minari")
    loaded = minari.load_dataset("mine-v0")
    assert loaded.id == "mine-v0"
    assert (loaded.total_episodes, loaded.total_steps) == (4, 9)
    assert loaded.action_space.shape == ((2,) if isinstance(space, BoxSpace) else ())
    for wrote, read in zip(episodes, loaded, strict=True):
        assert np.array_equal(read.actions, wrote.actions)
        assert np.array_equal(read.rewards, wrote.rewards)
        assert bool(read.terminations[-1:].any()) == (wrote.terminated and wrote.num_steps > 0)
        for sensor in spec.sensors:
            values = read.observations[sensor.name]
            assert np.array_equal(values, wrote.observations[sensor.name])
            assert loaded.observation_space[sensor.name].contains(values[0])


def test_an_interrupted_export_goes_on(tmp_path: Path) -> None:
    spec, episodes = _example(DiscreteSpace(3))
    for part in (episodes[:1], episodes[1:]):
        writer = open_writer(tmp_path / "mine-v0", spec, format="minari")
        for episode in part:
            writer.append(episode)
        writer.close()
    assert json.loads((tmp_path / "mine-v0/data/metadata.json").read_text())["total_steps"] == 9
    assert open_log(tmp_path / "mine-v0").ids() == tuple(episode.id for episode in episodes)
    with pytest.raises(DataError, match="another spec"):
        open_writer(tmp_path / "mine-v0", _example(BoxSpace((0.0,) * 2, (1.0,) * 2))[0], format="minari")


def test_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    spec, episodes = _example(DiscreteSpace(3))
    with pytest.raises(DataError, match="ids must differ"):
        write_log(tmp_path / "mine-v0", [episodes[0], episodes[0]], spec, format="minari")
    assert list(tmp_path.iterdir()) == []


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "data" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"observation_space": "{oops"}, "got no space"),
        ({"observation_space": 3}, "got no space"),
        ({"observation_space": '{"type": "Graph"}'}, "not understood"),
        (
            {"observation_space": '{"type": "Box", "dtype": "float64", "shape": [99999999999]}'},
            "cannot be read|expected|missing",
        ),
        ({"action_space": '{"type": "Tuple", "low": 0, "high": 0}'}, "expected Box or Discrete"),
        ({"action_space": '{"type": "Box", "low": [2], "high": [1]}'}, "finite low < high"),
    ],
)
def test_metadata_that_lies(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    shutil.copytree(FIXTURES / "hdf5" / NAME, tmp_path / "log")
    rewrite(tmp_path / "log", **changes)
    with pytest.raises(DataError, match=words) as caught:
        Dataset.load(open_log(tmp_path / "log"))
    assert str(tmp_path) in str(caught.value)


def test_nested_spaces_texts_and_jpeg(tmp_path: Path) -> None:
    """As Minari 0.5 lays them out: groups in groups, a mission as strings, images of 32 pixels and more as JPEG."""
    import h5py
    from PIL import Image

    folder = tmp_path / "log" / "data"
    folder.mkdir(parents=True)
    box = {"type": "Box", "dtype": "float32", "shape": [2], "low": [-1, -1], "high": [1, 1]}
    image = {"type": "Box", "dtype": "uint8", "shape": [32, 32, 3], "low": 0, "high": 255}
    mission = {"type": "Text", "max_length": 9, "min_length": 1, "charset": "a"}
    start = {"type": "Discrete", "dtype": "int64", "start": 2, "n": 3}
    arm = {"type": "Dict", "subspaces": {"angle": box}}
    space = {"type": "Dict", "subspaces": {"arm": arm, "camera": image, "mission": mission, "mode": start}}
    metadata = {"observation_space": json.dumps(space), "action_space": json.dumps(start), "data_format": "hdf5"}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    with h5py.File(folder / "main_data.hdf5", "w") as file:
        for number, word in enumerate(("push", "pull")):
            group = file.create_group(f"episode_{number}")
            group["observations/arm/angle"] = np.full((4, 2), number, np.float32)
            group["observations/mode"] = np.array([2, 3, 4, 2])
            group.create_dataset("observations/mission", data=[word] * 4, dtype=h5py.string_dtype())
            frames = group.create_dataset("observations/camera", (4,), h5py.vlen_dtype(np.uint8))
            for row in range(4):
                Image.new("RGB", (32, 32), (200, 10 * row, 30)).save(tmp_path / "one.jpg")
                frames[row] = np.frombuffer((tmp_path / "one.jpg").read_bytes(), np.uint8)
            group["actions"], group["rewards"] = np.array([2, 3, 4]), np.zeros(3)
            group["terminations"], group["truncations"] = np.arange(3) == 2, np.zeros(3, bool)
    log = open_log(tmp_path / "log")
    check_reader(detect_format(tmp_path / "log").reader(), tmp_path / "log")
    assert [sensor.name for sensor in log.spec.sensors] == ["arm.angle", "camera", "mode"]
    assert (log.spec.tasks, log.spec.action_space) == (("pull", "push"), DiscreteSpace(3))
    one = log.episode(1)
    assert (one.actions.tolist(), one.observations["mode"].reshape(-1).tolist()) == ([0, 1, 2], [0, 1, 2, 0])
    assert one.metadata["task_index"].tolist() == [0] * 4 and one.terminated
    assert np.abs(one.observations["camera"][2].astype(int) - [200, 20, 30]).max() < 8
