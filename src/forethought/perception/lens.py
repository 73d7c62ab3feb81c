"""A lens: what a camera now always shows otherwise than in the log is painted over with what the log showed there.

The encoder stays as it is, and is never shown a wall where it never saw one. Only where all of the log shows one scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.types import Array, Observation

CHANGED, NEAR, FEWEST = 20.0, 25.0, 4
"""Grey levels by which a pixel's usual value must have changed; by which a reading still counts as that; pixels changed."""

Floats = NDArray[np.float32]


@final
@dataclass(frozen=True)
class Patch:
    """One camera's changed pixels: mask_HW, what they usually show now, and what they showed in the log (H, W, C)."""

    mask_HW: NDArray[np.bool_]
    now_HWC: Floats
    then_HWC: Floats

    @staticmethod
    def between(then_HWC: Floats, images_NHWC: Array) -> Patch | None:
        """From the log's usual frame and pictures of the world as it is now; None if nothing lasting has changed."""
        now = np.median(images_NHWC, 0).astype(np.float32)
        mask = np.abs(now - then_HWC).max(-1) > CHANGED
        return Patch(mask, now, then_HWC) if int(mask.sum()) >= FEWEST else None

    def see(self, image_HWC: Array) -> Array:
        """The picture with changed pixels painted over, where they show what they now usually do."""
        covered = self.mask_HW & (np.abs(image_HWC.astype(np.float32) - self.now_HWC).max(-1) < NEAR)
        return np.where(covered[..., None], self.then_HWC.round(), image_HWC).astype(image_HWC.dtype)

    def fit(self, image_HWC: Array) -> float:
        """The share of changed pixels that look more like now than like then."""
        picture = image_HWC[self.mask_HW].astype(np.float32)
        now, then = (np.abs(picture - usual[self.mask_HW]).max(-1) for usual in (self.now_HWC, self.then_HWC))
        return float(np.mean(now < then))


@final
@dataclass(frozen=True)
class Lens:
    """Patches by camera; an empty lens shows things as they are."""

    patches: Mapping[str, Patch] = field(default_factory=dict)

    def see(self, observation: Observation) -> Observation:
        """The observation as the log would have shown it. What has the wrong shape is left for others to complain about."""
        seen = dict(observation)
        for name, patch in self.patches.items():
            if name in seen and np.shape(seen[name]) == patch.then_HWC.shape:
                seen[name] = patch.see(np.asarray(seen[name]))
        return seen

    def fit(self, observation: Observation) -> float:
        """How much the cameras look as this lens was made for, 0 to 1; 1 for an empty one."""
        shown = [
            patch.fit(np.asarray(observation[name]))
            for name, patch in self.patches.items()
            if name in observation and np.shape(observation[name]) == patch.now_HWC.shape
        ]
        return float(np.mean(shown)) if shown else 1.0
