"""Counts as pictures: bars, and a map of cells. Both say what was never there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from forethought.page.svg import BOTTOM, LEFT, RIGHT, TOP, WIDTH, nice, short

Floats = NDArray[np.float64]


def bars(edges: Sequence[float], counts: Sequence[int], label: str, empty: bool = False) -> str:
    """A histogram, `counts` between consecutive `edges`; `empty` marks the bins where nothing is."""
    width, height, foot = WIDTH, 120, 20
    low, high, top = edges[0], edges[-1], max(max(counts, default=0), 1)

    def at(value: float) -> float:
        return LEFT / 2 + (value - low) / max(high - low, 1e-300) * (width - LEFT)

    parts = [f'<svg viewBox="0 0 {width} {height}" class="chart" role="img" aria-label="{escape(label)}">']
    for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True):
        tall = count / top * (height - foot - 8)
        told = f"<title>{short(left)} to {short(right)}: {count:,}</title>"
        x, wide = at(left), max(at(right) - at(left) - 0.8, 0.8)
        if count:
            tall = max(tall, 1.5)
            parts.append(_rect(x, height - foot - tall, wide, tall, "fill:var(--c0)", told))
        elif empty:
            parts.append(_rect(x, height - foot - 5, wide, 5, "fill:var(--c1)", told))
    parts.append(f'<line x1="{LEFT / 2}" x2="{width - LEFT / 2}" y1="{height - foot}" y2="{height - foot}" class="rule"/>')
    half = 0.5 if all(edge % 1 == 0.5 for edge in edges) else 0.0  # a bin per whole number is named by it
    parts.append(f'<text x="{LEFT / 2}" y="{height - 5}">{short(low + half)}</text>')
    last = f'<text x="{width - LEFT / 2}" y="{height - 5}" text-anchor="end">{short(high - half)}</text>'
    return "".join([*parts, last * (high - half > low + half), "</svg>"])


def cells(counts_XY: NDArray[np.int64], x: tuple[float, float], y: tuple[float, float], labels: tuple[str, str]) -> str:
    """A map: how often each cell was visited (darker: more often, by the logarithm); cells without a visit stay empty."""
    wide, tall = (WIDTH - LEFT - RIGHT) / counts_XY.shape[0], (WIDTH - LEFT - RIGHT) / counts_XY.shape[1]
    height, top = WIDTH - LEFT - RIGHT + TOP + BOTTOM, math.log1p(max(1, int(counts_XY.max(initial=0))))
    step = [(high - low) / size for (low, high), size in zip((x, y), counts_XY.shape, strict=True)]
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" class="chart" role="img" aria-label="{escape(" by ".join(labels))}">']
    parts.append(_rect(LEFT, TOP, WIDTH - LEFT - RIGHT, height - TOP - BOTTOM, "fill:var(--track)"))
    for i, j in np.argwhere(counts_XY):
        where = f"{short(x[0] + i * step[0])}, {short(y[0] + j * step[1])}: {counts_XY[i, j]:,}"
        shade = f"fill:var(--c0);opacity:{0.25 + 0.75 * math.log1p(int(counts_XY[i, j])) / top:.2f}"
        up = height - BOTTOM - (j + 1) * tall
        parts.append(_rect(LEFT + i * wide, up, wide - 0.4, tall - 0.4, shade, f"<title>{where}</title>"))
    for tick in nice(*x, 6):
        at = LEFT + (tick - x[0]) / (x[1] - x[0]) * (WIDTH - LEFT - RIGHT)
        parts.append(f'<text x="{at:.1f}" y="{height - BOTTOM + 15}" text-anchor="middle">{short(tick)}</text>')
    for tick in nice(*y, 6):
        at = height - BOTTOM - (tick - y[0]) / (y[1] - y[0]) * (height - TOP - BOTTOM)
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    return f'<div class="small dim">{escape(labels[1])} by {escape(labels[0])}</div>{"".join(parts)}</svg>'


def _rect(x: float, y: float, width: float, height: float, style: str, inside: str = "") -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" style="{style}">{inside}</rect>'
