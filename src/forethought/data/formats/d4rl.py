"""D4RL's flat HDF5: observations, actions, rewards, terminals, timeouts end to end; perhaps next_observations and infos.

Layout: D4RL's `get_dataset` and `sequence_dataset`. An episode ends where a terminal or a timeout is set.
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
from forethought.types import Array

_TAKEN = {"observations", "next_observations", "actions", "rewards", "terminals", "timeouts"}


@final
class D4rlReader:
    """Reads D4RL's HDF5 files, and any that are laid out like them."""

    name = "d4rl"

    def detect(self, path: Path) -> bool:
        """HDF5 with datasets `observations` and `actions` at its root, and where episodes end."""
        file = open_quietly(path)
        names = set(file.names()) if file is not None else set()
        if file is None or not {"observations", "actions"} <= names or not {"terminals", "timeouts"} & names:
            return False
        try:
            return all(isinstance(file.find(name), h5py.Dataset) for name in ("observations", "actions"))
        except DataError:
            return True  # the names are D4RL's: `open` says what is wrong with them

    def open(self, path: Path) -> Experience:
        """Open the file."""
        file = Hdf5File(path)
        rows = file.rows("actions")
        extras = {name: where for name, where in _leaves(file) if _per_step(file, where, rows)}
        others = tuple(f"'{where}'" for name, where in _leaves(file) if name not in extras)
        roles = Roles(
            {"observations": "observations"},
            "actions",
            "rewards" if file.find("rewards") is not None else None,
            "terminals" if file.find("terminals") is not None else None,
            {"observations": "next_observations"} if file.find("next_observations") is not None else {},
            extras,
        )
        return ColumnExperience(HdfTable(file), roles, _bounds(file, rows), others)


def _bounds(file: Hdf5File, rows: int) -> Array:
    """First row and end of each episode."""
    ends = np.zeros(rows, dtype=bool)
    for name in ("terminals", "timeouts"):
        if file.find(name) is not None:
            flags = file.array(name).reshape(-1)
            if len(flags) != rows:
                raise DataError(f"got {len(flags)} rows, expected {rows} like the actions; write it again", file.path, name)
            ends |= flags.astype(bool)
    ends[-1:] = True  # what was under way when the recording stopped is an episode too
    stops = np.flatnonzero(ends) + 1
    return np.stack([np.concatenate([np.zeros(1, np.int64), stops])[: len(stops)], stops], axis=1).astype(np.int64)


def _leaves(file: Hdf5File) -> list[tuple[str, str]]:
    """Metadata name -> dataset: `infos/qpos` is named "qpos", what else lies about keeps its path with dots."""
    found = [(name, name) for name in file.names() if name not in _TAKEN]
    leaves = []
    for name, where in found:
        below = file.names(where)
        leaves += [(inner if name == "infos" else f"{name}.{inner}", f"{where}/{inner}") for inner in below] or [(name, where)]
    return leaves


def _per_step(file: Hdf5File, where: str, rows: int) -> bool:
    node = file.find(where)
    with reading(file.path, where):  # a damaged type is found out when it is asked for
        return isinstance(node, h5py.Dataset) and node.dtype.kind in "biuf" and node.shape[:1] == (rows,)
