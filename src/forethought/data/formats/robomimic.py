"""robomimic's HDF5: one group per demonstration below `data`, with obs, actions, rewards, dones, and perhaps next_obs.

Layout: robomimic's documentation, "Datasets, overview". LIBERO's and robosuite's raw files are of the same kind.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np

from forethought.data.experience import Experience
from forethought.data.formats.hdf5_file import Hdf5File, open_quietly, reading
from forethought.data.formats.raw import LAST_ACTION, Steps, sensor_for, space_for, to_episode
from forethought.data.schema import check_spec
from forethought.errors import DataError
from forethought.types import Episode, ExperienceSpec

_TAKEN = {"obs", "next_obs", "actions", "rewards", "dones"}
_LOOK = 16  # rows by which a sensor's kind is decided


@final
class RobomimicReader:
    """Reads robomimic's HDF5 files."""

    name = "robomimic"

    def detect(self, path: Path) -> bool:
        """HDF5 with groups below `data` that hold actions."""
        file = open_quietly(path)
        try:
            return file is not None and any(file.find(f"data/{name}/actions") is not None for name in file.names("data")[:1])
        except DataError:
            return False

    def open(self, path: Path) -> Experience:
        """Open the file."""
        return RobomimicExperience(path)


@final
class RobomimicExperience(Experience):
    """Demonstrations of one file. `mask/KEY` becomes the metadata "mask.KEY"; the language, where there is one, a task."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._file = file = Hdf5File(path)
        self._names = tuple(name for name in file.names("data") if isinstance(file.find(f"data/{name}"), h5py.Group))
        if not self._names:
            raise DataError("got no demonstrations, expected one group each; see docs/data.md", path, "data")
        first = f"data/{self._names[0]}"
        self._states_only = not file.names(f"{first}/obs")
        self._after = not self._states_only and bool(file.names(f"{first}/next_obs"))
        sensors = (sensor_for(name, file.array(where, 0, _LOOK), path) for name, where in self._columns(first).items())
        texts = [self._language(name) for name in self._names]
        self._tasks = tuple(sorted({text for text in texts if text}))
        self.spec = check_spec(
            ExperienceSpec(
                tuple(sensor for sensor in sensors if sensor is not None),
                space_for((file.array(f"data/{name}/actions") for name in self._names), path, "data/*/actions"),
                file.find(f"{first}/rewards") is not None,
                _control_frequency(file.text("data", "env_args")),
                self._tasks if all(texts) else (),
            ),
            path,
        )
        self._masks = {key: self._mask(key) for key in file.names("mask")}
        self.dropped = self._left_out(first)

    def __len__(self) -> int:
        return len(self._names)

    def ids(self) -> tuple[str, ...]:
        return self._names

    def lengths(self) -> tuple[int, ...]:
        rows = (self._file.rows(f"data/{name}/actions") for name in self._names)
        return tuple(count if self._after else max(0, count - 1) for count in rows)

    def episode(self, index: int) -> Episode:
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        name, file = self._names[index], self._file
        place = f"data/{name}"
        rows = file.rows(f"{place}/actions")
        keys = file.names(f"{place}/obs") if self._after else ()
        after = {key: file.array(f"{place}/next_obs/{key}", rows - 1, rows) for key in keys}
        steps = Steps(
            {key: file.array(where) for key, where in self._columns(place).items()},
            file.array(f"{place}/actions"),
            file.array(f"{place}/rewards") if self.spec.has_reward else None,
            after if self._after else None,
            {key: file.array(f"{place}/{key}") for key in self._extras(place)},
            self._constants(name),
            self._after and bool(np.any(file.array(f"{place}/dones")[-1:])) if file.find(f"{place}/dones") else False,
        )
        return to_episode(name, steps, self.spec, self.path, place)

    def _columns(self, place: str) -> dict[str, str]:
        """Sensor name -> where it lies. A file whose observations were never extracted still has the simulator's states."""
        if self._states_only:
            return {"states": f"{place}/states"}
        return {key: f"{place}/obs/{key}" for key in self._file.names(f"{place}/obs")}

    def _constants(self, name: str) -> dict[str, int | bool]:
        masks: dict[str, int | bool] = {f"mask.{key}": name in names for key, names in self._masks.items()}
        return masks | ({"task_index": self._tasks.index(self._language(name))} if self.spec.tasks else {})

    def _extras(self, place: str) -> list[str]:
        """Further datasets of numbers, one row a step."""
        skipped = _TAKEN | ({"states"} if self._states_only else set())
        found = {key: self._file.find(f"{place}/{key}") for key in self._file.names(place) if key not in skipped}
        rows = self._file.rows(f"{place}/actions")
        return [
            key
            for key, node in found.items()
            if isinstance(node, h5py.Dataset) and node.dtype.kind in "biuf" and node.shape[:1] == (rows,)
        ]

    def _mask(self, key: str) -> set[str]:
        """The names of the demonstrations in a filter key."""
        node = self._file.find(f"mask/{key}")
        with reading(self._file.path, f"mask/{key}"):
            names = node[()].reshape(-1) if isinstance(node, h5py.Dataset) and node.nbytes < 2**24 else []
            return {name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names}

    def _language(self, name: str) -> str:
        own = _json(self._file.text(f"data/{name}", "ep_meta")).get("lang")
        return str(own or _json(self._file.text("data", "problem_info")).get("language_instruction") or "")

    def _left_out(self, first: str) -> tuple[str, ...]:
        taken = _TAKEN | set(self._extras(first)) | ({"states"} if self._states_only else set())
        others = [f"'{name}' of each demonstration" for name in self._file.names(first) if name not in taken]
        with reading(self._file.path, first):
            attributes = sorted(set(self._file.group(first).attrs) - {"num_samples", "ep_meta"})
        others += [f"the attribute '{name}' of each demonstration" for name in attributes]
        return (() if self._after else (LAST_ACTION,)) + tuple(others)


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _control_frequency(env_args: str) -> float | None:
    rate = _json(env_args).get("env_kwargs")
    found = rate.get("control_freq") if isinstance(rate, dict) else None
    return float(found) if isinstance(found, (int, float)) and found > 0 else None
