"""How a sensor's numbers answer the actions within one episode: the base of the checks of delay, dead and crossed actuators.

For each number, the change of row t to t+1 is fitted by least squares to where the sensor is and how it just moved (the
controls); what the action of row t - lag explains of the rest is that lag's gain, adjusted for the number of fitted terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_LAG = 6


@final
@dataclass(frozen=True)
class Response:
    """gain_LN: share explained at lags -reach .. reach; partial_AN: correlation at lag 0 of each action number alone;
    rows: how many were fitted."""

    reach: int
    gain_LN: Floats
    partial_AN: Floats
    rows: int


def respond(actions_TA: Floats, numbers_TN: Floats) -> Response | None:
    """The response of one episode; None where it is too short (or too still) to say anything."""
    steps, size = actions_TA.shape
    controls = 1 + 2 * numbers_TN.shape[1]
    reach = min(MOST_LAG, (steps - 12) // 4)
    rows = np.arange(reach + 1, steps - reach) if reach >= 1 else np.zeros(0, dtype=int)
    change = np.diff(numbers_TN, axis=0)
    whole = np.concatenate([np.ones((len(rows), 1)), numbers_TN[rows], change[rows - 1], change[rows]], axis=1)
    lagged = np.stack([actions_TA[rows - lag] for lag in range(-reach, reach + 1)]) if len(rows) else np.zeros((1, 0, size))
    finite = np.isfinite(whole).all(1) & np.isfinite(lagged).all((0, 2))
    count = int(finite.sum())
    if count < 2 * (controls + size) + 4:
        return None
    whole, lagged = whole[finite], lagged[:, finite]
    basis = np.linalg.qr(whole[:, :controls])[0]
    rest = whole[:, controls:] - basis @ (basis.T @ whole[:, controls:])
    moved = lagged - basis @ (basis.T @ lagged)
    total = (rest**2).sum(0)
    safe = np.where(total > 1e-12 * np.maximum((whole[:, controls:] ** 2).sum(0), 1e-12), total, np.inf)
    gain = np.stack([_explained(part, rest) / safe for part in moved])
    gain = 1 - (1 - gain) * (count - controls) / (count - controls - size)
    return Response(reach, np.where(np.isfinite(safe), gain, 0.0), _partial(moved[reach], rest, safe), count)


def _explained(inputs_TA: Floats, rest_TN: Floats) -> Floats:
    """Sum of squares (N,) that a least-squares fit explains; dead inputs are no trouble."""
    left, values, _ = np.linalg.svd(inputs_TA, full_matrices=False)
    basis = left[:, values > 1e-9 * max(float(values.max(initial=0.0)), 1e-12)]
    explained: Floats = ((basis.T @ rest_TN) ** 2).sum(0)
    return explained


def _partial(inputs_TA: Floats, rest_TN: Floats, total_N: Floats) -> Floats:
    """Correlation of each input with each number, the controls and the other inputs taken out of both."""
    found = np.zeros((inputs_TA.shape[1], rest_TN.shape[1]))
    for number, column in enumerate(inputs_TA.T):
        left, values, _ = np.linalg.svd(np.delete(inputs_TA, number, 1), full_matrices=False)
        others = left[:, values > 1e-9]
        own = column - others @ (others.T @ column)
        residual = rest_TN - others @ (others.T @ rest_TN)
        size = np.linalg.norm(own) * np.linalg.norm(residual, axis=0)
        alive = (size > 1e-12) & np.isfinite(total_N)
        found[number] = np.where(alive, own @ residual / np.where(alive, size, 1.0), 0.0)
    return found
