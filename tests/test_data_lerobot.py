"""LeRobot data sets: one written by the real package, and a v2.1 made of it to the published layout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from forethought.data import durable, open_log, open_writer, write_log
from forethought.data.convert import convert
from forethought.data.episodes import MemoryExperience
from forethought.data.experience import Experience
from forethought.data.formats import formats
from forethought.data.formats.lerobot import LeRobotReader
from forethought.data.formats.lerobot_write import LeRobotWriter
from forethought.errors import DataError, UsageError
from forethought.testing.reader import check_format, check_reader, check_same
from forethought.types import BoxSpace, DiscreteSpace, Episode, ExperienceSpec, Sensor, SensorKind

FIXTURE = Path(__file__).parent / "fixtures" / "lerobot_v3_two_cameras"


def test_what_the_package_wrote_is_read() -> None:
    check_reader(LeRobotReader(), FIXTURE)
    log = open_log(FIXTURE)
    kinds = {sensor.name: (sensor.kind, sensor.shape) for sensor in log.spec.sensors}
    assert kinds == {
        "observation.state": (SensorKind.VECTOR, (2,)),
        "observation.images.top": (SensorKind.IMAGE, (96, 96, 3)),
        "observation.images.wrist": (SensorKind.IMAGE, (96, 96, 3)),
    }
    assert log.spec.action_space == BoxSpace((-1.0, -1.0), (1.0, 1.0)) and log.spec.steps_per_second == 10.0
    assert log.spec.tasks == ("push the dot", "pull the dot") and log.lengths() == (11, 29, 6, 24)
    assert [int(log.episode(i).metadata["task_index"][0]) for i in range(4)] == [0, 1, 0, 1]


@pytest.mark.parametrize(("camera", "colour"), [("top", 0), ("wrist", 1)])
def test_every_frame_belongs_to_its_row(camera: str, colour: int) -> None:
    for episode in open_log(FIXTURE):
        frames = episode.observations[f"observation.images.{camera}"].astype(int)
        square = frames[..., colour] - frames[..., 1 - colour] > 80
        middle = np.array([np.argwhere(frame).mean(0) + 0.5 for frame in square]) / 96
        assert np.abs(middle - np.clip(episode.observations["observation.state"], 0.08, 0.92)).max() < 0.02


def test_actions_lead_from_row_to_row() -> None:
    for episode in open_log(FIXTURE):
        place = episode.observations["observation.state"]
        assert np.allclose(np.clip(place[:-1] + episode.actions, 0, 1), place[1:], atol=1e-4)


def older(folder: Path) -> Path:
    """The same data set as v2.1 lays it out: a table and videos for each episode, JSON lines."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    from forethought.data.video import VideoWriter

    shutil.copytree(FIXTURE / "meta", folder / "meta")
    info = json.loads((folder / "meta/info.json").read_text())
    info |= {
        "codebase_version": "v2.1",
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    (folder / "meta/info.json").write_text(json.dumps(info))
    table = parquet.read_table(FIXTURE / "data/chunk-000/file-000.parquet")
    numbers = np.asarray(table["episode_index"])
    rows = []
    for index, episode in enumerate(open_log(FIXTURE)):
        place = folder / f"data/chunk-000/episode_{index:06d}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table.filter(arrow.array(numbers == index)), place)
        for camera in ("observation.images.top", "observation.images.wrist"):
            video = folder / f"videos/chunk-000/{camera}/episode_{index:06d}.mp4"
            video.parent.mkdir(parents=True, exist_ok=True)
            writer = VideoWriter(video, 96, 96, 10)
            writer.write(episode.observations[camera])
            writer.close()
        rows.append({"episode_index": index, "tasks": [], "length": int((numbers == index).sum())})
    (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = [{"task_index": i, "task": text} for i, text in enumerate(("push the dot", "pull the dot"))]
    (folder / "meta/tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tasks))
    return folder


def test_the_older_layout_holds_the_same(tmp_path: Path) -> None:
    new, old = open_log(FIXTURE), open_log(older(tmp_path / "old"))
    assert (old.spec, old.lengths(), old.ids()) == (new.spec, new.lengths(), new.ids())
    for one, other in zip(new, old, strict=True):
        assert np.array_equal(one.actions, other.actions)
        for name, values in one.observations.items():
            off = np.abs(values.astype(float) - other.observations[name].astype(float)).mean()
            assert off < (2.0 if "images" in name else 1e-9), name  # pictures were encoded twice


def test_it_converts_into_our_own_layout(tmp_path: Path) -> None:
    log = open_log(FIXTURE)
    copy = open_log(write_log(tmp_path / "copy.h5", log))
    assert copy.spec == log.spec and copy.lengths() == log.lengths()


def damaged(tmp_path: Path) -> tuple[Path, dict[str, object]]:
    folder = Path(shutil.copytree(FIXTURE, tmp_path / "set"))
    return folder, json.loads((folder / "meta/info.json").read_text())


def test_a_template_that_climbs_out_is_refused(tmp_path: Path) -> None:
    folder, info = damaged(tmp_path)
    (folder / "meta/info.json").write_text(json.dumps(info | {"data_path": "../../{chunk_index:03d}.parquet"}))
    with pytest.raises(DataError, match="out of the data set"):
        open_log(folder)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder, _ = damaged(tmp_path)
    (folder / "videos/observation.images.top/chunk-000/file-000.mp4").unlink()
    with pytest.raises(DataError, match=r"file-000\.mp4"):
        open_log(folder)
    shutil.rmtree(folder / "meta/episodes")
    with pytest.raises(DataError, match="no episodes"):
        open_log(folder)


def test_round_trips_lose_nothing(tmp_path: Path) -> None:
    check_format(next(format for format in formats() if format.name == "lerobot"), tmp_path)


def test_what_is_written_has_the_packages_shape(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    write_log(tmp_path / "set", open_log(FIXTURE), format="lerobot")
    ours, theirs = (json.loads((folder / "meta/info.json").read_text()) for folder in (tmp_path / "set", FIXTURE))
    assert set(theirs) <= set(ours) and ours["codebase_version"] == theirs["codebase_version"]
    assert ours["total_episodes"] == 4 and ours["total_frames"] == 74 and ours["fps"] == 10
    place = "meta/episodes/chunk-000/file-000.parquet"
    written, real = (parquet.read_schema(folder / place) for folder in (tmp_path / "set", FIXTURE))
    needed = [name for name in real.names if not name.startswith(("videos/", "stats/observation.images"))]
    assert set(needed) <= set(written.names)
    for name in ("observation.state", "action", "timestamp", "frame_index", "episode_index", "index", "task_index"):
        one, other = (parquet.read_schema(folder / "data/chunk-000/file-000.parquet") for folder in (tmp_path / "set", FIXTURE))
        assert one.field(name).type == other.field(name).type, name


def test_a_kill_between_any_two_files_of_an_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, make = durable.os.replace, partial(LeRobotWriter, spec=SMALL, video=True)
    for survived in range(99):
        folder, left = tmp_path / str(survived), [survived]

        def replace(source: Path, target: Path, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Crash
            real(source, target)

        monkeypatch.setattr(durable.os, "replace", replace)
        acknowledged = 0
        try:
            writer = make(folder)
            for number in range(2):
                writer.append(small(number))
                acknowledged += 1
        except Crash:
            pass
        monkeypatch.undo()
        found = len(open_log(folder)) if folder.exists() else 0
        if folder.exists():
            (folder / "meta/.info.json.7.tmp").touch()
        assert acknowledged <= found <= acknowledged + 1
        writer = make(folder)
        assert len(writer) == found
        assert {file.stem for file in (folder / "data").rglob("*.parquet")} == {f"file-{n:03d}" for n in range(found)}
        assert {file.stem for file in (folder / "videos").rglob("*.mp4")} <= {f"file-{n:03d}" for n in range(found)}
        assert not list(folder.rglob("*.tmp"))
        for number in range(found, 3):
            writer.append(small(number))
        assert open_log(folder).ids() == tuple(small(number).id for number in range(3))
        if acknowledged == 2:
            break
    assert 8 < survived < 98, "the loop must have crashed at many places and ended by itself"


def test_an_append_writes_no_more_for_a_long_log_than_for_a_short_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, real = list[int](), durable.os.replace

    def replace(source: Path, target: Path) -> None:
        sizes[-1] += Path(source).stat().st_size
        real(source, target)

    monkeypatch.setattr(durable.os, "replace", replace)
    sizes.append(0)
    writer = LeRobotWriter(tmp_path / "set", SMALL)
    for number in range(40):
        sizes.append(0)
        writer.append(small(number))
    assert max(sizes[30:]) < 1.05 * max(sizes[2:8])


def test_video_loses_what_it_says_and_no_more(tmp_path: Path) -> None:
    log = open_log(FIXTURE)
    done = convert(log, tmp_path / "set", format="lerobot", video=True)
    assert sorted(file.parent.parent.name for file in (tmp_path / "set").rglob("file-003.mp4")) == sorted(log_cameras(log))
    written = open_log(tmp_path / "set")
    assert written.spec == log.spec and written.lengths() == log.lengths()
    off = {camera: list[np.ndarray]() for camera in log_cameras(log)}
    for wrote, read in zip(log, written, strict=True):
        for camera, seen in off.items():
            seen.append(np.abs(wrote.observations[camera].astype(int) - read.observations[camera]))
        check_same(replace(wrote, observations={}), replace(read, observations={}))
    for camera, seen in off.items():
        every = np.concatenate(seen)
        assert 0 < every.mean() < 3
        said = f"'{camera}': its film is off by {every.mean():.2f} of 255 on average, {every.max()} at most"
        assert any(said in sentence for sentence in done.dropped), (said, done.dropped)


def test_video_is_for_lerobot_and_odd_or_grey_pictures_stay_png(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got video for 'npz'"):
        convert(open_log(FIXTURE), tmp_path / "log.npz", video=True)
    odd = Sensor("camera", SensorKind.IMAGE, (7, 10, 3), "uint8")
    wrote = Episode("e", {"camera": small(0).observations["camera"][:, :7]}, small(0).actions)
    done = convert(
        MemoryExperience(ExperienceSpec((odd,), DiscreteSpace(3)), [wrote]), tmp_path / "set", format="lerobot", video=True
    )
    check_same(wrote, open_log(tmp_path / "set").episode(0))
    assert done.dropped == () and not list((tmp_path / "set").rglob("*.mp4"))


def log_cameras(log: Experience) -> list[str]:
    return [sensor.name for sensor in log.spec.sensors if sensor.kind is SensorKind.IMAGE]


class Crash(BaseException):
    """Stands for the kill: not an Exception, so nothing is mended after it."""


def small(number: int) -> Episode:
    rng = np.random.default_rng(number)
    seen = {"camera": rng.integers(0, 256, (6, 8, 10, 3), dtype=np.uint8), "one": rng.normal(size=(6, 1)).astype(np.float32)}
    named = {"height": rng.normal(size=(6, 1)), "door": np.arange(6) > 2, "pose": rng.normal(size=(6, 2, 2))}
    return Episode(f"é/{number}", seen, rng.integers(0, 3, 5), rng.normal(size=5).astype(np.float32), metadata=named)


SMALL = ExperienceSpec(
    (Sensor("camera", SensorKind.IMAGE, (8, 10, 3), "uint8"), Sensor("one", SensorKind.VECTOR, (1,), "float32")),
    DiscreteSpace(3),
    has_reward=True,
    steps_per_second=12.5,
)


def test_statistics_are_of_all_episodes_and_one_number_is_a_plain_column(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    for number in range(3):  # a writer an episode: each must know what the others counted
        writer = open_writer(tmp_path / "set", SMALL, format="lerobot")
        writer.append(small(number))
        writer.close()
    for number, episode in enumerate(open_log(tmp_path / "set")):
        check_same(small(number), episode)
    stats = json.loads((tmp_path / "set/meta/stats.json").read_text())
    cameras = np.concatenate([small(n).observations["camera"] for n in range(3)]) / 255
    ones = np.concatenate([small(n).observations["one"] for n in range(3)]).astype(np.float64)
    assert stats["observation.camera"]["count"] == [18]
    for name, function in (("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)):
        assert np.allclose(stats["observation.camera"][name], function(cameras, axis=(0, 1, 2)).reshape(3, 1, 1))
        assert np.allclose(stats["observation.one"][name], function(ones))
    schema = parquet.read_schema(tmp_path / "set/data/chunk-000/file-000.parquet")
    assert [str(schema.field(name).type) for name in ("observation.one", "metadata.height", "action")] == [
        "float",
        "double",
        "int64",
    ]


THEIRS = """
import sys
import torch
lib = torch.library.Library("torchvision", "DEF")  # its wheel for another torch: compiled operators are not needed
for name in ("nms", "qnms"):
    lib.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from lerobot.datasets.lerobot_dataset import LeRobotDataset
found = LeRobotDataset("somebody/log", root=sys.argv[1])
rows = [found[i] for i in range(len(found))]
import json
print(json.dumps({
    "episodes": found.num_episodes, "fps": found.fps, "tasks": [row["task"] for row in rows],
    "lengths": list(found.meta.episodes["length"]), "statistics": sorted(found.meta.stats),
    "pictures": {k: [(row[k] * 255).round().to(torch.uint8).tolist() for row in rows] for k in found.meta.camera_keys},
    "numbers": {k: [row[k].tolist() for row in rows] for k in rows[0] if k != "task" and k not in found.meta.camera_keys},
}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("video", [False, True], ids=["png", "video"])
@pytest.mark.parametrize("which", ["two cameras", "small"])
def test_the_real_package_reads_what_we_write(tmp_path: Path, which: str, video: bool) -> None:
    python = os.environ.get("FORETHOUGHT_LEROBOT_PYTHON")
    if not python:
        pytest.skip("set FORETHOUGHT_LEROBOT_PYTHON to a python that has lerobot (v3.0 data sets: from 0.4 on)")
    log = open_log(FIXTURE) if which == "two cameras" else MemoryExperience(SMALL, [small(0), small(1)])
    folder = convert(log, tmp_path / "set", format="lerobot", video=video).path
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": ""}
    ran = subprocess.run([python, "-c", THEIRS, str(folder)], capture_output=True, text=True, env={**os.environ, **offline})
    assert ran.returncode == 0, ran.stderr[-2000:]
    theirs = json.loads(ran.stdout.splitlines()[-1])
    episodes = list(open_log(folder))  # films: as we decode them
    assert theirs["lengths"] == [episode.num_steps + 1 for episode in episodes] and theirs["episodes"] == len(episodes)
    assert theirs["fps"] == log.spec.steps_per_second
    assert set(theirs["statistics"]) == set(theirs["pictures"]) | set(theirs["numbers"])
    if log.spec.tasks:
        told = np.concatenate([episode.metadata["task_index"] for episode in episodes])
        assert theirs["tasks"] == [log.spec.tasks[index] for index in told]
    for sensor in log.spec.sensors:
        ours = np.concatenate([episode.observations[sensor.name] for episode in episodes])
        name = sensor.name if sensor.name.startswith("observation") else f"observation.{sensor.name}"
        if sensor.kind is SensorKind.IMAGE:
            off = np.abs(np.moveaxis(np.array(theirs["pictures"][name]), 1, -1) - ours.astype(int))
            assert off.max() <= (4 if video else 0), name  # one decoder, two conversions from 4:2:0
        else:
            assert np.allclose(np.array(theirs["numbers"][name]).reshape(ours.shape), ours, atol=0), name


def test_a_cache_made_of_links_is_read(tmp_path: Path) -> None:
    """As the hub's cache has it: names that are links to files elsewhere."""
    for file in sorted(path for path in FIXTURE.rglob("*") if path.is_file()):
        link = tmp_path / "snapshot" / file.relative_to(FIXTURE)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.resolve())
    assert open_log(tmp_path / "snapshot").ids() == open_log(FIXTURE).ids()
    assert len(open_log(tmp_path / "snapshot").episode(1).actions)
