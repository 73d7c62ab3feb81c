"""Statistics as LeRobot keeps them: of each feature, an episode's, and those of many episodes put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from forethought.types import Array

Statistics: TypeAlias = Mapping[str, Any]
"""min, max, mean, std, q01 to q99: a number per entry (of pictures: (channels, 1, 1), in [0, 1]), and count, the frames."""

_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def statistics(values: Array) -> Statistics:
    """The statistics of a column's rows, (T, ...)."""
    flat = (
        values.reshape(-1, values.shape[-1]) / 255.0 if values.ndim == 4 else values.reshape(len(values), -1).astype(np.float64)
    )
    found = {"min": flat.min(0), "max": flat.max(0), "mean": flat.mean(0), "std": flat.std(0)}
    found |= {name: np.quantile(flat, share, 0) for name, share in _QUANTILES.items()}
    shaped = {name: value.reshape(-1, 1, 1).tolist() if values.ndim == 4 else value.tolist() for name, value in found.items()}
    return shaped | {"count": [len(values)]}


def merged(first: Statistics, second: Statistics) -> Statistics:
    """The statistics of both together (Chan's parallel variance). Quantiles are means weighted by frames: an estimate.

    >>> merged(statistics(np.array([1.0, 3.0])), statistics(np.array([5.0])))["std"] == statistics(np.array([1, 3, 5]))["std"]
    True
    """
    shares = np.array([first["count"][0], second["count"][0]], np.float64)
    shares /= shares.sum()

    def both(name: str) -> NDArray[np.float64]:
        return np.array([first[name], second[name]], np.float64)

    def weighted(values: NDArray[np.float64]) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = np.tensordot(shares, values, 1)
        return mean

    mean = weighted(both("mean"))
    found = {"min": both("min").min(0), "max": both("max").max(0), "mean": mean}
    found["std"] = np.sqrt(weighted(both("std") ** 2 + (both("mean") - mean) ** 2))
    found |= {name: weighted(both(name)) for name in _QUANTILES}
    return {name: value.tolist() for name, value in found.items()} | {"count": [first["count"][0] + second["count"][0]]}
