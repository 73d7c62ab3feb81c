"""Logs out of logs: split, merge, filter and subset, as commands, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import call

from forethought.data import open_log, write_log
from forethought.data.split import split_of
from forethought.data.views import slices
from forethought.errors import UsageError
from forethought.testing.reader import check_same
from forethought.types import BoxSpace, Episode, ExperienceSpec, Sensor, SensorKind

SENSORS = (Sensor("joints", SensorKind.VECTOR, (2,), "float32"), Sensor("extra", SensorKind.VECTOR, (1,), "float32"))
SPEC = ExperienceSpec(SENSORS, BoxSpace((-1.0,), (1.0,)), True)


def episode(index: int) -> Episode:
    """index + 1 steps; joints[0] goes from 0 to index / 10; the return is index; battery is NaN in episode 3."""
    rows = index + 2
    joints = np.stack([np.linspace(0, index / 10, rows), np.full(rows, index)], 1).astype(np.float32)
    rewards = np.zeros(rows - 1, np.float32)
    rewards[0] = index
    battery = np.full(rows, np.nan if index == 3 else index)
    actions = np.zeros((rows - 1, 1), np.float32)
    return Episode(
        f"e{index}", {"joints": joints, "extra": joints[:, :1]}, actions, rewards, index % 2 == 0, True, {"battery": battery}
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log.h5", [episode(i) for i in range(10)], SPEC)


@pytest.mark.parametrize(
    ("where", "every", "some"),
    [
        ("length > 8", "89", "89"),
        ("return > 7 or terminated < 1 and length <= 2", "189", "189"),
        ("joints.x < 0.5", "01234", "0123456789"),
        ("joints[0] >= 0.85", "", "9"),
        ("not joints.x < 0.5", "", "56789"),
        ("battery >= 0", "012456789", "012456789"),
        ("2 < battery < 6", "45", "45"),
    ],
)
def test_filter_keeps_what_the_predicate_is_true_of(log: Path, tmp_path: Path, where: str, every: str, some: str) -> None:
    for flags, kept in (((), every), (("--any-step",), some)):
        out = tmp_path / f"out-{len(flags)}.h5"
        command = ("data", "filter", log, out, "--where", where, *flags, "--json")
        if not kept:
            assert "none of the 10 episodes is chosen" in call(*command, code=1).said
            continue
        told = json.loads(call(*command).stdout)
        assert (told["episodes"], told["of"]) == (len(kept), 10)
        for one, index in zip(open_log(out), kept, strict=True):
            check_same(episode(int(index)), one)


def test_filter_refuses_what_it_does_not_know(log: Path, tmp_path: Path) -> None:
    said = call("data", "filter", log, tmp_path / "o.h5", "--where", "batery > 1", code=2).said
    assert "episode 'e0': unknown quantity 'batery'" in said and "Did you mean 'battery'" in said
    assert "expected" in call("data", "filter", log, tmp_path / "o.h5", "--where", "__import__('os')", code=2).said


def test_split_agrees_with_training(log: Path, tmp_path: Path) -> None:
    call("data", "split", log, tmp_path / "parts", "--fractions", "0.5,0.25,0.25")
    ids: list[str] = []
    for path in sorted((tmp_path / "parts").iterdir()):
        found = open_log(path).ids()
        assert all(split_of(name, (0.5, 0.25, 0.25)).value == path.stem for name in found)
        ids += found
    assert sorted(ids) == [f"e{i}" for i in range(10)]
    (tmp_path / "parts" / "test.h5").unlink()
    again = call("data", "split", log, tmp_path / "parts", "--fractions", "0.5,0.25,0.25").stdout
    assert again.count("whole already") == 2 and (tmp_path / "parts" / "test.h5").exists()
    assert "is there already" in call("data", "split", log, tmp_path / "parts", code=1).said
    assert "expected three numbers" in call("data", "split", log, tmp_path / "p", "--fractions", "0.5", code=2).said


def test_merge_keeps_twins_once_and_makes_ids_unique(log: Path, tmp_path: Path) -> None:
    other = [episode(0), replace(episode(5), id="e1"), replace(episode(6), id="new")]
    write_log(tmp_path / "other.npz", other, SPEC)
    told = json.loads(call("data", "merge", log, tmp_path / "other.npz", tmp_path / "all.h5", "--json").stdout)
    assert (told["episodes"], told["renamed"], told["twins"]) == (12, 1, 1)
    merged = open_log(tmp_path / "all.h5")
    assert merged.ids()[10:] == ("other/e1", "new")
    check_same(replace(episode(5), id="other/e1"), merged.episode(10))
    assert "expected at least two logs" in call("data", "merge", log, tmp_path / "x.h5", code=2).said
    bare = write_log(tmp_path / "bare.h5", [], replace(SPEC, sensors=SENSORS[:1]))
    assert "another spec" in call("data", "merge", log, bare, tmp_path / "x.h5", code=1).said


def test_subset_by_place_by_share_and_by_sensor(log: Path, tmp_path: Path) -> None:
    call("data", "subset", log, tmp_path / "a.h5", "--episodes", "0:2,8:", "--sensors", "joints")
    found = open_log(tmp_path / "a.h5")
    assert found.ids() == ("e0", "e1", "e8", "e9") and [sensor.name for sensor in found.spec.sensors] == ["joints"]
    check_same(replace(episode(8), observations={"joints": episode(8).observations["joints"]}), found.episode(2))
    picked = []
    for name, seed in (("b", 0), ("c", 0), ("d", 1)):
        call("data", "subset", log, tmp_path / f"{name}.h5", "--fraction", 0.3, "--seed", seed)
        picked.append(open_log(tmp_path / f"{name}.h5").ids())
    assert picked[0] == picked[1] != picked[2] and len(picked[0]) == 3
    assert "Did you mean 'joints'" in call("data", "subset", log, tmp_path / "e.h5", "--sensors", "joint", code=2).said
    assert "more than 0 and at most 1" in call("data", "subset", log, tmp_path / "e.h5", "--fraction", 2, code=2).said


def test_places_are_python_s() -> None:
    assert slices("0:17,18:", 20) == (*range(17), 18, 19)
    assert (slices("5", 9), slices("-1", 9), slices("::4", 9), slices("3,3:5", 9)) == ((5,), (8,), (0, 4, 8), (3, 4))
    for text in ("9", "x", "1:2:3:4", "", "1:2:0"):
        with pytest.raises(UsageError, match="expected FROM:TO"):
            slices(text, 9)
