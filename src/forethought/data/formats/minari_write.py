"""Minari datasets written so that Minari 0.5.4 and newer load them, and so that we read back every bit.

What Minari has no place for lies beside its own keys: the spec in `metadata.json`, an episode's id and end as attributes.
Images are kept as they are (`jpeg_encoding` false): JPEG would lose some of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np

from forethought.data.durable import JournalledFile, atomic_write_bytes, final_name
from forethought.data.formats import spaces
from forethought.data.formats.hdf5 import LIBVER
from forethought.data.formats.hdf5_file import BROKEN
from forethought.data.formats.minari import MAIN, METADATA, OWN_SPEC, read_metadata
from forethought.data.schema import check_episode, explain, spec_from_json, spec_to_json
from forethought.errors import DataError
from forethought.types import Episode, ExperienceSpec


@final
class MinariWriter:
    """Appends episodes to `PATH/data`. Name the folder NAME-vN: then `minari.load_dataset("NAME-vN")` finds it."""

    def __init__(self, path: Path, spec: ExperienceSpec, *, durable: bool = True) -> None:
        self._path, self._spec, self._folder = path, spec, path / "data"
        self._ids: set[str] = set()
        self._steps = 0
        spaces.action_space_json(spec.action_space)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._disk = JournalledFile(self._folder / MAIN, durable)
        except OSError as error:
            raise DataError(f"cannot be written ({error.strerror}); choose another place", path) from error
        new = self._disk.seek(0, 2) == 0
        try:
            self._file = h5py.File(self._disk, "w" if new else "r+", libver=LIBVER)
            self._continue() if not new else self._commit()
        except BROKEN as error:
            self._disk.close()
            raise DataError(f"cannot be continued ({explain(error)}); choose a new path", path) from None
        except DataError:
            self._disk.close()
            raise

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, episode: Episode) -> None:
        """Write one whole episode durably. Raises DataError, and the log is as it was; then the writer is closed."""
        if not self._file:
            raise DataError("the writer is closed; open a new one", self._path)
        check_episode(episode, self._spec, self._path)
        if episode.id in self._ids:
            raise DataError("an episode of this id is there already; ids must differ", self._path, f"episode '{episode.id}'")
        try:
            _write(self._file.create_group(f"episode_{len(self._ids)}"), len(self._ids), episode)
            self._ids.add(episode.id)
            self._steps += episode.num_steps
            self._commit()
        except (OSError, DataError):
            self.close()
            raise

    def close(self) -> None:
        """Finish. Idempotent."""
        if self._file:
            self._file.close()
        self._disk.close()

    def _continue(self) -> None:
        own = read_metadata(self._folder / METADATA).get(OWN_SPEC)
        if not isinstance(own, str) or spec_from_json(own, self._path, OWN_SPEC) != self._spec:
            raise DataError("holds a log with another spec; choose a new path, or the same sensors and actions", self._path)
        self._ids = {str(group.attrs["forethought_id"]) for group in self._file.values()}
        self._steps = sum(len(group["rewards"]) for group in self._file.values())

    def _commit(self) -> None:
        """First the episodes, then the count that Minari reads; we count the episodes, so a kill in between loses nothing."""
        self._file.flush()
        self._disk.commit()
        size = round((self._folder / MAIN).stat().st_size / 1e6, 1)
        atomic_write_bytes(self._folder / METADATA, json.dumps(self._metadata() | {"dataset_size": size}).encode())

    def _metadata(self) -> dict[str, Any]:
        return {
            "total_episodes": len(self._ids),
            "total_steps": self._steps,
            "data_format": "hdf5",
            "jpeg_encoding": False,
            "observation_space": spaces.observation_space_json(self._spec),
            "action_space": spaces.action_space_json(self._spec.action_space),
            "dataset_id": final_name(self._path),
            "minari_version": "0.5.4",
            OWN_SPEC: spec_to_json(self._spec),
        }


def _write(group: Any, number: int, episode: Episode) -> None:
    steps = episode.num_steps
    group.attrs.update({"id": number, "total_steps": steps, "forethought_id": episode.id})
    group.attrs.update({"terminated": episode.terminated, "truncated": episode.truncated})
    group.create_dataset("actions", data=np.ascontiguousarray(episode.actions))
    group.create_dataset("rewards", data=np.zeros(steps, np.float32) if episode.rewards is None else episode.rewards)
    for name, ended in (("terminations", episode.terminated), ("truncations", episode.truncated)):
        group.create_dataset(name, data=(np.arange(steps) == steps - 1) & ended)
    for name, arrays in (("observations", episode.observations), ("infos", episode.metadata)):
        folder = group.create_group(name)
        for key, values in arrays.items():
            folder.create_dataset(key, data=np.ascontiguousarray(values))
