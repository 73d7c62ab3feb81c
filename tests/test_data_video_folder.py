"""Folders of videos and tables: which file belongs to which episode and camera, which frame to which row."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from forethought.data import open_log, write_log
from forethought.data.formats.video_folder import VideoFolderReader
from forethought.data.video import Videos, VideoWriter
from forethought.errors import DataError
from forethought.testing.reader import check_reader
from forethought.types import BoxSpace, DiscreteSpace, SensorKind

SIDE = 32


def places(seed: int, rows: int) -> np.ndarray:
    """Where a square's centre is, in pixels, (rows, 2)."""
    steps = np.random.default_rng(seed).uniform(-2, 2, (rows, 2))
    return np.clip(SIDE / 2 + np.cumsum(steps, axis=0), 4, SIDE - 5).round()


def film(path: Path, seed: int, rows: int, rate: float = 10.0, colour: int = 0) -> Path:
    frames = np.full((rows, SIDE, SIDE, 3), 30, np.uint8)
    for frame, (x, y) in zip(frames, places(seed, rows).astype(int), strict=True):
        frame[y - 3 : y + 4, x - 3 : x + 4, colour] = 230
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = VideoWriter(path, SIDE, SIDE, rate)
    writer.write(frames)
    writer.close()
    return path


def table(path: Path, columns: dict[str, list[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return path
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return path


def rows_of(seed: int, rows: int) -> dict[str, list[object]]:
    where = places(seed, rows)
    moves = np.diff(where, axis=0, append=where[-1:])
    return {
        "action_x": moves[:, 0].tolist(),
        "action_y": moves[:, 1].tolist(),
        "x": where[:, 0].tolist(),
        "y": where[:, 1].tolist(),
    }


def folder(path: Path, suffix: str = ".csv") -> Path:
    for number in (0, 1, 2, 10):
        film(path / f"run_{number}.mp4", number, 12 + number)
        table(path / f"run_{number}{suffix}", rows_of(number, 12 + number))
    return path


def middles(frames: np.ndarray, colour: int = 0) -> np.ndarray:
    """Where the square is seen, (rows, 2). The codec moves its edges by up to half a pixel, machine by machine: allow one."""
    square = frames[..., colour].astype(int) - frames[..., (colour + 1) % 3] > 60
    return np.array([np.argwhere(one).mean(0)[::-1] for one in square])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_folder_of_pairs_is_a_log(tmp_path: Path, suffix: str) -> None:
    check_reader(VideoFolderReader(), folder(tmp_path / "runs", suffix))
    log = open_log(tmp_path / "runs")
    assert log.ids() == ("run_0", "run_1", "run_2", "run_10") and log.lengths() == (11, 12, 13, 21)
    assert [(s.name, s.kind, s.shape) for s in log.spec.sensors] == [
        ("camera", SensorKind.IMAGE, (SIDE, SIDE, 3)),
        ("state", SensorKind.VECTOR, (2,)),
    ]
    assert isinstance(log.spec.action_space, BoxSpace) and log.spec.steps_per_second == 10.0
    assert len(log.dropped) == 1 and "last action" in log.dropped[0]
    for episode in log:
        state = episode.observations["state"]
        assert np.abs(middles(episode.observations["camera"]) - state).max() < 1.0
        assert np.array_equal(state[:-1] + episode.actions, state[1:])
    copy = open_log(write_log(tmp_path / "copy.h5", log))
    assert copy.spec == log.spec and copy.lengths() == log.lengths()


def test_cameras_by_suffix_and_by_folder(tmp_path: Path) -> None:
    for number in (1, 11):
        table(tmp_path / f"run_{number}.csv", rows_of(number, 10))
        film(tmp_path / f"run_{number}.top.mp4", number, 10)
        film(tmp_path / f"run_{number}_side.mp4", number, 10, colour=1)
        film(tmp_path / "wrist" / f"run_{number}.mp4", number, 10, colour=2)
        film(tmp_path / "wrist" / f"run_{number}-left.mp4", number, 10, colour=2)
    log = open_log(tmp_path)
    assert {s.name for s in log.spec.sensors} == {"top", "side", "wrist", "wrist.left", "state"}
    for episode in log:
        for camera, colour in (("top", 0), ("side", 1), ("wrist", 2), ("wrist.left", 2)):
            assert np.abs(middles(episode.observations[camera], colour) - episode.observations["state"]).max() < 1.0
    (tmp_path / "wrist" / "run_11.mp4").unlink()
    with pytest.raises(DataError, match=r"run_11\.csv: got cameras .*the first episode has.*; name the videos alike"):
        open_log(tmp_path)


def test_rows_are_matched_by_time(tmp_path: Path) -> None:
    where = places(3, 21)[::2]
    film(tmp_path / "a.mp4", 3, 21)
    slower = {
        "timestamp": [0.2 * row + 0.01 for row in range(11)],
        "action": [row % 3 for row in range(11)],
        "word": ["hm"] * 11,
    }
    table(tmp_path / "actions" / "a.csv", slower)
    log = open_log(tmp_path)
    episode = log.episode(0)
    assert log.spec.action_space == DiscreteSpace(3) and log.spec.steps_per_second == 5.0
    assert np.abs(middles(episode.observations["camera"]) - where).max() < 1.0
    assert np.allclose(np.diff(episode.metadata["timestamp"]), 0.2)
    assert log.dropped[1:] == ("the column word: it holds no numbers",)
    table(tmp_path / "actions" / "a.csv", slower | {"timestamp": [0.4 * row for row in range(11)]})
    with pytest.raises(DataError, match=r"a\.mp4: got no frame within 0\.05 s of 4 s"):
        open_log(tmp_path).episode(0)


def test_rewards_and_endings(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", 3, 5)
    table(tmp_path / "a.csv", {"action": [0.5, -2, 0, 1, ""], "reward": [0, 0, 1, 2, ""], "done": [0, 0, 0, 1, ""]})
    episode = open_log(tmp_path).episode(0)
    assert episode.rewards is not None and episode.rewards.tolist() == [0, 0, 1, 2] and episode.terminated
    assert episode.actions[:, 0].tolist() == [0.5, -2, 0, 1] and open_log(tmp_path).spec.action_space == BoxSpace(
        (-2.0,), (1.0,)
    )


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    def refused(columns: dict[str, list[object]], words: str) -> None:
        table(tmp_path / "b.csv", columns)
        with pytest.raises(DataError, match=words) as caught:
            open_log(tmp_path).episode(1)
        assert str(tmp_path / "b.csv") in str(caught.value)

    for name in "ab":
        film(tmp_path / f"{name}.mp4", 3, 5)
    table(tmp_path / "a.csv", {"action": [1.5] * 4 + [2.5]})
    refused({"action": [1.5] * 4}, "got 5 frames in b.mp4 and 4 rows; give a row for each frame, or a column 'timestamp'")
    refused({"action": [1, 2, "three", 4, 5]}, "got text, for example 'three' in line 4 in column 'action'")
    refused({"move": [1] * 5}, "got nothing in column 'action'")
    refused({"action": []}, "has no rows")
    (tmp_path / "b.csv").write_text("action,x\n1,2\n3\n")
    with pytest.raises(DataError, match="line 3 has 1 values, the first 2"):
        open_log(tmp_path)
    (tmp_path / "a.csv").write_text("speed\n1\n")
    with pytest.raises(DataError, match="expected some that begin with 'action'"):
        open_log(tmp_path)


def test_what_the_encoder_loses(tmp_path: Path) -> None:
    """Pictures of edges and gradients: 3 levels of 255 in the mean at the default quality, as docs/log/data.md says."""
    y, x = np.mgrid[:64, :96]
    frames = np.stack([np.stack([(2 * x + t) % 256, 3 * y, np.where((x + t) % 40 < 20, 200, 40)], -1) for t in range(12)])
    lost = []
    for crf in (18, 40):
        writer = VideoWriter(tmp_path / f"{crf}.mp4", 64, 96, 12.5, crf=crf)
        writer.write(frames.astype(np.uint8))
        writer.close()
        lost.append(np.abs(Videos().frames(tmp_path / f"{crf}.mp4", range(12)).astype(int) - frames).mean())
    assert lost[0] < 4.0 and lost[1] > 1.3 * lost[0], lost


def test_any_frame_alone_is_the_frame_in_line(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 0, 40)
    whole, alone = Videos().frames(path, range(40)), Videos(frame_bytes=0)
    for number in np.random.default_rng(0).integers(0, 40, 25).tolist():
        assert np.array_equal(alone.frames(path, [number])[0], whole[number])
    some = [7, 7, 30, 2, 31]
    assert np.array_equal(alone.frames(path, some), whole[some])
    assert np.array_equal(Videos(decoder_bytes=0).frames_at(path, np.array([0.71, 3.04])), whole[[7, 30]])
