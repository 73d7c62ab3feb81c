"""What all image bodies share: pictures are read as differences from the log's mean frame.

Most of a picture is always the same, and far brighter than what moves in it. Left in, it is what the first layer learns about:
centred, the true pose of Push-T was learned from pixels with a quarter of the updates (one seed; docs/log/pusht.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class ImageBody(nn.Module, ABC):
    """uint8 images (B, H, W, C) to features (B, F). Until `normalise` has seen a log, 128 +- 64 is usual."""

    usual_HWC: Tensor
    spread: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("usual_HWC", torch.full(shape, 128.0))
        self.register_buffer("spread", torch.tensor(64.0))

    @abstractmethod
    def forward(self, image_BHWC: Tensor) -> Tensor:
        """Features (B, F)."""

    def normalise(self, usual_HWC: Tensor, deviation: float) -> None:
        """Give it the mean frame, and the root mean square difference from it in grey levels."""
        self.usual_HWC.copy_(usual_HWC)
        self.spread.fill_(max(2.0 * deviation, 4.0))

    def centred(self, image_BHWC: Tensor) -> Tensor:
        """Floating point (B, H, W, C), zero where a picture is as usual."""
        centred: Tensor = (image_BHWC.float() - self.usual_HWC) / self.spread
        return centred
