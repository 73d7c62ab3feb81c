"""How far ahead the model sees on episodes that training leaves alone, cheap enough to be asked again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from torch import Tensor

from forethought.data.dataset import Dataset
from forethought.data.windows import sample_windows
from forethought.dynamics.base import Dynamics
from forethought.objectives.prediction import prediction_error, unchanged_error
from forethought.perception.fusion import SensorEncoder
from forethought.training.latents import Latents

BLOCKS, WINDOWS, EVERY = 4, 64, 5
"""Blocks ahead, windows looked at, and at which of the log lines."""


def is_due(update: int, log_every: int) -> bool:
    """The first line of a stage, and every fifth after it."""
    return update // log_every % EVERY == 1 or log_every == 1


@torch.no_grad()
def held_out_figures(dynamics: Dynamics, z_BTD: Tensor, actions_BTA: Tensor, scene_size: int) -> Mapping[str, float]:
    """The mean error up to T-1 blocks ahead, that of "nothing changes", and the error's 99th percentile."""
    error_BH = prediction_error(dynamics, z_BTD, actions_BTA, scene_size)
    unchanged = float(unchanged_error(z_BTD, scene_size).mean())
    p99 = float(error_BH.mean(-1).quantile(0.99))
    return {"held_out": float(error_BH.mean()), "held_out_unchanged": unchanged, "held_out_p99": p99}


@final
class HeldOutFrames:
    """The same windows of held-out episodes every time, encoded anew by the encoder under training."""

    def __init__(self, data: Dataset, frameskip: int, device: torch.device) -> None:
        blocks = max(1, min(BLOCKS, int(data.lengths.max()) // frameskip))
        batch = sample_windows(data, seed=0, update=0, batch_size=WINDOWS, num_frames=blocks + 1, frameskip=frameskip)
        self.actions_BTA = torch.from_numpy(batch.actions_BTA).to(device)
        self.shape = (WINDOWS, blocks + 1, -1)
        self.readings = {
            name: torch.from_numpy(values.reshape(-1, *values.shape[2:])).to(device)
            for name, values in batch.observations.items()
        }

    @torch.no_grad()
    def figures(self, encoder: SensorEncoder, dynamics: Dynamics) -> Mapping[str, float]:
        """In evaluation mode, which the encoder is in only meanwhile: batch statistics must not learn of these frames."""
        encoder.eval()
        z_BTD = encoder(self.readings).float().reshape(self.shape)
        encoder.train()
        return held_out_figures(dynamics, z_BTD, self.actions_BTA, encoder.scene_size)


@final
class HeldOutLatents:
    """The same windows of held-out latents every time."""

    def __init__(self, latents: Latents, device: torch.device) -> None:
        blocks = max(1, min(BLOCKS, int(latents.lengths_E.max()) // latents.frameskip))
        starts = np.random.default_rng(0).choice(latents.window_starts(blocks), 8 * WINDOWS)
        steps = torch.from_numpy(starts[:, None] + np.arange(blocks + 1) * latents.frameskip)
        self.z_BTD, self.scene_size = latents.z_ND[steps].to(device), latents.scene_size
        self.actions_BTA = latents.action_NA[steps[:, :-1]].to(device)

    def figures(self, dynamics: Dynamics) -> Mapping[str, float]:
        """As of frames."""
        return held_out_figures(dynamics, self.z_BTD, self.actions_BTA, self.scene_size)
