"""Recombined frames: what moves in one episode, put before the still background of another.

A log with one layout an episode never shows the same place in two layouts, so nothing tells a state code to leave the layout
out; states then carried some of it, and walked through the walls of other scenes (docs/log.md). A recombined frame shows both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

DIFFERENT = 12
"""Grey levels by which a pixel differs from its episode's still frame where something moves; below it is taken for noise."""


def recombine(
    frames_NHWC: NDArray[np.uint8], still_NHWC: NDArray[np.uint8], other_NHWC: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Each frame where it differs from its own still frame, the other still frame elsewhere; all (N, H, W, C) uint8.

    >>> dot, still, other = (np.full((1, 1, 2, 1), v, np.uint8) for v in (200, 200, 10))
    >>> dot[0, 0, 1] = 90
    >>> recombine(dot, still, other).ravel().tolist()
    [10, 90]
    """
    moved = (np.maximum(frames_NHWC, still_NHWC) - np.minimum(frames_NHWC, still_NHWC)).max(-1, keepdims=True) > DIFFERENT
    mixed: NDArray[np.uint8] = np.where(moved, frames_NHWC, other_NHWC)
    return mixed


def state_gap(state_NE: Tensor, recombined_NE: Tensor) -> Tensor:
    """Mean squared gap between states of frames and of their recombinations; a scalar."""
    return (state_NE - recombined_NE).square().mean()
