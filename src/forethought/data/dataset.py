"""A log laid out for training: one contiguous array per sensor over all episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from forethought.data.durable import reserve
from forethought.data.experience import Experience
from forethought.data.schema import flat_rows
from forethought.data.split import Split, split_of
from forethought.errors import DataError
from forethought.types import Array, DiscreteSpace, Episode, ExperienceSpec


@final
@dataclass(frozen=True)
class Dataset:
    """Episodes end to end. Episode e owns rows starts[e] .. starts[e] + lengths[e], its last observation included.

    sensors: name -> (rows, ...) in the log's dtype; actions_NA: float32, encoded by the action space, the action taken at
    each row, and zeros at an episode's last row; metadata: name -> (rows, ...), those that every episode has;
    rewards_N: float32, aligned like actions.
    """

    spec: ExperienceSpec
    episode_ids: tuple[str, ...]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    sensors: Mapping[str, Array]
    actions_NA: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    rewards_N: NDArray[np.float32] | None = None
    metadata: Mapping[str, Array] = field(default_factory=dict)

    @staticmethod
    def load(
        experience: Experience,
        split: Split | None = None,
        *,
        fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
        folder: Path | None = None,
    ) -> Dataset:
        """Read one split (None: everything). With `folder`, arrays are memory-mapped files there, for logs beyond memory.

        Raises DataError with episode and row for an empty log or numbers that are not finite.
        """
        ids = experience.ids()
        chosen = [i for i in range(len(ids)) if split is None or split_of(ids[i], fractions) is split]
        if not chosen:
            part = f"the split '{split.value}' of {len(ids)} episodes" if split else "the log"
            raise DataError(f"{part} has no episodes; record more, or change the fractions", experience.path)
        all_lengths = experience.lengths()
        lengths = np.array([all_lengths[i] for i in chosen], dtype=np.int64)
        return _fill(experience, chosen, tuple(ids[i] for i in chosen), lengths, folder)

    @property
    def num_rows(self) -> int:
        """Observations in all."""
        return int(self.lengths.sum()) + len(self.lengths)

    @property
    def num_episodes(self) -> int:
        """Episodes in all."""
        return len(self.lengths)

    def episode_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which episode each row belongs to, same shape."""
        return np.searchsorted(self.starts, rows, side="right").astype(np.int64) - 1

    def ends(self) -> NDArray[np.int64]:
        """The last row of each episode, (episodes,)."""
        return self.starts + self.lengths


def _fill(
    experience: Experience, chosen: Sequence[int], ids: tuple[str, ...], lengths: NDArray[np.int64], folder: Path | None
) -> Dataset:
    spec, path, first = experience.spec, experience.path, experience.episode(chosen[0])
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths + 1)[:-1]])
    rows = int((lengths + 1).sum())
    sensors = {s.name: _allocate(folder, f"sensor-{i}", (rows, *s.shape), s.dtype) for i, s in enumerate(spec.sensors)}
    actions = _allocate(folder, "actions", (rows, spec.action_space.size), np.float32)
    rewards = _allocate(folder, "rewards", (rows,), np.float32) if spec.has_reward else None
    metadata = {
        name: _allocate(folder, f"metadata-{i}", (rows, *values.shape[1:]), values.dtype)
        for i, (name, values) in enumerate(first.metadata.items())
    }
    terminated = np.zeros(len(chosen), dtype=np.bool_)
    for position, index in enumerate(chosen):
        episode = experience.episode(index)
        begin, end = int(starts[position]), int(starts[position] + lengths[position])
        for name, target in sensors.items():
            target[begin : end + 1] = _finite(episode.observations[name], episode, f"observations/{name}", path)
        actions[begin:end] = _encoded(episode, spec, path)
        actions[end] = 0
        terminated[position] = episode.terminated
        if rewards is not None and episode.rewards is not None:
            rewards[begin:end], rewards[end] = _finite(episode.rewards, episode, "rewards", path), 0
        metadata = _fill_metadata(metadata, episode, begin)
    return Dataset(spec, ids, starts, lengths, sensors, actions, terminated, rewards, metadata)


def _fill_metadata(metadata: Mapping[str, Array], episode: Episode, begin: int) -> dict[str, Array]:
    """Fill one episode's rows; names that it lacks, or has in another shape, are dropped for the whole dataset."""
    kept = {}
    for name, target in metadata.items():
        values = episode.metadata.get(name)
        if values is not None and values.shape[1:] == target.shape[1:]:
            target[begin : begin + len(values)] = values
            kept[name] = target
    return kept


def _allocate(folder: Path | None, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    try:
        if folder is None:
            return np.empty(shape, dtype)
        folder.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype=np.dtype(dtype), shape=shape)
        reserve(folder / f"{name}.npy")
        return array
    except (MemoryError, OSError) as error:
        size = int(np.prod(shape, dtype=np.float64)) * np.dtype(dtype).itemsize / 2**30
        raise DataError(f"{size:.1f} GiB for '{name}' do not fit ({error}); give a folder with space, or less data") from None


def _finite(values: Array, episode: Episode, place: str, path: Path | None) -> Array:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(flat_rows(values)).all(axis=1))[0, 0])
        got = values[row].reshape(-1)
        bad = got[~np.isfinite(got)][0]
        raise DataError(
            f"got {bad} at row {row}, expected finite numbers; leave the episode out (see all with `data check`)",
            path,
            f"episode '{episode.id}': {place}",
        )
    return values


def _encoded(episode: Episode, spec: ExperienceSpec, path: Path | None) -> NDArray[np.float32]:
    actions = _finite(episode.actions, episode, "actions", path)
    space = spec.action_space
    if isinstance(space, DiscreteSpace) and len(actions) and not (actions.min() >= 0 and actions.max() < space.count):
        row = int(np.argmax((actions < 0) | (actions >= space.count)))
        raise DataError(
            f"got action {actions[row]} at row {row}, expected 0 to {space.count - 1}; correct the log or the spec",
            path,
            f"episode '{episode.id}': actions",
        )
    return space.encode(actions)
