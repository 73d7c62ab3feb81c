"""Diffusion policy's replay buffer: a Zarr group (folder or .zip, format 2 or 3), `data/*` end to end, `meta/episode_ends`.

Layout: diffusion_policy's `ReplayBuffer`. `data/action` holds the actions; every other column of numbers is a sensor.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import final

import numpy as np

from forethought.data.experience import Experience
from forethought.data.formats.columns import ColumnExperience, Roles
from forethought.data.formats.zarr_table import ZarrTable

_MARKS = (".zarray", "zarr.json")


@final
class ReplayBufferReader:
    """Reads diffusion policy's replay buffers."""

    name = "replay-buffer"

    def detect(self, path: Path) -> bool:
        """A folder or a zip archive with the arrays `meta/episode_ends` and `data/action`."""
        wanted = [{f"{array}/{mark}" for mark in _MARKS} for array in ("meta/episode_ends", "data/action")]
        if path.is_dir():
            return all(any((path / name).is_file() for name in names) for names in wanted)
        try:
            members = set(zipfile.ZipFile(path).namelist()) if zipfile.is_zipfile(path) else set()
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
            return False
        return all(names & members for names in wanted)

    def open(self, path: Path) -> Experience:
        """Open the buffer."""
        table = ZarrTable(path)
        ends = table.whole("meta/episode_ends").reshape(-1).astype(np.int64)
        bounds = np.stack([np.concatenate([np.zeros(1, np.int64), ends])[: len(ends)], ends], axis=1)
        rows = table.rows("data/action")
        columns = {name: f"data/{name}" for name in table.names("data") if name != "action"}
        fits = {name: where for name, where in columns.items() if table.is_numeric(where, rows)}
        others = tuple(f"'{where}'" for name, where in columns.items() if name not in fits)
        return ColumnExperience(table, Roles(fits, "data/action"), bounds, others)
