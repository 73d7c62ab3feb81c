"""Episodic memory: what worked, where, and towards what. Append-only: who saw n entries finds the same ones for ever."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
NEAR, TOWARDS = 2.0, 4.0
"""Blocks' moves by which start and goal may differ: a way is tried in imagination before it is gone."""
LIMIT = 20_000
"""Entries; then nothing more is kept, so that what was seen stays what it was. Exact search takes milliseconds there."""


@final
@dataclass(frozen=True)
class Worked:
    """A way that led to success: from z_D towards goal_D by blocks actions_HA, the first of which moves the latent by `stride`.

    Latents and stride are in deviations of the log's latents.
    """

    z_D: Floats
    goal_D: Floats
    actions_HA: Floats
    stride: float


@final
@dataclass
class Episodic:
    """All that worked. `len(memory)` is the version that a State holds."""

    entries: list[Worked] = field(default_factory=list)
    _keys_ND: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __len__(self) -> int:
        return len(self.entries)

    def keep(self, ways: list[Worked]) -> int:
        """Append; returns how many there was room for."""
        kept = ways[: LIMIT - len(self.entries)]
        if kept:
            keys = np.stack([np.concatenate([way.z_D, way.goal_D]) for way in kept])
            self._keys_ND = np.concatenate([self._keys_ND.reshape(-1, keys.shape[1]), keys])
            self.entries.extend(kept)
        return len(kept)

    def recall(self, z_D: Floats, goal_D: Floats, known: int) -> Worked | None:
        """Of the first `known` entries the nearest, if its start and its goal are near these."""
        if not known:
            return None
        keys, size = self._keys_ND[:known], len(z_D)
        here, there = (np.square(part).sum(1) for part in (keys[:, :size] - z_D, keys[:, size:] - goal_D))
        nearest = int((here + there).argmin())
        way = self.entries[nearest]
        near = here[nearest] <= (NEAR * way.stride) ** 2 and there[nearest] <= (TOWARDS * way.stride) ** 2
        return way if near else None
