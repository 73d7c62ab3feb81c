"""Pictures a little otherwise, in batches on the model's device: moved by some pixels, brighter or darker, nothing else.

All frames of a window are changed alike: what moves in it is what moved.
"""

from __future__ import annotations

import torch
from torch import Tensor


def augment(images_NHWC: Tensor, windows: slice, total: int, shift: int, light: float, generator: torch.Generator) -> Tensor:
    """uint8 images of whole windows, window by window, each moved by up to `shift` pixels, its edge repeated (Yarats and others
    2021, 2107.09645), and lit by a factor of 1 - `light` to 1 + `light`.

    Draws are made for all `total` windows of a batch, and these are its `windows`: ranks see the shares of one batch.
    """
    offset_W2 = torch.randint(-shift, shift + 1, (total, 2), generator=generator)[windows].to(images_NHWC.device)
    factor_W = (1 + light * (2 * torch.rand(total, generator=generator)[windows] - 1)).to(images_NHWC.device)
    count, (height, width) = len(offset_W2), images_NHWC.shape[1:3]
    frames_WTHWC = images_NHWC.reshape(count, -1, *images_NHWC.shape[1:])
    if shift:
        rows = (torch.arange(height, device=images_NHWC.device) + offset_W2[:, :1]).clamp(0, height - 1)
        columns = (torch.arange(width, device=images_NHWC.device) + offset_W2[:, 1:]).clamp(0, width - 1)
        every = torch.arange(count, device=images_NHWC.device)[:, None, None]
        frames_WTHWC = frames_WTHWC.movedim(1, 3)[every, rows[:, :, None], columns[:, None, :]].movedim(3, 1)
    if light:
        lit = frames_WTHWC.float() * factor_W[:, None, None, None, None]
        frames_WTHWC = lit.round().clamp(0, 255).to(images_NHWC.dtype)
    return frames_WTHWC.reshape(images_NHWC.shape)
