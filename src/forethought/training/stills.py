"""Still frames of a log's episodes: what the scene half has to tell, and the backgrounds that frames are recombined with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.dataset import Dataset
from forethought.objectives.recombine import recombine
from forethought.objectives.still import still_frame, thumbnail
from forethought.types import Array, SensorKind


@final
@dataclass(frozen=True)
class Stills:
    """One still frame an episode, by sensor: `frames[name]` is (E, ...) in the sensor's dtype; `images` can be recombined."""

    frames: Mapping[str, Array]
    images: tuple[str, ...]

    def targets(self) -> NDArray[np.float32]:
        """What the scene half predicts, (E, P): images as thumbnails, all sensors end to end."""
        return np.concatenate([np.stack([thumbnail(frame) for frame in frames]) for frames in self.frames.values()], 1)

    def recombined(
        self, observation: Mapping[str, Array], own_N: NDArray[np.int64], other_N: NDArray[np.int64]
    ) -> dict[str, Array]:
        """Readings (N, ...) of some episodes before other episodes' backgrounds; sensors that are no images stay."""
        mixed = dict(observation)
        for name in self.images:
            mixed[name] = recombine(observation[name], self.frames[name][own_N], self.frames[name][other_N])
        return mixed


def measure_stills(data: Dataset) -> Stills:
    """The still frames of all episodes; one frame an episode is held in memory."""
    spans = [slice(start, start + length + 1) for start, length in zip(data.starts, data.lengths, strict=True)]
    frames = {name: np.stack([still_frame(values[span]) for span in spans]) for name, values in data.sensors.items()}
    return Stills(frames, tuple(s.name for s in data.spec.sensors if s.kind is SensorKind.IMAGE))
