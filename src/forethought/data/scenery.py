"""Does anything in the log stay within an episode and differ between episodes? Only then a latent needs a scene half."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forethought.data.dataset import Dataset
from forethought.types import Array, SensorKind

EPISODES, FRAMES = 200, 16  # looked at; frames evenly over each episode
STILL = 0.02  # of a number's whole deviation: what moves less within an episode stays
DIFFERS = 0.3  # of it: what varies more between the episodes in which it stays is scenery
SHARE = 0.002  # of an image's numbers: fewer are noise, or an agent that stood still


def scenery_differs(data: Dataset) -> bool:
    """True if numbers of some sensor hold still within most episodes, each at its own value. Measured, not guessed."""
    chosen = np.linspace(0, data.num_episodes - 1, min(EPISODES, data.num_episodes)).astype(np.int64)
    rows_EF = data.starts[chosen, None] + (np.linspace(0, 1, FRAMES) * data.lengths[chosen, None]).astype(np.int64)
    return any(_differs(np.unique(rows_EF, axis=0), data.sensors[s.name], s.kind) for s in data.spec.sensors)


def _differs(rows_EF: NDArray[np.int64], values: Array, kind: SensorKind) -> bool:
    mean_EX, within_EX = _moments(rows_EF, values)
    whole_X = np.sqrt((within_EX**2).mean(0) + mean_EX.var(0))
    still_EX = within_EX <= STILL * whole_X
    count_X = np.maximum(still_EX.sum(0), 1)
    centre_X = (mean_EX * still_EX).sum(0) / count_X
    between_X = np.sqrt((((mean_EX - centre_X) ** 2) * still_EX).sum(0) / count_X)
    scenery_X = (still_EX.mean(0) > 0.5) & (between_X > DIFFERS * whole_X) & (whole_X > 0)
    return bool(scenery_X.mean() > SHARE if kind is SensorKind.IMAGE else scenery_X.any())


def _moments(rows_EF: NDArray[np.int64], values: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of every number over the frames of each episode, (E, X) each; one episode in memory at a time."""
    episodes = [values[rows].reshape(len(rows), -1).astype(np.float64) for rows in rows_EF]
    return np.stack([e.mean(0) for e in episodes]), np.stack([e.std(0) for e in episodes])
