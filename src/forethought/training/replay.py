"""What a run keeps of its log for later learning: held-out latents and blocks, to check that nothing old is lost."""

from __future__ import annotations

import numpy as np
import torch

from forethought.errors import RunError
from forethought.training.checkpoint import read_tensors, save_tensors
from forethought.training.latents import Latents
from forethought.training.run import RunFolder

ROWS = 40_000
"""At most so many rows are kept; whole episodes."""


def save_replay(run: RunFolder, latents: Latents) -> None:
    """Into `replay.safetensors`, the first episodes that fit."""
    ends = latents.starts_E + latents.lengths_E + 1
    episodes = max(1, int(np.searchsorted(ends, ROWS, side="right")))
    rows = int(ends[episodes - 1])
    tensors = {
        "z": latents.z_ND[:rows], "action": latents.action_NA[:rows],
        "lengths": torch.from_numpy(np.asarray(latents.lengths_E[:episodes], np.int64)),
    }  # fmt: skip
    save_tensors(run.replay, tensors)


def load_replay(run: RunFolder, frameskip: int, scene_size: int) -> Latents:
    """What `save_replay` wrote. Raises RunError for a run that has none."""
    if not run.replay.is_file():
        raise RunError(
            f"{run.replay}: no such file, and what was learned before is needed to learn more; delete calibration.json and "
            "resume the training, which makes it again"
        )
    tensors, _ = read_tensors(run.replay)
    lengths = tensors["lengths"].numpy()
    starts = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]]).astype(np.int64)
    return Latents(tensors["z"], tensors["action"], starts, lengths, frameskip, scene_size)
