"""The patch pyramid: patches, linear layers, 2x2 merges. All matrix products, which is what a CPU is good at."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn import functional

from forethought.perception.image import ImageBody


@final
class PatchPyramid(ImageBody):
    """uint8 images (B, H, W, C) to features (B, F): square patches, then merges until the grid is 2x2, then one layer."""

    def __init__(self, shape: tuple[int, ...], width: int, features: int) -> None:
        super().__init__(shape)
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
        # Centred as `ImageBody.centred`, but folded into the layer, to spare passes over the pixels.
        weight = self.embed.weight / self.spread
        usual_PW = self.embed.bias - functional.linear(self._patches(self.usual_HWC[None]), weight)
        embedded = functional.linear(self._patches(image_BHWC).to(weight.dtype), weight)
        x = functional.silu(embedded.view(len(image_BHWC), *usual_PW.shape) + usual_PW)
        for merge in self.merges:
            x = functional.silu(merge(x.view(len(x), x.shape[1] // 4, -1)))
        return functional.silu(self.last(x.flatten(1)))

    def _patches(self, image_BHWC: Tensor) -> Tensor:
        """Patches (B x rows x columns, pixels), the four of a 2x2 block in a row at every scale, so that merging is a view."""
        image_BHWC = functional.pad(image_BHWC, self.padding) if any(self.padding) else image_BHWC
        merges, (rows, columns) = len(self.merges), self.grid
        twos = (2,) * merges
        split = (-1, rows >> merges, *twos, self.patch, columns >> merges, *twos, self.patch * image_BHWC.shape[-1])
        across = merges + 3  # the axis where columns begin
        pairs = [axis for level in range(merges + 1) for axis in (1 + level, across + level)]
        return image_BHWC.reshape(split).permute(0, *pairs, across - 1, across + merges + 1).reshape(-1, self.embed.in_features)
