"""Training windows, drawn as a pure function of (seed, update): nothing to save, nothing to shuffle, nothing to resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.dataset import Dataset
from forethought.errors import DataError, UsageError
from forethought.types import Array


@final
@dataclass(frozen=True)
class WindowBatch:
    """B windows of T frames, `frameskip` environment steps apart.

    observations: name -> (B, T, ...); actions_BTA: (B, T-1, frameskip * action size), all actions between two frames laid
    end to end; episode_B: index into the dataset's episodes; row_BT: dataset row of each frame.
    """

    observations: Mapping[str, Array]
    actions_BTA: NDArray[np.float32]
    episode_B: NDArray[np.int64]
    row_BT: NDArray[np.int64]


@final
@dataclass(frozen=True)
class Draw:
    """What windows to draw: `sample_windows` says what each of these is."""

    seed: int
    batch_size: int
    num_frames: int
    frameskip: int
    windows_per_episode: int = 1


def sample_windows(
    dataset: Dataset,
    *,
    seed: int,
    update: int,
    batch_size: int,
    num_frames: int,
    frameskip: int,
    windows_per_episode: int = 1,
    rank: int = 0,
    world_size: int = 1,
) -> WindowBatch:
    """Draw windows uniformly over all that fit. The batch depends on (seed, update) alone.

    Rank r of R gets the r-th of R equal shares, so the shares end to end are the one-rank batch. With
    `windows_per_episode=W`, each W consecutive rows of the batch come from one episode.
    """
    draw = Draw(seed, batch_size, num_frames, frameskip, windows_per_episode)
    episode_B, row_BT = draw_windows(dataset.lengths, dataset.starts, draw, update, rank, world_size)
    return windows_at(dataset, row_BT, episode_B, frameskip)


def draw_windows(
    lengths: NDArray[np.int64], starts: NDArray[np.int64], draw: Draw, update: int, rank: int = 0, world_size: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which windows an update sees, from the episodes' lengths and first rows alone: episode_B and row_BT."""
    groups = _groups(draw.batch_size, draw.windows_per_episode, rank, world_size)
    span = (draw.num_frames - 1) * draw.frameskip
    if draw.num_frames < 1 or draw.frameskip < 1:
        raise UsageError(f"got num_frames={draw.num_frames}, frameskip={draw.frameskip}, expected at least 1 each")
    choices_E = np.maximum(lengths - span + 1, 0)
    ends_E = np.cumsum(choices_E)
    if not ends_E.size or not ends_E[-1]:
        longest = int(lengths.max(initial=0))
        raise DataError(f"windows need {span} steps, the longest episode has {longest}; lower num_frames or frameskip")
    generator = np.random.Generator(np.random.Philox(key=np.array([draw.seed, update], dtype=np.uint64)))
    pick_G = generator.integers(0, ends_E[-1], size=groups)
    episode_B = np.repeat(np.searchsorted(ends_E, pick_G, side="right"), draw.windows_per_episode).astype(np.int64)
    offset_B = generator.integers(0, choices_E[episode_B])
    share = slice(rank * draw.batch_size // world_size, (rank + 1) * draw.batch_size // world_size)
    episode_B, start_B = episode_B[share], (starts[episode_B] + offset_B)[share]
    return episode_B, start_B[:, None] + np.arange(draw.num_frames) * draw.frameskip


def windows_at(dataset: Dataset, row_BT: NDArray[np.int64], episode_B: NDArray[np.int64], frameskip: int) -> WindowBatch:
    """The windows at given rows, which must lie `frameskip` apart within an episode."""
    # Actions first, while what they need is in the cache: frames push it out. All of a window's actions lie end to end.
    # asarray: indexing a memmap would wrap what it gives in that class.
    gaps, actions_NA = row_BT.shape[1] - 1, np.asarray(dataset.actions_NA)
    actions = actions_NA.take(row_BT[:, :1] + np.arange(gaps * frameskip), axis=0)
    observations = {name: np.asarray(values).take(row_BT, axis=0) for name, values in dataset.sensors.items()}
    actions_BTA = actions.reshape(len(row_BT), gaps, frameskip * actions_NA.shape[1])
    return WindowBatch(observations, actions_BTA, episode_B, row_BT)


def block_actions(dataset: Dataset, rows: NDArray[np.int64], frameskip: int) -> NDArray[np.float32]:
    """The block of actions that starts at each row, (*rows.shape, frameskip * A); zeros past the episode's end."""
    index = np.minimum(rows[..., None] + np.arange(frameskip), len(dataset.actions_NA) - 1)
    blocks = np.take(dataset.actions_NA, index, axis=0)
    actions = blocks.reshape(*rows.shape, frameskip * dataset.actions_NA.shape[1])
    last = dataset.ends()[dataset.episode_of(rows)]
    inside = rows[..., None] + np.arange(frameskip) < last[..., None]
    kept: NDArray[np.float32] = actions * np.repeat(inside, dataset.actions_NA.shape[1], axis=-1)
    return kept


def _blocks(dataset: Dataset, rows: NDArray[np.int64], frameskip: int) -> NDArray[np.float32]:
    index = np.minimum(rows[..., None] + np.arange(frameskip), len(dataset.actions_NA) - 1)
    return _rows(dataset.actions_NA, index).reshape(*rows.shape, frameskip * dataset.actions_NA.shape[1])


def _rows(values: Array, index: NDArray[np.int64]) -> Array:
    """Rows by number, (*index.shape, ...), as a plain array: NumPy's memory-mapped kind costs a small batch a tenth more."""
    return np.take(np.asarray(values), index, axis=0)


def _groups(batch_size: int, windows_per_episode: int, rank: int, world_size: int) -> int:
    unit = windows_per_episode * world_size
    if windows_per_episode < 1 or world_size < 1 or batch_size < 1 or batch_size % unit:
        raise UsageError(
            f"got batch_size={batch_size}, expected a multiple of windows_per_episode={windows_per_episode} "
            f"times world_size={world_size}; round it to {max(1, round(batch_size / max(1, unit))) * unit}"
        )
    if not 0 <= rank < world_size:
        raise UsageError(f"got rank {rank}, expected 0 to {world_size - 1}")
    return batch_size // windows_per_episode
