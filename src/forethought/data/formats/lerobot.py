"""LeRobot data sets, v3.0 and v2.1: Parquet tables and MP4 videos, several cameras, instructions; without lerobot.

Layout read: `meta/info.json` with path templates, one row an episode (v3: Parquet with places in shared files; v2.1: JSON
lines, one file an episode), tables of T frames and T actions. What the last action led to is not recorded: it is left out.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from forethought.data.experience import Experience
from forethought.data.extras import optional
from forethought.data.formats.raw import LAST_ACTION, Steps, sensor_for, space_for, to_episode
from forethought.data.schema import check_spec, explain, spec_from_json
from forethought.data.video import Videos
from forethought.errors import DataError
from forethought.types import Array, Episode, ExperienceSpec, Sensor, SensorKind

OWN = "meta/forethought.json"
"""The spec, beside a data set that we wrote (`lerobot_write.py`)."""
OWN_COLUMN = "forethought/"
"""Begins the columns of `meta/episodes` that hold what LeRobot has no place for."""
METADATA = "metadata."
_BOOKKEEPING = {"frame_index", "episode_index", "index"}
_TAKEN = {"action", "next.reward", "next.done", "timestamp", "task_index"}
_BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError, IndexError)


@final
class LeRobotReader:
    """Reads a data set's folder."""

    name = "lerobot"

    def detect(self, path: Path) -> bool:
        """A folder with LeRobot's meta/info.json."""
        try:
            return path.is_dir() and str(_json(path / "meta/info.json").get("codebase_version", "")).startswith("v")
        except DataError:
            return False

    def open(self, path: Path) -> Experience:
        """Open it; reads what `meta` says, and no frame. Raises DataError."""
        return LeRobotExperience(path)


@final
@dataclass(frozen=True)
class _Place:
    """Where an episode lies: its number, length, its table, and for each camera a video and the second it begins at.

    `own`: what we wrote of it, if we did.
    """

    number: int
    length: int
    table: Path
    videos: Mapping[str, tuple[Path, float]]
    own: Mapping[str, Any]


