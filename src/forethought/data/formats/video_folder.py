"""Folders of videos with a table of actions beside each: `episode_0.mp4` and `episode_0.csv` (or `.parquet`) are an episode.

Several cameras are told by what their files' names add (`episode_0.top.mp4`, `episode_0_wrist.mp4`), by folders
(`top/episode_0.mp4`), or both. A row of the table is an observation: of frame 0, 1, 2, ..., or of the frame nearest to its
`timestamp`, in seconds of the video. Columns that begin with `action` are the action, `reward` and `terminated` (or `done`)
what they say, all others in one vector `state`. What the last row's action led to is not in the files: it is left out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from forethought.data.experience import Experience
from forethought.data.extras import optional
from forethought.data.formats.raw import LAST_ACTION, Steps, sensor_for, space_for, to_episode
from forethought.data.schema import check_spec, explain, natural
from forethought.data.video import Videos
from forethought.errors import DataError
from forethought.types import Array, Episode, ExperienceSpec, Sensor, SensorKind

_VIDEOS = (".mp4", ".mkv", ".mov", ".avi", ".webm")
_TABLES = (".csv", ".parquet")
_SEPARATORS = "._- "
_TOLD = ("timestamp", "reward", "terminated", "done")
_BROKEN = (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError, csv.Error)


@final
@dataclass(frozen=True)
class _Pair:
    """One episode: its table, and each camera's video."""

    table: Path
    videos: Mapping[str, Path]


@final
class VideoFolderReader:
    """Reads a folder of videos and tables."""

    name = "video-folder"

    def detect(self, path: Path) -> bool:
        """Is there a video whose name begins with a table's?"""
        return path.is_dir() and bool(_pairs(path))

    def open(self, path: Path) -> Experience:
        """Open it: reads the tables, and how large the frames are. Raises DataError."""
        return VideoFolderExperience(path)


@final
class VideoFolderExperience(Experience):
    """One episode for each table that has a video; frames are decoded when an episode is read."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._pairs, self._frames = _pairs(path), Videos()
        first = _table(self._pairs[0].table)
        self._actions, self._state = _roles(first, self._pairs[0].table)
        for pair in self._pairs:
            if set(pair.videos) != set(self._pairs[0].videos):
                got = f"cameras {sorted(pair.videos)}, the first episode has {sorted(self._pairs[0].videos)}"
                raise DataError(f"got {got}; name the videos alike, or take the episode out", pair.table)
        self._rows: list[int] = []
        space = space_for(self._all_actions(), path, "actions")
        self._has_reward = "reward" in first
        spec = ExperienceSpec(tuple(self._sensors(first)), space, self._has_reward, self._rate(first))
        self.spec = check_spec(spec, path)
        used = {*self._actions, *self._state, *_TOLD}
        self.dropped = (LAST_ACTION, *(f"the column {name}: it holds no numbers" for name in first if name not in used))

    def __len__(self) -> int:
        return len(self._pairs)

    def ids(self) -> tuple[str, ...]:
        return tuple(pair.table.stem for pair in self._pairs)

    def lengths(self) -> tuple[int, ...]:
        return tuple(rows - 1 for rows in self._rows)

    def episode(self, index: int) -> Episode:
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        pair = self._pairs[index]
        table = _table(pair.table)
        seen = {camera: self._seen(video, table, pair.table) for camera, video in pair.videos.items()}
        if self._state:
            seen["state"] = _joined(table, self._state, pair.table)
        flags = [table[name] for name in ("terminated", "done") if name in table]
        steps = Steps(
            seen,
            _joined(table, self._actions, pair.table),
            _joined(table, ("reward",), pair.table) if self._has_reward else None,
            metadata={"timestamp": table["timestamp"]} if "timestamp" in table else {},
            terminated=any(bool(np.nan_to_num(flag[-2:-1]).any()) for flag in flags if flag.dtype.kind in "biuf"),
        )
        return to_episode(pair.table.stem, steps, self.spec, pair.table, "rows")

    def _seen(self, video: Path, table: Mapping[str, Array], file: Path) -> Array:
        """The frame of each row."""
        rows, times = len(next(iter(table.values()))), self._frames.times(video)
        if "timestamp" in table:
            return self._frames.frames_at(video, _joined(table, ("timestamp",), file).astype(np.float64).reshape(-1))
        if len(times) != rows:
            got = f"{len(times)} frames in {video.name} and {rows} rows"
            raise DataError(f"got {got}; give a row for each frame, or a column 'timestamp' in seconds of the video", file)
        return self._frames.frames(video, range(rows))

    def _all_actions(self) -> Iterator[Array]:
        for pair in self._pairs:
            actions = _joined(_table(pair.table), self._actions, pair.table)
            self._rows.append(len(actions))
            yield actions

    def _sensors(self, first: Mapping[str, Array]) -> Iterator[Sensor]:
        for camera, video in self._pairs[0].videos.items():
            yield Sensor(camera, SensorKind.IMAGE, self._frames.shape(video), "uint8")
        if self._state:
            found = sensor_for("state", _joined(first, self._state, self._pairs[0].table), self._pairs[0].table)
            assert found is not None  # there is at least one number
            yield found

    def _rate(self, first: Mapping[str, Array]) -> float | None:
        """Rows a second, of the first episode."""
        times = first.get("timestamp")
        if times is None:
            times = self._frames.times(next(iter(self._pairs[0].videos.values())))
        step = float(np.median(np.diff(times.reshape(-1)))) if len(times) > 1 and times.dtype.kind in "iuf" else 0.0
        return round(1 / step, 6) if step > 0 else None


def _pairs(path: Path) -> tuple[_Pair, ...]:
    """Tables and the videos whose names begin with theirs (the longest name that fits), here and one folder down."""
    try:
        found = [*path.iterdir(), *(file for below in path.iterdir() if below.is_dir() for file in below.iterdir())]
    except OSError:
        return ()
    files = sorted((file for file in found if not file.name.startswith(".")), key=lambda file: natural(str(file)))
    tables = {file.stem: file for file in files if file.suffix.lower() in _TABLES}
    videos: dict[str, dict[str, Path]] = {}
    for file in files:
        if file.suffix.lower() in _VIDEOS and (stem := _stem(file.stem, tables)) is not None:
            folder = "" if file.parent == path else file.parent.name
            camera = ".".join(part for part in (folder, file.stem[len(stem) :].strip(_SEPARATORS)) if part)
            videos.setdefault(stem, {})[camera or "camera"] = file
    return tuple(_Pair(tables[stem], cameras) for stem, cameras in sorted(videos.items(), key=lambda item: natural(item[0])))


def _stem(name: str, tables: Mapping[str, Path]) -> str | None:
    fitting = [stem for stem in tables if name == stem or (name.startswith(stem) and name[len(stem)] in _SEPARATORS)]
    return max(fitting, key=len, default=None)


def _roles(table: Mapping[str, Array], file: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that are the action, and those that are the state."""
    numbers = [name for name, values in table.items() if values.dtype.kind in "biuf"]
    actions = tuple(name for name in numbers if name.startswith("action"))
    if not actions:
        raise DataError(f"got the columns {list(table)[:20]}, expected some that begin with 'action'; rename those", file)
    return actions, tuple(name for name in numbers if name not in actions and name not in _TOLD)


