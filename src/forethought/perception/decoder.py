"""A detached decoder, for people to look at only: no gradient of it reaches the world model, and no agent reads it."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

CELLS = 8  # pixels along one side of what a first-layer cell draws


@final
class Decoder(nn.Module):
    """Latents (N, D) to images (N, H, W, C) in [0, 1]: a coarse grid of cells, each drawn twice as fine, then four times."""

    mean_HWC: Tensor

    def __init__(self, latent_size: int, shape: tuple[int, int, int], width: int = 256) -> None:
        super().__init__()
        height, across, channels = shape
        self.shape, self.grid = shape, (-(-height // CELLS), -(-across // CELLS))
        rows, columns = self.grid
        self.register_buffer("mean_HWC", torch.zeros(shape))
        self.coarse = nn.Sequential(nn.Linear(latent_size, width), nn.SiLU(), nn.Linear(width, rows * columns * 64), nn.SiLU())
        self.middle, self.fine = nn.Linear(64, 4 * 48), nn.Linear(48, 16 * channels)

    def forward(self, z_ND: Tensor) -> Tensor:
        rows, columns = self.grid
        cells = self.coarse(z_ND).reshape(-1, rows, columns, 64)
        cells = functional.silu(_finer(self.middle(cells), 2))
        drawn = _finer(self.fine(cells), 4)[:, : self.shape[0], : self.shape[1]]
        return drawn + self.mean_HWC

    @torch.inference_mode()
    def pictures(self, z_ND: Tensor) -> Tensor:
        """uint8 images (N, H, W, C)."""
        shown: Tensor = (self(z_ND).clamp(0, 1) * 255).round().to(torch.uint8)
        return shown


def _finer(cells_NHWC: Tensor, factor: int) -> Tensor:
    """Each cell's channels become factor x factor smaller cells."""
    count, rows, columns, channels = cells_NHWC.shape
    split = cells_NHWC.reshape(count, rows, columns, factor, factor, channels // factor**2)
    return split.transpose(2, 3).reshape(count, rows * factor, columns * factor, channels // factor**2)


def small_shape(shape: tuple[int, ...], most: int) -> tuple[int, int, int]:
    """The shape (H, W, C) whose longer side is at most `most`, in the same proportions.

    >>> small_shape((96, 64, 3), 48)
    (48, 32, 3)
    """
    height, width, channels = shape
    factor = min(1.0, most / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor)), channels


def small_images(images_NHWC: Tensor, most: int) -> Tensor:
    """Images (N, H, W, C), any dtype, as float means of areas, the longer side at most `most`."""
    height, width, _ = small_shape(tuple(images_NHWC.shape[1:]), most)
    return functional.adaptive_avg_pool2d(images_NHWC.permute(0, 3, 1, 2).float(), (height, width)).permute(0, 2, 3, 1)