@final
class LeRobotExperience(Experience):
    """Episodes of one data set; tables and frames are read when asked for. The newest table stays in memory."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._info = _json(path / "meta/info.json")
        with _reading(path / "meta/info.json"):
            self._features = {str(name): dict(feature) for name, feature in self._info["features"].items()}
            self._videos = tuple(name for name, feature in self._features.items() if feature["dtype"] == "video")
            self._third = int(str(self._info["codebase_version"]).strip("v").split(".")[0]) >= 3
            rate = float(self._info["fps"])
        self._frames = Videos()
        self._table: tuple[Path, dict[str, Array]] = (Path(), {})
        self._places = self._v3() if self._third else self._v2()
        if not self._places and not (path / OWN).exists():
            raise DataError("holds no episodes; record some", path)
        self._tasks = _tasks(path, self._third)
        self._own = _json(path / OWN) if (path / OWN).exists() else None
        with _reading(path / OWN):
            own_spec = spec_from_json(str(self._own["spec"]), path / OWN) if self._own is not None else None
        self.spec = own_spec or check_spec(self._spec(rate), path)
        self._numbers = {sensor.name for sensor in self.spec.sensors} | _TAKEN
        kept = set(self._columns()) | set(self._videos) | _BOOKKEEPING
        self.dropped = (
            *((LAST_ACTION,) if self._own is None else self._off()),
            *(f"the feature {name}: it holds no numbers" for name in self._features if name not in kept),
        )

    def __len__(self) -> int:
        return len(self._places)

    def ids(self) -> tuple[str, ...]:
        if self._own is None:
            return tuple(f"episode-{place.number:06d}" for place in self._places)
        with _reading(self.path / "meta/episodes"):
            return tuple(str(place.own["id"]) for place in self._places)

    def lengths(self) -> tuple[int, ...]:
        return tuple(max(0, place.length - 1) for place in self._places)

    def episode(self, index: int) -> Episode:
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        place = self._places[index]
        rows = self._rows(place)
        films = {camera: self._film(place, camera, rows) for camera in self._videos}
        if self._own is not None:
            return self._as_written(index, rows | films)
        seen = {name: rows[name] for name in self._columns() if name in self._numbers and name not in _TAKEN} | films
        metadata = {name: rows[name] for name in self._columns() if name not in seen and name not in ("action", "next.reward")}
        done = "next.done" in rows and bool(rows["next.done"][-2:-1].any())  # of the last step that is kept
        steps = Steps(seen, rows["action"], rows.get("next.reward"), metadata=metadata, terminated=done)
        return to_episode(self.ids()[index], steps, self.spec, place.table, f"episode {place.number}")

    def _film(self, place: _Place, camera: str, rows: Mapping[str, Array]) -> Array:
        file, begin = place.videos[camera]
        return self._frames.frames_at(file, begin + _of(rows, "timestamp", place.table).astype(np.float64))

    def _as_written(self, index: int, rows: Mapping[str, Array]) -> Episode:
        """An episode that we wrote: to the bit, films aside."""
        place = self._places[index]
        with _reading(self.path / "meta/episodes"):
            terminated, truncated = bool(place.own["terminated"]), bool(place.own["truncated"])
            of_one, told = list(place.own["of_one"]), bool(place.own["tasks_told"])
        seen = {s.name: _of(rows, feature_of(s.name), place.table) for s in self.spec.sensors}
        metadata = {name.removeprefix(METADATA): values for name, values in rows.items() if name.startswith(METADATA)}
        metadata |= {name: metadata[name].reshape(-1, 1) for name in of_one if name in metadata}
        if told:
            metadata["task_index"] = _of(rows, "task_index", place.table)
        steps = Steps(seen, _of(rows, "action", place.table), rows.get("next.reward"), metadata=metadata, terminated=terminated)
        episode = to_episode(self.ids()[index], steps, self.spec, place.table, f"episode {place.number}")
        return replace(episode, truncated=truncated)

    def _off(self) -> Iterator[str]:
        """How far films are from the pixels that were logged."""
        weights = [place.length for place in self._places]
        for camera in self._videos if self._places else ():
            with _reading(self.path / "meta/episodes"):
                means, most = np.array([place.own[f"off/{camera}"] for place in self._places], np.float64).T
                mean = float(np.average(means, weights=weights))
            yield f"some of the pixels of '{camera}': its film is off by {mean:.2f} of 255 on average, {most.max():.0f} at most"

    def _columns(self) -> tuple[str, ...]:
        """Features that are columns of numbers or pictures in the tables."""
        return tuple(
            name
            for name, feature in self._features.items()
            if feature["dtype"] not in ("video", "string") and name not in _BOOKKEEPING
        )

    def _spec(self, rate: float) -> ExperienceSpec:
        rows = self._rows(self._places[0])
        if "action" not in rows or "timestamp" not in rows:
            raise DataError("got no 'action' or no 'timestamp'; LeRobot data sets have both", self._places[0].table)
        sensors: list[Sensor] = []
        for name in self._columns():
            if name.startswith("observation") and (found := sensor_for(name, rows[name][:16], self._places[0].table)):
                sensors.append(found)
        for camera in self._videos:
            sensors.append(Sensor(camera, SensorKind.IMAGE, self._frames.shape(self._places[0].videos[camera][0]), "uint8"))
        bounds = _bounds(self.path / "meta/stats.json") if self._third else None
        space = space_for(bounds or [self._rows(place)["action"] for place in self._places], self.path, "action")
        return ExperienceSpec(tuple(sensors), space, "next.reward" in rows, rate, self._tasks)

    def _rows(self, place: _Place) -> dict[str, Array]:
        """An episode's columns. Raises DataError if the table has not as many rows as `meta` says."""
        if self._table[0] != place.table:
            parquet = optional("pyarrow.parquet", "LeRobot data sets", "lerobot")
            names = [*self._columns(), "episode_index"]
            with _reading(place.table):
                opened = parquet.ParquetFile(place.table)
                there = set(opened.schema_arrow.names)
                read = opened.read(columns=[name for name in names if name in there])
                self._table = (place.table, {name: _array(read.column(name)) for name in read.column_names})
        columns = self._table[1]
        with _reading(place.table, f"episode {place.number}"):
            chosen = np.flatnonzero(columns["episode_index"].reshape(-1) == place.number)
            rows = {name: values[chosen] for name, values in columns.items() if name != "episode_index"}
            rows = {name: _pictures(values) if values.dtype == object else values for name, values in rows.items()}
        if len(chosen) != place.length:
            got = f"{len(chosen)} rows of episode {place.number}, meta says {place.length}"
            raise DataError(f"got {got}; the download may be incomplete, fetch it again", place.table)
        return rows

    def _v3(self) -> tuple[_Place, ...]:
        parquet = optional("pyarrow.parquet", "LeRobot data sets", "lerobot")
        places: list[_Place] = []
        for file in sorted((self.path / "meta/episodes").rglob("*.parquet")):
            with _reading(file):
                opened = parquet.ParquetFile(file)
                wanted = [name for name in opened.schema_arrow.names if not name.startswith("stats/") and name != "tasks"]
                rows = opened.read(columns=wanted).to_pylist()
                places += [self._place(row) for row in rows]
        return tuple(sorted(places, key=lambda place: place.number))

    def _place(self, row: Mapping[str, Any]) -> _Place:
        table = self._file("data_path", {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]})
        videos = {}
        for camera in self._videos:
            at = {part: row[f"videos/{camera}/{part}"] for part in ("chunk_index", "file_index")}
            videos[camera] = (
                self._file("video_path", {**at, "video_key": camera}),
                float(row[f"videos/{camera}/from_timestamp"]),
            )
        own = {name.removeprefix(OWN_COLUMN): value for name, value in row.items() if name.startswith(OWN_COLUMN)}
        return _Place(int(row["episode_index"]), int(row["length"]), table, videos, own)

    def _v2(self) -> tuple[_Place, ...]:
        file, places = self.path / "meta/episodes.jsonl", []
        with _reading(file):
            chunks = int(self._info["chunks_size"])
            for row in _lines(file):
                number = int(row["episode_index"])
                at = {"episode_index": number, "episode_chunk": number // chunks}
                videos = {camera: (self._file("video_path", {**at, "video_key": camera}), 0.0) for camera in self._videos}
                places.append(_Place(number, int(row["length"]), self._file("data_path", at), videos, {}))
        return tuple(places)

    def _file(self, template: str, values: Mapping[str, Any]) -> Path:
        """A file inside the data set. Raises DataError for a template that leads out of it."""

        def filled(found: re.Match[str]) -> str:
            value = values[found[1]]
            return f"{int(value):0{found[2]}d}" if found[2] else str(value)

        text = re.sub(r"\{(\w+)(?::0?(\d+)d)?\}", filled, str(self._info[template]))
        file = self.path / text
        if not Path(os.path.normpath(file)).is_relative_to(os.path.normpath(self.path)):  # links may: caches are made of them
            raise DataError(f"{template} leads to '{text}', out of the data set; correct it", self.path / "meta/info.json")
        return file


def feature_of(sensor: str) -> str:
    """LeRobot's name of a sensor: it wants `observation` in front."""
    return sensor if sensor.startswith("observation") else f"observation.{sensor}"


def _of(rows: Mapping[str, Array], name: str, file: Path) -> Array:
    if name not in rows:
        raise DataError(f"the column '{name}' is missing; write it again", file)
    return rows[name]


def _json(path: Path) -> dict[str, Any]:
    with _reading(path):
        found = json.loads(path.read_text(encoding="utf-8"))
        return dict(found)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield dict(json.loads(line))


def _tasks(path: Path, third: bool) -> tuple[str, ...]:
    """The instructions, by task_index."""
    file = path / ("meta/tasks.parquet" if third else "meta/tasks.jsonl")
    if not file.exists():
        return ()
    with _reading(file):
        if third:
            columns = optional("pyarrow.parquet", "LeRobot data sets", "lerobot").read_table(file).to_pydict()
            (texts,) = (values for name, values in columns.items() if name != "task_index")
            numbered = dict(zip(columns["task_index"], texts, strict=True))
        else:
            numbered = {row["task_index"]: row["task"] for row in _lines(file)}
        if sorted(numbered) != list(range(len(numbered))):
            raise ValueError(f"task numbers {sorted(numbered)[:5]} ..., expected 0, 1, 2, ...")
        return tuple(str(numbered[number]) for number in range(len(numbered)))


def _bounds(stats: Path) -> Sequence[Array] | None:
    """The smallest and the largest action, if the statistics say so: all tables need not be read to know them."""
    if not stats.exists():
        return None
    with _reading(stats):
        action = json.loads(stats.read_text(encoding="utf-8"))["action"]
        return [np.asarray([action[part]], np.float64) for part in ("min", "max")]


def _array(column: Any) -> Array:
    """A column (rows, ...): numbers, or objects of picture bytes."""
    kind = column.type
    flat = column.combine_chunks()
    shape: list[int] = [len(column)]
    while hasattr(kind, "list_size") or hasattr(kind, "value_field"):
        width = kind.list_size if getattr(kind, "list_size", -1) >= 0 else _width(flat)
        shape.append(int(width))
        flat, kind = flat.flatten(), kind.value_type
    if str(kind).startswith(("struct", "extension")):
        return np.array([row["bytes"] for row in flat.to_pylist()], dtype=object)
    values: NDArray[Any] = flat.to_numpy(zero_copy_only=False)
    return values.reshape(shape)


def _width(lists: Any) -> int:
    lengths = set(lists.value_lengths().to_pylist())
    if len(lengths) > 1 or None in lengths:
        raise ValueError(f"rows of {sorted(map(str, lengths))} numbers, expected as many in each")
    return int(lengths.pop()) if lengths else 0


def _pictures(encoded: Array) -> Array:
    picture = optional("PIL.Image", "Pictures in tables", "lerobot")
    images = [np.asarray(picture.open(io.BytesIO(data))) for data in encoded]
    return np.stack([image[..., None] if image.ndim == 2 else image for image in images])


@contextmanager
def _reading(path: Path, place: str = "") -> Iterator[None]:
    """What pyarrow, JSON and PIL raise on damaged files, as a DataError."""
    try:
        yield
    except DataError:
        raise
    except _BROKEN as error:
        raise DataError(f"cannot be read as LeRobot's ({explain(error)}); fetch it again", path, place) from None
