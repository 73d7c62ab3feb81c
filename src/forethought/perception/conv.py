"""A small strided convolutional network; slower than the patch pyramid on a CPU, at home on a GPU."""

from __future__ import annotations

import itertools
from typing import final

from torch import Tensor, nn

from forethought.perception.image import ImageBody


@final
class Convolution(ImageBody):
    """uint8 images (B, H, W, C) to features (B, F): four strided convolutions, a pool to 4x4, one layer."""

    def __init__(self, shape: tuple[int, ...], width: int, features: int) -> None:
        super().__init__(shape)
        channels = [shape[-1], width // 2, width, 2 * width, 2 * width]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.SiLU(inplace=True)]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32 * width, features), nn.SiLU())

    def forward(self, image_BHWC: Tensor) -> Tensor:
        features: Tensor = self.body(self.centred(image_BHWC).permute(0, 3, 1, 2))
        return features
