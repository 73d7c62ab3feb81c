"""What a run keeps of its log for later learning: held-out latents, blocks and pictures, to check that nothing old is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from forethought.data.dataset import Dataset
from forethought.errors import RunError
from forethought.training.checkpoint import read_tensors, save_tensors
from forethought.training.latents import Latents
from forethought.training.run import RunFolder
from forethought.types import Observation, SensorKind

ROWS, PICTURES = 40_000, 32
"""At most so many rows are kept, whole episodes; and so many moments' pictures."""


@final
@dataclass(frozen=True)
class Replay:
    """Held-out latents with their blocks, and what the cameras showed at some moments spread over them."""

    latents: Latents
    pictures: tuple[Observation, ...]


def save_replay(run: RunFolder, data: Dataset, latents: Latents) -> None:
    """Into `replay.safetensors`, the first episodes that fit, of a dataset and its latents."""
    ends = latents.starts_E + latents.lengths_E + 1
    episodes = max(1, int(np.searchsorted(ends, ROWS, side="right")))
    rows = int(ends[episodes - 1])
    tensors = {
        "z": latents.z_ND[:rows], "action": latents.action_NA[:rows],
        "lengths": torch.from_numpy(np.asarray(latents.lengths_E[:episodes], np.int64)),
    }  # fmt: skip
    some = np.linspace(0, rows - 1, min(PICTURES, rows)).astype(np.int64)
    for sensor in data.spec.sensors:
        if sensor.kind is SensorKind.IMAGE:
            tensors[f"pictures/{sensor.name}"] = torch.from_numpy(np.ascontiguousarray(data.sensors[sensor.name][some]))
    save_tensors(run.replay, tensors)


def load_replay(run: RunFolder, frameskip: int, scene_size: int) -> Replay:
    """What `save_replay` wrote. Raises RunError for a run that has none."""
    if not run.replay.is_file():
        raise RunError(
            f"{run.replay}: no such file, and what was learned before is needed to learn more; delete calibration.json and "
            "resume the training, which makes it again"
        )
    tensors, _ = read_tensors(run.replay)
    lengths = tensors["lengths"].numpy()
    starts = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]]).astype(np.int64)
    cameras = {name.removeprefix("pictures/"): t.numpy() for name, t in tensors.items() if name.startswith("pictures/")}
    count = len(next(iter(cameras.values()), ()))
    pictures = tuple({name: images[n] for name, images in cameras.items()} for n in range(count))
    return Replay(Latents(tensors["z"], tensors["action"], starts, lengths, frameskip, scene_size), pictures)
