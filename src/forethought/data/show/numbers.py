"""Histograms of every number, and maps of where the log has been: which cells were visited, which actions never tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.show.gather import POINTS, Gather, Table, spread
from forethought.page.html import Section, figure, grid
from forethought.page.plots import bars, cells
from forethought.page.svg import Line, chart
from forethought.types import Array, BoxSpace, DiscreteSpace

CELLS, TRIED, BINS, MOST_BARS = 24, 12, 40, 256
Floats = NDArray[np.float64]


@final
@dataclass(frozen=True)
class Histogram:
    """How often each value occurs: `counts` between consecutive `edges`; `missing`: values that are not finite."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int = 0


@final
@dataclass(frozen=True)
class Plane:
    """Two numbers that say where the log has been, (N, 2), and how they were chosen."""

    labels: tuple[str, str]
    values_N2: Floats
    how: str


def histogram(values: Array, low: float | None = None, high: float | None = None) -> Histogram:
    """Of the finite values; whole numbers that are few get a bin each. `low`, `high`: at least from there to there."""
    finite = values[np.isfinite(values)].astype(np.float64)
    ends = [end for end in (low, high, *((finite.min(), finite.max()) if finite.size else ())) if end is not None]
    first, last = (min(ends), max(ends)) if ends else (0.0, 1.0)
    if values.dtype.kind in "iub" and last - first < BINS:
        edges = np.arange(round(first), round(last) + 2) - 0.5
    else:
        bins = min(BINS, 10 + len(finite) // 10)
        edges = np.linspace(first, last, bins + 1) if last > first else np.array([first - 0.5, first + 0.5])
    counts = np.histogram(finite, edges)[0] if finite.size else np.zeros(len(edges) - 1, np.int64)
    return Histogram(tuple(map(float, edges)), tuple(map(int, counts)), len(values) - len(finite))


def plane(seen: Gather) -> Plane | None:
    """A named pair ("position"), else the vector sensors' two principal axes, else where the picture moves; or nothing."""
    for name, table in {**seen.metadata, **seen.sensors}.items():
        rows = table.rows().astype(np.float64)
        if rows.shape[1] == 2 and (np.nanstd(np.where(np.isfinite(rows), rows, np.nan), axis=0) > 1e-9).all():
            return Plane((f"{name}[0]", f"{name}[1]"), rows, f"“{escape(name)}” as logged")
    return _principal(seen.sensors) or _moving(seen.centres)


def _principal(tables: Mapping[str, Table]) -> Plane | None:
    """All vector numbers, each scaled to unit spread, on the two axes along which they vary most."""
    parts = {name: table.rows().astype(np.float64) for name, table in tables.items() if table.rows().dtype.kind == "f"}
    names = [f"{name}[{i}]" for name, rows in parts.items() for i in range(rows.shape[1])]
    if len(names) < 2 or len({len(rows) for rows in parts.values()}) > 1:
        return None
    joined = np.concatenate(list(parts.values()), 1)
    joined = joined[np.isfinite(joined).all(1)]
    spread = joined.std(0) if len(joined) > 2 else np.zeros(len(names))
    if (spread > 1e-9).sum() < 2:
        return None
    scaled = (joined - joined.mean(0)) / np.where(spread > 1e-9, spread, np.inf)
    _, strengths, axes = np.linalg.svd(scaled.T @ scaled)
    share = strengths[:2].sum() / strengths.sum()
    labels = (_axis(1, axes[0], names), _axis(2, axes[1], names))
    return Plane(
        labels, scaled @ axes[:2].T, f"two principal axes of the vector sensors, {100 * share:.0f} % of their variance"
    )


def _axis(number: int, axis: Floats, names: list[str]) -> str:
    strongest = sorted(range(len(names)), key=lambda i: -abs(axis[i]))[:3]
    return f"axis {number}: " + " ".join(f"{axis[i]:+.1f} {names[i]}" for i in strongest)


def _moving(tables: Mapping[str, Table]) -> Plane | None:
    for name, table in tables.items():
        rows = table.rows().astype(np.float64)
        if np.isfinite(rows).all(1).sum() > 10:
            turned = rows * [1.0, -1.0] + [0.0, 1.0]  # a picture's y points down
            return Plane((f"{name}: x", f"{name}: y"), turned, f"the centre of what moves in “{escape(name)}”")
    return None


def _counted(values_N2: Floats, size: int, x: tuple[float, float], y: tuple[float, float]) -> NDArray[np.int64]:
    inside = np.clip(values_N2, [x[0], y[0]], [x[1], y[1]])
    return np.histogram2d(inside[:, 0], inside[:, 1], size, (x, y))[0].astype(np.int64)


def coverage(seen: Gather) -> Section:
    """Maps of state and action space."""
    lead = "Cells that stay empty were never visited or tried: what a model says about them is a guess. Darker: more often."
    return Section("coverage", "Where it has been", lead, grid([*_states(seen), *_tried(seen)], 340))


def _states(seen: Gather) -> Iterator[str]:
    found = plane(seen)
    values = np.zeros((0, 2)) if found is None else found.values_N2[np.isfinite(found.values_N2).all(1)]
    if found is None or not len(values):
        return
    low, high = np.percentile(values, [0.1, 99.9], axis=0)
    high = np.where(high > low, high, low + 1)
    x, y = ((float(low[i]), float(high[i])) for i in range(2))
    counts = _counted(values, CELLS, x, y)
    visited = int((counts > 0).sum())
    note = f"{visited} of {counts.size} cells visited, {int((counts == 1).sum())} of them once (n = {len(values):,} rows). {found.how}."
    yield figure(cells(counts, x, y, found.labels), note, "States")


def _tried(seen: Gather) -> Iterator[str]:
    space, rows = seen.log.spec.action_space, seen.actions.rows()
    if isinstance(space, BoxSpace) and space.size == 2:
        x, y = ((space.low[i], space.high[i]) for i in range(2))
        counts = _counted(rows[np.isfinite(rows).all(1)].astype(np.float64), TRIED, x, y)
        never = int((counts == 0).sum())
        note = f"{never} of {counts.size} cells between the spec's bounds never tried (n = {len(rows):,} actions)."
        yield figure(cells(counts, x, y, ("action[0]", "action[1]")), note, "Actions")


def actions(seen: Gather) -> Section:
    """Histograms between the spec's bounds."""
    lead = "Between the spec's bounds. A red foot: never tried."
    return Section("actions", "Actions", lead, grid(list(_actions(seen)), 280))


def _actions(seen: Gather) -> Iterator[str]:
    space, rows = seen.log.spec.action_space, seen.actions.rows()
    if isinstance(space, DiscreteSpace):
        counts = np.bincount(np.clip(rows[:, 0].astype(np.int64), 0, space.count - 1), minlength=space.count)
        never = np.flatnonzero(counts == 0)
        said = (
            f"; never taken: {', '.join(map(str, never[:20]))}{', ...' * (len(never) > 20)}"
            if len(never)
            else "; all were taken"
        )
        found = Histogram(tuple(map(float, np.arange(len(counts[:MOST_BARS]) + 1) - 0.5)), tuple(map(int, counts[:MOST_BARS])))
        yield _drawn("action", found, len(rows), said, True)
        return
    assert isinstance(space, BoxSpace)
    for i in range(rows.shape[1]):
        low, high, values = space.low[i], space.high[i], rows[:, i]
        outside = int(((values < low) | (values > high)).sum())
        found = histogram(np.clip(values, low, high), low, high)
        beyond = f"; {outside:,} outside, drawn at the bound" if outside else ""
        never_tried = f"; {found.counts.count(0)} of {len(found.counts)} bins never tried"
        yield _drawn(f"action[{i}]", found, len(rows), beyond + never_tried, True)


def sensors(seen: Gather) -> Section:
    """Histograms of vector and token sensors, and of metadata."""
    parts = []
    for name, table in {**seen.sensors, **seen.metadata}.items():
        rows = table.rows()
        parts += [_drawn(f"{name}[{i}]", histogram(rows[:, i]), len(rows)) for i in range(rows.shape[1])]
    lead = "Each number of the sensors and of the metadata; pictures aside, and at most 16 of one."
    return Section("sensors", "Sensors", lead, grid(parts, 280))


def _drawn(name: str, found: Histogram, count: int, more: str = "", empty: bool = False) -> str:
    missing = f"; {found.missing:,} not finite" if found.missing else ""
    return figure(bars(found.edges, found.counts, name, empty), f"n = {count:,}{missing}{more}", name)


def lengths(seen: Gather) -> Section:
    """Episode lengths and returns: how often, and whether they change along the log."""
    parts = []
    for name, by_index in (("steps", seen.lengths), ("return", seen.returns)):
        if not by_index:
            continue
        found, at = np.asarray(list(by_index.values())), np.asarray(list(by_index))
        said = f"; from {found.min():,.4g} over {np.median(found):,.4g} (median) to {found.max():,.4g}"
        parts.append(_drawn(name, histogram(found), len(found), said))
        if len(found) > 1 and found.max() > found.min():
            some = spread(len(found), POINTS)
            line = chart([Line(name, at[some].tolist(), found[some].tolist())], "episode", name, linear=True)
            parts.append(figure(line, f"n = {len(some):,} of {len(found):,} episodes", f"{name}, along the log"))
    return Section("lengths", "Lengths and returns", "", grid(parts, 280))
