"""Before a run begins or goes on: is the folder right, is the log the same, does anything move in it?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np

from forethought.config import read_json, to_json
from forethought.data.dataset import Dataset
from forethought.data.schema import spec_to_json
from forethought.data.stats import measure
from forethought.errors import CollapseError, ConfigError, RunError
from forethought.training.config import TrainConfig
from forethought.training.files import write_atomic
from forethought.training.run import RunFolder


@final
@dataclass(frozen=True)
class Source:
    """The log that a run learns from: its size, and a hash of its ids, lengths, actions and one reading an episode."""

    episodes: int
    steps: int
    fingerprint: str


def source_of(*parts: Dataset) -> Source:
    """What identifies the splits that training reads."""
    hashed = hashlib.blake2b(digest_size=16)
    for data in parts:
        hashed.update("\n".join(data.episode_ids).encode())
        hashed.update(data.lengths.tobytes() + data.actions_NA.tobytes())
        for name, values in sorted(data.sensors.items()):
            hashed.update(name.encode() + np.ascontiguousarray(values[data.starts]).tobytes())
    return Source(sum(d.num_episodes for d in parts), int(sum(d.lengths.sum() for d in parts)), hashed.hexdigest())


def check_folder(run: RunFolder) -> None:
    """Nothing, or a run, must be in the folder. Raises RunError."""
    path = run.path
    if path.exists() and not path.is_dir():
        raise RunError(f"{path}: is a file, expected a folder; give another --out")
    if path.is_dir() and not run.config.is_file():
        files = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
        if files:
            raise RunError(f"{path}: holds {len(files)} files ({files[0]}, ...) but no run; give a new or an empty folder")


def stored_config(run: RunFolder, asked: TrainConfig) -> TrainConfig | None:
    """The configuration of the run that is to go on, None for a new run. Raises ConfigError if it is another than asked.

    What was fitted to the clock when the run began stays as it was.
    """
    if not run.config.is_file():
        return None
    stored = read_json(TrainConfig, run.config)
    if _as_fitted(asked, stored) != stored:
        raise ConfigError(f"{run.path} holds a run of another configuration; give another folder, or the same options to go on")
    return stored


def _as_fitted(asked: TrainConfig, stored: TrainConfig) -> TrainConfig:
    if asked.seconds is None or stored.seconds is None:
        return asked
    fitted = replace(asked, heads=replace(asked.heads, scenes=stored.heads.scenes))
    if not asked.fit_model:
        return fitted
    return replace(
        fitted,
        encoder=replace(asked.encoder, width=stored.encoder.width, features=stored.encoder.features),
        dynamics=replace(
            asked.dynamics,
            architecture=replace(asked.dynamics.architecture, width=stored.dynamics.architecture.width),
        ),
        heads=replace(fitted.heads, width=stored.heads.width),
    )


def check_source(run: RunFolder, source: Source, log: Path) -> None:
    """The log must be the one that the run began with. Raises RunError."""
    if not run.source.is_file():
        return
    before = read_json(Source, run.source)
    if before != source:
        raise RunError(
            f"{run.path}: began on another log: {before.episodes} episodes, {before.steps} steps, fingerprint "
            f"{before.fingerprint[:8]}; {log} has {source.episodes}, {source.steps}, {source.fingerprint[:8]} for training and "
            "calibration now. Give the log as it was to go on, or another folder to begin anew"
        )


def check_it_moves(data: Dataset) -> None:
    """Some sensor must change within some episode. Raises CollapseError: no encoder could learn from such a log."""
    inside = np.ones(data.num_rows, dtype=bool)
    inside[data.ends()] = False
    rows = np.flatnonzero(inside)
    for chunk in np.array_split(rows, max(1, len(rows) // 512)):
        if any((values[chunk] != values[chunk + 1]).any() for values in data.sensors.values()):
            return
    raise CollapseError(
        f"no sensor ever changes within an episode ({', '.join(data.sensors)}), so there is nothing to predict; "
        "record what the actions change (see the log with `forethought data show`)"
    )


def write_folder(run: RunFolder, config: TrainConfig, data: Dataset, source: Source) -> None:
    """Make the folder, or bring it up to date; config.json comes first, as it says that a run is here. Raises RunError."""
    try:
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{run.path}: cannot be made ({error.strerror}); choose another place, or give permission") from None
    write_atomic(run.config, to_json(config))
    write_atomic(run.path / "spec.json", spec_to_json(data.spec))
    write_atomic(run.path / "stats.json", measure(data).to_json())
    write_atomic(run.source, to_json(source))
