"""Ray Data: a log as a Ray Dataset of episodes or of training windows, and a Ray Dataset of episodes as a log to train from.

Ray's tasks read the log where they run, so every node must see its path or URL. Rows have the names of the schema
(docs/data.md): `id`, `terminated`, `truncated`, `actions`, `rewards`, `observations/SENSOR`, `metadata/NAME`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np

from forethought.data import open_log, write_log
from forethought.data.dataset import Dataset
from forethought.data.experience import Experience, as_path
from forethought.data.extras import optional
from forethought.data.remote import url_of
from forethought.data.split import Split, split_of
from forethought.data.views import Part
from forethought.data.windows import Draw, draw_windows, windows_at
from forethought.errors import DataError
from forethought.types import Array, Episode, ExperienceSpec

RayDataset: TypeAlias = Any
_OBSERVATIONS, _METADATA = "observations/", "metadata/"


def episodes(log: str | os.PathLike[str]) -> RayDataset:
    """One row an episode, in the log's order. Raises DataError, MissingExtra."""
    name = _everywhere(log)
    return _in_order(_ray().range(len(open_log(name))).map(_ReadEpisode(name)))


def windows(
    log: str | os.PathLike[str],
    draw: Draw,
    updates: Iterable[int],
    *,
    split: Split | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> RayDataset:
    """One row a window, batch after batch: those that `sample_windows` gives at these updates, to this rank.

    Columns: `update`, `row` (T,), `actions` (T-1, frameskip * action size), `observations/SENSOR` (T, ...). A task reads the
    episodes of its update alone, so no machine holds the log. Raises DataError, MissingExtra.
    """
    asked = _ReadWindows(_everywhere(log), draw, split, rank, world_size)
    items = [{"update": update} for update in updates]
    return _in_order(_ray().from_items(items).map_batches(asked, batch_size=1))


def write_ray(
    dataset: RayDataset, path: str | os.PathLike[str], spec: ExperienceSpec, *, rank: int = 0, world_size: int = 1
) -> Path:
    """Write the episodes of a Ray Dataset as a log, a block in memory at a time: then train from it as from any other.

    Rank r of R gets every R-th episode from the r-th on. The log is whole or not there. Raises DataError.
    """
    rows = enumerate(_in_order(dataset).iter_rows())
    return write_log(path, (_episode(row, spec) for number, row in rows if number % world_size == rank), spec)


def _ray() -> Any:
    return optional("ray.data", "Ray Data", "ray")


def _everywhere(log: str | os.PathLike[str]) -> str:
    """The path as tasks can use it, whose folder is another; a URL as it is."""
    return url_of(log) or str(as_path(log).resolve())


def _in_order(dataset: RayDataset) -> RayDataset:
    """Blocks as they are in the data set, not as they get ready: which row is which must not depend on the cluster."""
    dataset.context.execution_options.preserve_order = True
    return dataset


@lru_cache(maxsize=4)
def _opened(log: str) -> Experience:
    return open_log(log)


@final
@dataclass(frozen=True)
class _ReadEpisode:
    log: str

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        episode = _opened(self.log).episode(int(row["id"]))
        found: dict[str, Any] = {"id": episode.id, "terminated": episode.terminated, "truncated": episode.truncated}
        found["actions"] = episode.actions
        if episode.rewards is not None:
            found["rewards"] = episode.rewards
        found |= {_OBSERVATIONS + name: values for name, values in episode.observations.items()}
        return found | {_METADATA + name: values for name, values in episode.metadata.items()}


@final
@dataclass(frozen=True)
class _ReadWindows:
    log: str
    draw: Draw
    split: Split | None
    rank: int
    world_size: int

    def __call__(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        log, (update,) = _opened(self.log), batch["update"].tolist()
        chosen = [i for i, name in enumerate(log.ids()) if self.split is None or split_of(name) is self.split]
        lengths = np.array([log.lengths()[i] for i in chosen], np.int64)
        starts = np.cumsum(lengths + 1) - lengths - 1
        episode_B, row_BT = draw_windows(lengths, starts, self.draw, update, self.rank, self.world_size)
        needed, place_B = np.unique(episode_B, return_inverse=True)
        part = Dataset.load(Part(log, [chosen[i] for i in needed]))
        local_BT = row_BT - (starts[episode_B] - part.starts[place_B])[:, None]
        found = windows_at(part, local_BT, place_B, self.draw.frameskip)
        seen = {_OBSERVATIONS + name: values for name, values in found.observations.items()}
        return {"update": np.full(len(row_BT), update), "row": row_BT, "actions": found.actions_BTA, **seen}


def _episode(row: Mapping[str, Any], spec: ExperienceSpec) -> Episode:
    """The episode of a row. Raises DataError for a row that lacks its id or actions; the log's writer checks the rest."""
    if "id" not in row or "actions" not in row:
        raise DataError(
            f"got a row with {', '.join(sorted(row)) or 'nothing'}, expected an episode: id, actions, observations/..."
        )
    rewards = row.get("rewards")
    return Episode(
        id=str(row["id"]),
        observations=dict(_below(row, _OBSERVATIONS)),
        actions=np.asarray(row["actions"]),
        rewards=None if rewards is None else np.asarray(rewards),
        terminated=bool(row.get("terminated", False)),
        truncated=bool(row.get("truncated", True)),
        metadata=dict(_below(row, _METADATA)),
    )


def _below(row: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Array]]:
    return ((name[len(prefix) :], np.asarray(value)) for name, value in row.items() if name.startswith(prefix))
