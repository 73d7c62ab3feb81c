"""stable-worldmodel's HDF5: a dataset per column, `ep_len` and `ep_offset`.

Layout: its `HDF5Writer` and `World.collect`. Each episode holds T + 1 rows; `action` was moved up a row by its writer, so row
t holds what was done at row t and the last row a placeholder. All other columns are of the moment itself: the reward at
row t + 1 is what action t earned.
"""

from __future__ import annotations

from pathlib import Path
from typing import final

import h5py
import numpy as np

from forethought.data.experience import Experience
from forethought.data.formats.columns import ColumnExperience, Roles
from forethought.data.formats.hdf5_file import Hdf5File, HdfTable, open_quietly, reading
from forethought.errors import DataError

_INDEX = ("ep_len", "ep_offset", "ep_idx")
_OUTCOMES = ("action", "reward", "terminated", "truncated")
_COUNTERS = ("step_idx", "seed", "id", "episode_idx", "policy")


@final
class WorldModelReader:
    """Reads HDF5 files recorded with stable-worldmodel."""

    name = "stable-worldmodel"

    def detect(self, path: Path) -> bool:
        """HDF5 with `ep_len`, `ep_offset` and `action` at its root."""
        file = open_quietly(path)
        try:
            return file is not None and all(file.find(name) is not None for name in ("ep_len", "ep_offset", "action"))
        except DataError:
            return False

    def open(self, path: Path) -> Experience:
        """Open the file."""
        file = Hdf5File(path)
        lengths, offsets = (file.array(name).reshape(-1).astype(np.int64) for name in ("ep_len", "ep_offset"))
        if len(lengths) != len(offsets):
            got = f"{len(lengths)} lengths and {len(offsets)} offsets of episodes"
            raise DataError(f"got {got}, expected one of each; record it again", path, "ep_len")
        bounds = np.stack([offsets, offsets + lengths], axis=1)
        rows = file.rows("action")
        columns = [name for name in file.names() if name not in _INDEX + _OUTCOMES]
        numbers = [name for name in columns if _is(file, name, rows, "biuf")]
        texts = [name for name in columns if _is(file, name, rows, "OS")]
        # what varies between episodes alone (goals, the world's variation) and counters are no sensors
        apart = [n for n in numbers if n in _COUNTERS or n.startswith(("goal", "variation"))]
        roles = Roles(
            {name: name for name in numbers if name not in apart},
            "action",
            "reward" if _is(file, "reward", rows, "biuf") else None,
            "terminated" if _is(file, "terminated", rows, "biuf") else None,
            metadata={name: name for name in apart},
            on_arrival=True,
        )
        words = [_text(file, texts[0], int(start)) for start in offsets] if texts else []
        tasks = tuple(sorted(set(words)))
        others = tuple(f"'{name}'" for name in columns if name not in numbers and name not in texts[:1])
        return ColumnExperience(HdfTable(file), roles, bounds, others, tasks, tuple(tasks.index(word) for word in words))


def _is(file: Hdf5File, name: str, rows: int, kinds: str) -> bool:
    node = file.find(name)
    return isinstance(node, h5py.Dataset) and node.dtype.kind in kinds and node.shape[:1] == (rows,)


def _text(file: Hdf5File, name: str, row: int) -> str:
    with reading(file.path, name):
        value = file.group("/")[name][row]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
