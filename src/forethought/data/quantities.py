"""Named quantities of a log: what probes learn to read, and what predicate goals may speak of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.dataset import Dataset
from forethought.errors import DataError
from forethought.types import Array, SensorKind

MOST = 32
"""More numbers than this are not named: a probe of them would say little to anyone."""


@final
@dataclass(frozen=True)
class Quantities:
    """Numbers with names, one row per row of the dataset: values_NQ float32, NaN where the log has none."""

    names: tuple[str, ...]
    values_NQ: NDArray[np.float32]

    def finite_rows(self) -> NDArray[np.int64]:
        """Rows in which every quantity is a finite number."""
        rows: NDArray[np.int64] = np.flatnonzero(np.isfinite(self.values_NQ).all(1))
        return rows


def quantities_of(data: Dataset) -> Quantities:
    """Metadata first, then vector sensors: "battery", or "position[0]", "position[1]" where one has several numbers.

    Numbers that never change, or are nowhere finite, carry nothing and are left out.
    """
    named = [column for name, values in _sources(data) for column in columns_of(name, values) if moves(column[1])][:MOST]
    values = np.stack([column for _, column in named], 1) if named else np.zeros((data.num_rows, 0), np.float32)
    return Quantities(tuple(name for name, _ in named), values)


def select(data: Dataset, names: tuple[str, ...]) -> Quantities:
    """Just these quantities, of another split of the same log. Raises DataError if one is missing."""
    known = {name: column for source, values in _sources(data) for name, column in columns_of(source, values)}
    missing = [name for name in names if name not in known]
    if missing:
        raise DataError(f"these episodes lack the quantities {', '.join(missing)}; log them in every episode")
    values = np.stack([known[name] for name in names], 1) if names else np.zeros((data.num_rows, 0), np.float32)
    return Quantities(names, values)


def pairs_of(names: Sequence[str]) -> list[tuple[int, int]]:
    """Neighbouring numbers of one quantity that could be a position: [0] with [1], [2] with [3].

    >>> pairs_of(["battery", "state[0]", "state[1]", "state[2]"])
    [(1, 2)]
    """
    index = {name: i for i, name in enumerate(names)}
    firsts = [(name, name[: name.index("[")], int(name[name.index("[") + 1 : -1])) for name in names if name.endswith("]")]
    pairs = [(index[name], index.get(f"{base}[{i + 1}]")) for name, base, i in firsts if i % 2 == 0]
    return [(a, b) for a, b in pairs if b is not None]


def _sources(data: Dataset) -> list[tuple[str, Array]]:
    vectors = {s.name: data.sensors[s.name] for s in data.spec.sensors if s.kind is SensorKind.VECTOR}
    return [(name, values) for name, values in {**data.metadata, **vectors}.items() if values.dtype.kind in "fiub"]


def columns_of(name: str, values: Array) -> list[tuple[str, NDArray[np.float32]]]:
    """The numbers of a quantity, each with its name: itself, or "name[0]", "name[1]" where it has several."""
    flat = values.reshape(len(values), -1).astype(np.float32)
    if values.ndim == 1:
        return [(name, flat[:, 0])]
    return [(f"{name}[{i}]", flat[:, i]) for i in range(min(flat.shape[1], MOST))]


def moves(column: NDArray[np.float32]) -> bool:
    """Does it ever change, where it is a number?"""
    finite = column[np.isfinite(column)]
    return bool(len(finite)) and float(np.ptp(finite)) > 1e-6 * (1e-6 + float(np.abs(finite).max()))