def _table(file: Path) -> dict[str, Array]:
    """Columns (rows, ...) by name. Raises DataError."""
    with _reading(file):
        if file.suffix.lower() == ".parquet":
            read = optional("pyarrow.parquet", "Tables in Parquet", "video").ParquetFile(file).read().to_pydict()
            columns = {str(name): np.asarray(values) for name, values in read.items()}
        else:
            with file.open(newline="", encoding="utf-8-sig") as text:
                names, *lines = [line for line in csv.reader(text) if line]
            short = next((row for row, line in enumerate(lines) if len(line) != len(names)), None)
            if short is not None:
                raise ValueError(f"line {short + 2} has {len(lines[short])} values, the first {len(names)}")
            columns = {name.strip(): _numbers([line[i] for line in lines]) for i, name in enumerate(names)}
    if not columns or not len(next(iter(columns.values()))):
        raise DataError("has no rows; record some, or take the file out", file)
    return columns


def _numbers(cells: list[str]) -> Array:
    """Whole numbers if all are, else floating point (an empty cell is not a number), else the text."""
    for kind in (np.int64, np.float64):
        try:
            return np.array([cell.strip() or "nan" for cell in cells]).astype(kind)
        except (ValueError, OverflowError):
            continue
    return np.array(cells)


def _joined(table: Mapping[str, Array], names: tuple[str, ...], file: Path) -> Array:
    """Columns side by side, (rows, n). Raises DataError if one is missing or holds no numbers."""
    for name in names:
        if name not in table or table[name].dtype.kind not in "biuf":
            got = "nothing" if name not in table else f"text, for example {_odd(table[name])}"
            raise DataError(f"got {got} in column '{name}', expected numbers as in the first table; mend it", file)
    return np.concatenate([table[name].reshape(len(table[name]), -1) for name in names], axis=1)


def _odd(cells: Array) -> str:
    """The first cell that is no number, and its line."""
    for line, cell in enumerate(cells.reshape(-1).tolist()):
        try:
            float(cell or 0)
        except (TypeError, ValueError):
            return f"{str(cell)[:40]!r} in line {line + 2}"
    return "lists of different lengths"


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """What csv and pyarrow raise on damaged files, as a DataError."""
    try:
        yield
    except _BROKEN as error:
        raise DataError(f"cannot be read as a table ({explain(error)}); write it again", file) from None
