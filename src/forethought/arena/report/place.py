"""Where a position lies in a picture, found from the pictures themselves: what moves there is fitted to what the probe reads.

So a plan can be drawn on the frame of any task whose log names a 2-D position, with no camera model and no task's help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.motion import moving_centre
from forethought.data.quantities import pairs_of

Floats = NDArray[np.float64]
GOOD = 0.95
"""Least R^2 at which the map is believed; below it no plan is drawn on a frame."""


@final
@dataclass(frozen=True)
class Place:
    """Quantities `columns` (two) to picture coordinates in [0, 1], x to the right and y down: [q0, q1, 1] @ matrix_32."""

    columns: tuple[int, int]
    matrix_32: Floats
    r2: float

    def locate(self, quantities_NQ: Floats) -> Floats:
        """Picture coordinates (N, 2)."""
        return _with_one(quantities_NQ[:, list(self.columns)]) @ self.matrix_32


def find_place(names: Sequence[str], pictures: Sequence[NDArray[np.uint8]], quantities: Sequence[Floats]) -> Place | None:
    """The best map over all pairs of one quantity's numbers, from episodes' pictures (T, H, W, 3) and quantities (T, Q)."""
    seen = [moving_centre(frames) for frames in pictures]
    keep = [np.isfinite(centre[:, 0]) for centre in seen]
    if sum(int(k.sum()) for k in keep) < 12:
        return None
    centre_N2 = np.concatenate([c[k] for c, k in zip(seen, keep, strict=True)])
    known_NQ = np.concatenate([q[k] for q, k in zip(quantities, keep, strict=True)])
    fits = [_fit(known_NQ, centre_N2, columns) for columns in pairs_of(names)]
    best = max(fits, key=lambda place: place.r2, default=None)
    return best if best is not None and best.r2 >= GOOD else None


def _fit(known_NQ: Floats, centre_N2: Floats, columns: tuple[int, int]) -> Place:
    """Least squares, three times: a fifth of the frames are left out, those where something else was the centre of change."""
    inputs = _with_one(known_NQ[:, list(columns)])
    kept = np.ones(len(inputs), np.bool_)
    for _ in range(4):
        matrix: Floats = np.linalg.lstsq(inputs[kept], centre_N2[kept], rcond=None)[0].astype(np.float64)
        miss = np.square(inputs @ matrix - centre_N2).sum(1)
        kept = miss <= np.quantile(miss, 0.8)
    spread = np.square(centre_N2[kept] - centre_N2[kept].mean(0)).sum()
    return Place(columns, matrix, float(1 - miss[kept].sum() / max(spread, 1e-12)))


def _with_one(values_N2: Floats) -> Floats:
    return np.concatenate([values_N2, np.ones((len(values_N2), 1))], 1)
