"""LeRobot v3.0 data sets written: one table and one row of `meta/episodes` an episode; pictures as PNG, so nothing is lost.

LeRobot has as many actions as frames, so a row of zeros stands beside the last observation; reading leaves it out again. What
LeRobot has no place for (bounds, ids, how an episode ended) lies in `meta/forethought.json`, which is also what makes an
episode count: it is replaced last, and files of an episode that it does not name are written over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from forethought.data.durable import atomic_path, atomic_write_bytes
from forethought.data.extras import optional
from forethought.data.formats.lerobot import METADATA, OWN, feature_of
from forethought.data.formats.lerobot_stats import Statistics, merged, statistics
from forethought.data.schema import check_episode, spec_to_json
from forethought.errors import DataError
from forethought.page.png import encode_png
from forethought.types import Array, Episode, ExperienceSpec

CHUNK = 1000  # files a folder, as LeRobot has it
_OPENING = {
    "codebase_version": "v3.0", "robot_type": "unknown", "total_tasks": 1, "chunks_size": CHUNK, "data_files_size_in_mb": 100,
    "video_files_size_in_mb": 200, "video_path": None,
    "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
}  # fmt: skip


@final
@dataclass
class _Own:
    """What `meta/forethought.json` holds."""

    spec: str
    ids: list[str] = field(default_factory=list)
    ended: list[tuple[bool, bool]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    tasks_told: bool = False
    of_one: list[str] = field(default_factory=list)  # metadata whose rows are (1,): LeRobot's tables tell them not from ()


@final
class LeRobotWriter:
    """Appends episodes to a data set's folder. Every append is durable when it returns."""

    def __init__(self, path: Path, spec: ExperienceSpec, *, durable: bool = True) -> None:
        self._path, self._spec = path, spec
        self._arrow, self._parquet = (optional(name, "LeRobot data sets", "lerobot") for name in ("pyarrow", "pyarrow.parquet"))
        own = path / OWN
        if path.exists() and not own.exists() and any(path.iterdir()):
            raise DataError("is a folder with other things in it; choose a new path", path)
        self._own = _Own(**json.loads(own.read_text(encoding="utf-8"))) if own.exists() else _Own(spec_to_json(spec))
        if self._own.spec != spec_to_json(spec):
            raise DataError("holds a log with another spec; choose a new path, or the same sensors and actions", path)
        self._features: dict[str, dict[str, Any]] = {}
        if own.exists():
            self._features = json.loads((path / "meta/info.json").read_text(encoding="utf-8"))["features"]
        self._statistics: dict[str, Statistics] = {}
        for number in range(len(self)):
            self._count(self._table_file("meta/episodes", _place(number)))
        (path / "meta").mkdir(parents=True, exist_ok=True)
        self._write_meta()

    def __len__(self) -> int:
        return len(self._own.ids)

    def append(self, episode: Episode) -> None:
        """Write one whole episode. Raises DataError, and the log is as it was."""
        check_episode(episode, self._spec, self._path)
        if episode.id in self._own.ids:
            raise DataError("an episode of this id is there already; ids must differ", self._path, f"episode '{episode.id}'")
        number, begin, rows = len(self), sum(self._own.rows), episode.num_steps + 1
        columns = self._columns(episode, number, begin)
        for name, values in columns.items():
            self._features.setdefault(name, _feature(values))
        place = _place(number)
        self._write_table("data", place, {name: self._column(values) for name, values in columns.items()})
        told = sorted({self._spec.tasks[i] for i in columns["task_index"].tolist()}) if self._spec.tasks else [""]
        about = {
            "episode_index": number, "tasks": told, "length": rows, "data/chunk_index": place["chunk_index"],
            "data/file_index": place["file_index"], "dataset_from_index": begin, "dataset_to_index": begin + rows,
            "meta/episodes/chunk_index": place["chunk_index"], "meta/episodes/file_index": place["file_index"],
        }  # fmt: skip
        stats = {name: statistics(values) for name, values in columns.items()}
        about |= {f"stats/{name}/{part}": value for name, parts in stats.items() for part, value in parts.items()}
        self._write_table("meta/episodes", place, {name: self._arrow.array([value]) for name, value in about.items()})
        self._own.ids.append(episode.id)
        self._own.ended.append((episode.terminated, episode.truncated))
        self._own.rows.append(rows)
        self._own.tasks_told = self._own.tasks_told or "task_index" in episode.metadata
        self._own.of_one = sorted({*self._own.of_one, *(n for n, v in episode.metadata.items() if v.shape[1:] == (1,))})
        self._add(stats)
        self._write_meta()

    def close(self) -> None:
        """Finish. Idempotent; there is nothing to finish."""

    def _columns(self, episode: Episode, number: int, begin: int) -> dict[str, Array]:
        rows = episode.num_steps + 1
        columns: dict[str, Array] = {feature_of(name): values for name, values in episode.observations.items()}
        columns["action"] = _one_more(episode.actions)
        if episode.rewards is not None:
            columns["next.reward"] = _one_more(episode.rewards)
        told = episode.metadata.get("task_index", np.zeros(rows, np.int64))
        columns |= {METADATA + name: values for name, values in episode.metadata.items() if name != "task_index"}
        frame = np.arange(rows, dtype=np.int64)
        columns["timestamp"] = (frame / _rate(self._spec)).astype(np.float32)
        columns |= {"frame_index": frame, "episode_index": np.full(rows, number), "index": frame + begin}
        return columns | {"task_index": told}

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

    def _write_table(self, folder: str, place: dict[str, int], columns: dict[str, Any]) -> None:
        file = self._table_file(folder, place)
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            self._parquet.write_table(self._arrow.table(columns), temporary)

    def _table_file(self, folder: str, place: dict[str, int]) -> Path:
        return self._path / folder / f"chunk-{place['chunk_index']:03d}" / f"file-{place['file_index']:03d}.parquet"

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

    def _write_meta(self) -> None:
        """Tasks, statistics and info, and last what makes the newest episode count."""
        tasks = self._spec.tasks or ("",)
        named = {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
        number = {
            "name": "task_index",
            "field_name": "task_index",
            "pandas_type": "int64",
            "numpy_type": "int64",
            "metadata": None,
        }
        pandas = {"index_columns": ["task"], "column_indexes": [], "columns": [number, named], "pandas_version": "2.0.0"}
        table = self._arrow.table({"task_index": np.arange(len(tasks)), "task": list(tasks)})
        with atomic_path(self._path / "meta/tasks.parquet") as temporary:
            self._parquet.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), temporary)
        rate, episodes = _rate(self._spec), len(self)
        info = _OPENING | {
            "fps": int(rate) if rate == int(rate) else rate, "features": self._features, "total_episodes": episodes,
            "total_frames": sum(self._own.rows), "total_tasks": len(tasks), "splits": {"train": f"0:{episodes}"},
        }  # fmt: skip
        if self._statistics:
            atomic_write_bytes(self._path / "meta/stats.json", json.dumps(self._statistics).encode())
        atomic_write_bytes(self._path / "meta/info.json", json.dumps(info, indent=2).encode())
        atomic_write_bytes(self._path / OWN, json.dumps(asdict(self._own), indent=1).encode())


def _place(number: int) -> dict[str, int]:
    return {"chunk_index": number // CHUNK, "file_index": number % CHUNK}


def _rate(spec: ExperienceSpec) -> float:
    return spec.steps_per_second or 1.0


def _one_more(values: Array) -> Array:
    return np.concatenate([values, np.zeros_like(values, shape=(1, *values.shape[1:]))])


def _feature(values: Array) -> dict[str, Any]:
    if values.dtype == np.uint8 and values.ndim == 4:
        return {"dtype": "image", "shape": list(values.shape[1:]), "names": ["height", "width", "channels"]}
    return {"dtype": str(values.dtype), "shape": list(values.shape[1:]) or [1], "names": None}
