"""LeRobot v3.0 data sets written: one table and one row of `meta/episodes` an episode; pictures as PNG, so nothing is lost.

Or as video: a film an episode and camera, H.264 (`video.py`), decoded again at once to say how far off it is. LeRobot has as
many actions as frames, so a row of zeros stands beside the last observation; reading leaves it out again. What LeRobot has
no place for (ids, how an episode ended) are columns of `meta/episodes`. Its row is what makes an episode count: it comes last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from forethought.data.durable import atomic_path, atomic_write_bytes
from forethought.data.extras import optional
from forethought.data.formats.lerobot import METADATA, OWN, OWN_COLUMN, LeRobotReader, feature_of
from forethought.data.formats.lerobot_stats import Statistics, merged, statistics
from forethought.data.schema import check_episode, spec_to_json
from forethought.data.video import CODEC, PIXEL_FORMAT, Videos, VideoWriter
from forethought.errors import DataError
from forethought.page.png import encode_png
from forethought.types import Array, Episode, ExperienceSpec, Sensor, SensorKind

CHUNK = 1000  # files a folder, as LeRobot has it
_COMPARED = 64  # frames decoded at a time to see how far off they are
_PLACE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
_OPENING = {
    "codebase_version": "v3.0", "robot_type": "unknown", "total_tasks": 1, "chunks_size": CHUNK, "data_files_size_in_mb": 100,
    "video_files_size_in_mb": 200, "data_path": f"data/{_PLACE}.parquet",
}  # fmt: skip


@final
class LeRobotWriter:
    """Appends episodes to a data set's folder. Every append is durable when it returns.

    `video`: cameras of three channels and even sides become H.264 films; all other pictures stay PNG.
    """

    def __init__(self, path: Path, spec: ExperienceSpec, *, durable: bool = True, video: bool = False) -> None:
        self._path, self._spec = path, spec
        self._arrow, self._parquet = (optional(name, "LeRobot data sets", "lerobot") for name in ("pyarrow", "pyarrow.parquet"))
        self._films = {feature_of(sensor.name) for sensor in spec.sensors if video and _is_film(sensor)}
        own, new = json.dumps({"spec": spec_to_json(spec), "films": sorted(self._films)}), not (path / OWN).exists()
        if new and path.exists() and any(path.iterdir()):
            raise DataError("is a folder with other things in it; choose a new path", path)
        if not new and (path / OWN).read_text(encoding="utf-8") != own:
            raise DataError("holds a log with another spec; choose a new path, or the same sensors and actions", path)
        self._features: dict[str, dict[str, Any]] = {}
        self._statistics: dict[str, Statistics] = {}
        self._ids: set[str] = set()
        self._rows = 0
        self._begin(own) if new else self._continue()

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, episode: Episode) -> None:
        """Write one whole episode. Raises DataError, and the log is as it was."""
        check_episode(episode, self._spec, self._path)
        if episode.id in self._ids:
            raise DataError("an episode of this id is there already; ids must differ", self._path, f"episode '{episode.id}'")
        columns, known = self._columns(episode), len(self._features)
        for name, values in columns.items():
            self._features.setdefault(name, self._feature(name, values))
        if len(self._features) > known:
            self._write_totals(self._path)  # before the episode counts, or a kill would leave columns that are not named
        about = self._about(columns) | {OWN_COLUMN + name: value for name, value in self._own(episode).items()}
        for name in sorted(self._films):
            about |= self._write_film(name, columns[name])
        stats = {name: statistics(values) for name, values in columns.items()}
        about |= {f"stats/{name}/{part}": value for name, parts in stats.items() for part, value in parts.items()}
        self._write_table("data", {name: self._column(v) for name, v in columns.items() if name not in self._films})
        self._write_table("meta/episodes", {name: self._one(value) for name, value in about.items()})
        self._ids.add(episode.id)
        self._rows += episode.num_steps + 1
        self._add(stats)
        self._write_totals(self._path)

    def close(self) -> None:
        """Finish. Idempotent; there is nothing to finish."""

    def _begin(self, own: str) -> None:
        with atomic_path(self._path) as folder:
            (folder / "meta").mkdir(parents=True)
            self._write_tasks(folder)
            self._write_totals(folder)
            atomic_write_bytes(folder / OWN, own.encode())

    def _continue(self) -> None:
        """Go on after the last whole episode; what a killed writer wrote of the next one is removed."""
        found = LeRobotReader().open(self._path)
        self._ids, self._rows = set(found.ids()), sum(found.lengths()) + len(found)
        self._features = json.loads((self._path / "meta/info.json").read_text(encoding="utf-8"))["features"]
        for number in range(len(self)):
            self._count(self._file("meta/episodes", number))
        for name in sorted(self._films):
            self._file(f"videos/{name}", len(self), "mp4").unlink(missing_ok=True)
        self._file("data", len(self)).unlink(missing_ok=True)
        for stale in self._path.rglob(".*.tmp"):
            stale.unlink()
        self._write_totals(self._path)

    def _columns(self, episode: Episode) -> dict[str, Array]:
        rows = episode.num_steps + 1
        columns: dict[str, Array] = {feature_of(name): values for name, values in episode.observations.items()}
        columns["action"] = _one_more(episode.actions)
        if episode.rewards is not None:
            columns["next.reward"] = _one_more(episode.rewards)
        told = episode.metadata.get("task_index", np.zeros(rows, np.int64))
        columns |= {METADATA + name: values for name, values in episode.metadata.items() if name != "task_index"}
        frame = np.arange(rows, dtype=np.int64)
        columns["timestamp"] = (frame / _rate(self._spec)).astype(np.float32)
        columns |= {"frame_index": frame, "episode_index": np.full(rows, len(self)), "index": frame + self._rows}
        return columns | {"task_index": told}

    def _about(self, columns: Mapping[str, Array]) -> dict[str, Any]:
        """The episode's row of `meta/episodes`: where it lies, and what it was told to do."""
        place, rows = _place(len(self)), len(columns["index"])
        told = sorted({self._spec.tasks[i] for i in columns["task_index"].tolist()}) if self._spec.tasks else [""]
        return {
            "episode_index": len(self), "tasks": told, "length": rows, "dataset_from_index": self._rows,
            "dataset_to_index": self._rows + rows,
            **{f"{folder}/{part}": value for folder in ("data", "meta/episodes") for part, value in place.items()},
        }  # fmt: skip

    def _own(self, episode: Episode) -> dict[str, Any]:
        """What LeRobot has no place for. `of_one`: metadata with rows of shape (1,), which its tables tell not from ()."""
        of_one = sorted(name for name, values in episode.metadata.items() if values.shape[1:] == (1,))
        ended = {"terminated": bool(episode.terminated), "truncated": bool(episode.truncated)}
        return {"id": episode.id, **ended, "tasks_told": "task_index" in episode.metadata, "of_one": of_one}

    def _one(self, value: Any) -> Any:
        """A column of one row; lists of no strings are lists of strings all the same."""
        return self._arrow.array([value], self._arrow.list_(self._arrow.string()) if value == [] else None)

    def _write_film(self, name: str, images: Array) -> dict[str, Any]:
        """Encode, decode, compare; what `meta/episodes` says of the film. Raises DataError."""
        file, rate = self._file(f"videos/{name}", len(self), "mp4"), _rate(self._spec)
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            film = VideoWriter(temporary, images.shape[1], images.shape[2], rate)
            film.write(images)
            film.close()
            off = _off(temporary, images)
        about = {**_place(len(self)), "from_timestamp": 0.0, "to_timestamp": len(images) / rate}
        return {f"videos/{name}/{part}": value for part, value in about.items()} | {f"{OWN_COLUMN}off/{name}": off}

    def _column(self, values: Array) -> Any:
        """Rows as Arrow: numbers as (nested) lists of fixed size, pictures as PNG."""
        if values.dtype == np.uint8 and values.ndim == 4:
            rows = [{"bytes": encode_png(image), "path": None} for image in values]
            kind = self._arrow.struct([("bytes", self._arrow.binary()), ("path", self._arrow.string())])
            return self._arrow.array(rows, kind)
        column = self._arrow.array(np.ascontiguousarray(values).reshape(-1))
        for size in () if values.shape[1:] == (1,) else reversed(values.shape[1:]):  # one number a row is a plain column
            column = self._arrow.FixedSizeListArray.from_arrays(column, size)
        return column

    def _write_table(self, folder: str, columns: dict[str, Any]) -> None:
        file = self._file(folder, len(self))
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            self._parquet.write_table(self._arrow.table(columns), temporary)

    def _file(self, folder: str, number: int, suffix: str = "parquet") -> Path:
        return self._path / folder / f"{_PLACE.format(**_place(number))}.{suffix}"

    def _count(self, file: Path) -> None:
        """Add the statistics of an episode that is there already."""
        names = [name for name in self._parquet.read_schema(file).names if name.startswith("stats/")]
        (row,) = self._parquet.read_table(file, columns=names).to_pylist()
        stats: dict[str, dict[str, Any]] = {}
        for name, value in row.items():
            _, feature, part = name.split("/")
            stats.setdefault(feature, {})[part] = value
        self._add(stats)

    def _add(self, stats: Mapping[str, Statistics]) -> None:
        known = self._statistics
        self._statistics |= {name: merged(known[name], new) if name in known else new for name, new in stats.items()}

    def _write_tasks(self, folder: Path) -> None:
        tasks = self._spec.tasks or ("",)
        columns = [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
            for name, kind, numpy in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
        ]
        pandas = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
        table = self._arrow.table({"task_index": np.arange(len(tasks)), "task": list(tasks)})
        with atomic_path(folder / "meta/tasks.parquet") as temporary:
            self._parquet.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), temporary)

    def _write_totals(self, folder: Path) -> None:
        """Statistics and info: not more to write for a long log than for a short one."""
        episodes = len(self)
        info = _OPENING | {
            "fps": _whole(_rate(self._spec)), "features": self._features, "total_episodes": episodes,
            "total_frames": self._rows, "total_tasks": len(self._spec.tasks or ("",)), "splits": {"train": f"0:{episodes}"},
            "video_path": f"videos/{{video_key}}/{_PLACE}.mp4" if self._films else None,
        }  # fmt: skip
        if self._statistics:
            atomic_write_bytes(folder / "meta/stats.json", json.dumps(self._statistics).encode())
        atomic_write_bytes(folder / "meta/info.json", json.dumps(info, indent=2).encode())

    def _feature(self, name: str, values: Array) -> dict[str, Any]:
        if values.dtype != np.uint8 or values.ndim != 4:
            return {"dtype": str(values.dtype), "shape": list(values.shape[1:]) or [1], "names": None}
        feature = {"shape": list(values.shape[1:]), "names": ["height", "width", "channels"]}
        if name not in self._films:
            return {"dtype": "image", **feature}
        about = dict(zip(("height", "width", "channels"), values.shape[1:], strict=True))
        about |= {"codec": CODEC, "pix_fmt": PIXEL_FORMAT, "is_depth_map": False, "fps": _whole(_rate(self._spec))}
        return {"dtype": "video", **feature, "info": {f"video.{k}": v for k, v in about.items()} | {"has_audio": False}}


def _place(number: int) -> dict[str, int]:
    return {"chunk_index": number // CHUNK, "file_index": number % CHUNK}


def _rate(spec: ExperienceSpec) -> float:
    return spec.steps_per_second or 1.0


def _one_more(values: Array) -> Array:
    return np.concatenate([values, np.zeros_like(values, shape=(1, *values.shape[1:]))])


def _whole(rate: float) -> float:
    return int(rate) if rate == int(rate) else rate


def _is_film(sensor: Sensor) -> bool:
    return sensor.kind is SensorKind.IMAGE and sensor.shape[2] == 3 and not sensor.shape[0] % 2 and not sensor.shape[1] % 2


def _off(file: Path, images: Array) -> list[float]:
    """How far a film is from the pictures it was made of: mean and largest absolute difference, of 255."""
    films, total, most = Videos(), 0.0, 0
    for begin in range(0, len(images), _COMPARED):
        part = images[begin : begin + _COMPARED].astype(np.int16)
        off = np.abs(films.frames(file, range(begin, begin + len(part))) - part)
        total, most = total + float(off.sum()), max(most, int(off.max()))
    return [total / images.size, float(most)]
