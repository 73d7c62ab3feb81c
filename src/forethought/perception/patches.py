"""The patch pyramid: patches, linear layers, 2x2 merges. All matrix products, which is what a CPU is good at."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn import functional


@final
class PatchPyramid(nn.Module):
    """uint8 images (B, H, W, C) to features (B, F): square patches, then merges until the grid is 2x2, then one layer."""

    def __init__(self, shape: tuple[int, ...], width: int, features: int) -> None:
        super().__init__()
        height, across, channels = shape
        self.patch = 8 if max(height, across) <= 96 else 16
        self.grid = tuple(2 * max(1, round(-(-side // self.patch) / 2 + 1e-6)) for side in (height, across))
        merges = 0
        rows, columns = self.grid
        while rows > 2 and columns > 2 and rows % 2 == 0 and columns % 2 == 0:
            rows, columns, merges = rows // 2, columns // 2, merges + 1
        self.padding = (0, 0, 0, self.grid[1] * self.patch - across, 0, self.grid[0] * self.patch - height)
        self.embed = nn.Linear(self.patch * self.patch * channels, width)
        self.merges = nn.ModuleList(nn.Linear(4 * width * 2**i, width * 2 ** (i + 1)) for i in range(merges))
        self.last = nn.Linear(rows * columns * width * 2**merges, features)

    def forward(self, image_BHWC: Tensor) -> Tensor:
        x = functional.pad(image_BHWC, self.padding) if any(self.padding) else image_BHWC
        batch, (rows, columns), patch = x.shape[0], self.grid, self.patch
        x = x.view(batch, rows, patch, columns, patch, -1).permute(0, 1, 3, 2, 4, 5).reshape(batch * rows * columns, -1)
        # Centred on a bright background, about unit scale; the conversion follows the copy, while the data is still bytes.
        x = functional.silu(self.embed(x.to(self.embed.weight.dtype).mul_(1 / 64).sub_(2.0)), inplace=True)
        for merge in self.merges:
            x = x.view(batch, rows // 2, 2, columns // 2, 2, -1).permute(0, 1, 3, 2, 4, 5)
            rows, columns = rows // 2, columns // 2
            x = functional.silu(merge(x.reshape(batch * rows * columns, -1)), inplace=True)
        return functional.silu(self.last(x.reshape(batch, -1)), inplace=True)
