"""Quantities that get their names after the fact: from a file beside the log, or chosen among those that the log holds."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.dataset import Dataset
from forethought.data.experience import Experience
from forethought.data.quantities import Quantities, columns_of, moves, quantities_of, select
from forethought.errors import DataError, UsageError, unknown_name
from forethought.grammar import AXES

HOW = (
    "give .txt or .json (a list of names among the log's own quantities), or .npz or .csv (a column for each name, a row for "
    "each row of the log: all episodes end to end, the last observation of each included)"
)


@final
@dataclass(frozen=True)
class Named:
    """`chosen`: which of the log's own quantities (empty: all); `added`: new ones, a number for each row of the whole log."""

    chosen: tuple[str, ...] = ()
    added: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def read_named(path: Path, log: Experience) -> Named:
    """What a file names. Raises UsageError for a file of another kind, DataError for one that does not fit the log."""
    readers = {".txt": _list, ".json": _list, ".npz": _npz, ".csv": _csv}
    if path.suffix not in readers:
        raise UsageError(f"{path}: got a '{path.suffix}' file; {HOW}")
    try:
        named = readers[path.suffix](path)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error}); {HOW}", path) from None
    rows = sum(log.lengths()) + len(log)
    for name, column in named.added.items():
        if len(column) != rows:
            raise DataError(f"'{name}' has {len(column)} rows, expected the log's {rows}; {HOW}", path)
        if not moves(column):
            raise DataError(f"'{name}' never changes, or is nowhere a number; leave it out", path)
    return named


def named_in(data: Dataset, log: Experience, named: Named, names: tuple[str, ...] = ()) -> Quantities:
    """All that has a name, at the rows of one split; `names`: just these, in this order. Raises UsageError, DataError."""
    own = tuple(name for name in (names or quantities_of(data).names) if name not in named.added)
    if named.chosen and not names:
        own = tuple(dict.fromkeys(found for name in named.chosen for found in _meant(name, own)))
    first = dict(zip(log.ids(), np.cumsum([0, *(n + 1 for n in log.lengths())]), strict=False))
    spans = [first[e] + np.arange(n + 1) for e, n in zip(data.episode_ids, data.lengths, strict=True)]
    rows = np.concatenate(spans)
    added = [column[rows][:, None] for column in named.added.values()]
    return Quantities((*own, *named.added), np.concatenate([select(data, own).values_NQ, *added], 1))


def _meant(name: str, known: tuple[str, ...]) -> list[str]:
    """A quantity, or all numbers of one that has several; .x, .y, .z as in predicates."""
    numbered = next((name[: -len(axis)] + index for axis, index in AXES.items() if name.endswith(axis)), name)
    found = [k for k in known if k in (name, numbered) or k.startswith(f"{name}[")]
    if not found:
        raise unknown_name("quantity", name, known)
    return found


def _list(path: Path) -> Named:
    text = path.read_text(encoding="utf-8")
    names = json.loads(text) if path.suffix == ".json" else [line.strip() for line in text.splitlines() if line.strip()]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("not a list of names")
    return Named(tuple(names))


def _npz(path: Path) -> Named:
    with np.load(path, allow_pickle=False) as arrays:
        columns = [column for name in arrays.files for column in columns_of(name, np.asarray(arrays[name]))]
    return Named((), dict(columns))


def _csv(path: Path) -> Named:
    with path.open(newline="", encoding="utf-8") as handle:
        header, *lines = csv.reader(handle)
    values = [[float(cell) if cell.strip() else np.nan for cell in line] for line in lines]
    table = np.array(values, np.float32).reshape(len(values), len(header))
    return Named((), {name.strip(): table[:, i] for i, name in enumerate(header)})
