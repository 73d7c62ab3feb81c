"""A small vision transformer (2010.11929), for those who have the compute."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from forethought.perception.image import ImageBody


@final
class VisionTransformer(ImageBody):
    """uint8 images (B, H, W, C) to features (B, F): patches, learned positions, pre-norm blocks, mean, one layer."""

    def __init__(self, shape: tuple[int, ...], width: int, features: int, depth: int = 4, heads: int = 4) -> None:
        super().__init__(shape)
        height, across, channels = shape
        self.patch = 8 if max(height, across) <= 96 else 16
        rows, columns = -(-height // self.patch), -(-across // self.patch)
        self.padding = (0, 0, 0, columns * self.patch - across, 0, rows * self.patch - height)
        self.embed = nn.Conv2d(channels, width, self.patch, stride=self.patch)
        self.positions = nn.Parameter(torch.randn(1, rows * columns, width) * 0.02)
        block = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, depth, enable_nested_tensor=False)
        self.last = nn.Linear(width, features)

    def forward(self, image_BHWC: Tensor) -> Tensor:
        image = self.centred(image_BHWC)
        image = functional.pad(image, self.padding) if any(self.padding) else image
        x = self.embed(image.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
        return functional.silu(self.last(self.blocks(x + self.positions).mean(1)))
