"""What moves in the pictures of one episode."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOVES = 60  # summed over channels: a smaller change of colour is noise
_SAMPLE = 15  # frames that the still picture is the median of


def moving_centre(frames_THWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Centre (T, 2), x and y in [0, 1], of what differs from the episode's still picture; NaN where next to nothing does."""
    step = max(1, max(frames_THWC.shape[1:3]) // 64)
    frames = frames_THWC[:, ::step, ::step].astype(np.int16)
    sample = np.unique(np.linspace(0, len(frames) - 1, _SAMPLE).astype(int))
    still = np.median(frames[sample], 0).astype(np.int16)
    change = np.abs(frames - still).sum(-1, dtype=np.float32)
    peak = change.max((1, 2))
    weight = np.where(change > 0.3 * peak[:, None, None], change, np.float32(0))
    total = np.maximum(weight.sum((1, 2)), 1e-9)
    height, width = change.shape[1:]
    x = weight.sum(1) @ (np.arange(width) + 0.5) / total / width
    y = weight.sum(2) @ (np.arange(height) + 0.5) / total / height
    return np.where(peak[:, None] > MOVES, np.stack([x, y], 1), np.nan)
