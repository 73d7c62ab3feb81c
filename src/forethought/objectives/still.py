"""The scene half predicts the episode's still frame: what stays, as a person would see it with the agent taken away."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from forethought.types import Array


def still_frame(readings_TX: Array, every: int = 4) -> Array:
    """Elementwise median over time (T, ...) -> (...), in the readings' dtype."""
    still: Array = np.median(readings_TX[::every], 0).astype(readings_TX.dtype)
    return still


def thumbnail(still_X: Array, cells: int = 16) -> NDArray[np.float32]:
    """What is predicted of a still frame, flat: images (H, W, C) as means of up to cells x cells blocks in [0, 1]."""
    if still_X.ndim != 3:
        return still_X.astype(np.float32).reshape(-1)
    height, width, channels = still_X.shape
    down, across = max(1, height // cells), max(1, width // cells)
    kept = still_X[: height // down * down, : width // across * across].astype(np.float32)
    blocks = kept.reshape(height // down, down, width // across, across, channels).mean((1, 3))
    flat: NDArray[np.float32] = (blocks / np.float32(255)).reshape(-1)
    return flat


@final
class StillTargets(nn.Module):
    """Still frames of all episodes, (E, P), centred; with the small decoder that reads them from the scene half.

    The decoder serves training alone. Nothing privileged: the target is a statistic of the episode's own readings.
    """

    centred_EP: Tensor

    def __init__(self, still_EP: NDArray[np.float32], scene_size: int, width: int = 256) -> None:
        super().__init__()
        self.register_buffer("centred_EP", torch.from_numpy(still_EP - still_EP.mean(0)), persistent=False)
        self.decode = nn.Sequential(nn.Linear(scene_size, width), nn.SiLU(), nn.Linear(width, still_EP.shape[1]))

    def forward(self, scene_NC: Tensor, episode_N: Tensor) -> Tensor:
        """Mean squared error against the rows' own episodes; a scalar."""
        return functional.mse_loss(self.decode(scene_NC), self.centred_EP[episode_N])


def within_variance(scene_NC: Tensor, group: int) -> Tensor:
    """How much the scene moves within an episode (rows in groups of one episode each); a scalar."""
    grouped = scene_NC.reshape(-1, group, scene_NC.shape[-1])
    return (grouped - grouped.mean(1, keepdim=True)).square().mean()
