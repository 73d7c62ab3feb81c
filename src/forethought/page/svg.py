"""Small pictures as inline SVG: line charts, interval bars, arrows; and heat maps. Colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import final

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 210, 42, 20, 10, 36


@final
@dataclass(frozen=True)
class Line:
    """One named curve: x and y of equal length; `dashed` for what is only a comparison; `low`, `high`: a band around it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@final
@dataclass(frozen=True)
class _Frame:
    """Where data lie on the paper; y from zero, or by its logarithm."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    log: bool

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / max(self.x_high - self.x_low, 1e-12) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        scale = math.log10 if self.log else float
        low, high, at = scale(self.y_low), scale(self.y_high), scale(max(value, self.y_low))
        return HEIGHT - BOTTOM - (at - low) / max(high - low, 1e-12) * (HEIGHT - TOP - BOTTOM)


def chart(lines: Sequence[Line], x_label: str, y_label: str, linear: bool = False) -> str:
    """A line chart with its key; a span of more than 40 times is drawn on a logarithmic scale, unless told not to."""
    frame = _framed(lines, linear)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="chart" role="img" aria-label="{escape(y_label)} by {escape(x_label)}">'
    ]
    for tick in _y_ticks(frame):
        y = frame.y(tick)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="rule"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    for tick in nice(frame.x_low, frame.x_high, 5):
        parts.append(f'<text x="{frame.x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{short(tick)}</text>')
    parts += [_curve(line, index, frame) for index, line in enumerate(lines)]
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_label)}</text></svg>')
    scale = ", logarithmic" if frame.log else ""
    return f'<div class="small dim">{escape(y_label)}{scale}</div>{"".join(parts)}{_key(lines)}'


def _framed(lines: Sequence[Line], linear: bool) -> _Frame:
    xs = [x for line in lines for x in line.x]
    ys = [y for line in lines for part in (line.y, line.low, line.high) for y in part if math.isfinite(y)]
    top, positive = max(ys, default=1.0) or 1.0, [y for y in ys if y > 0]
    log = not linear and len(positive) == len(ys) and bool(ys) and top / min(positive) > 40
    low = 10 ** math.floor(math.log10(min(positive))) if log else min(0.0, min(ys, default=0.0))
    return _Frame(min(xs, default=0.0), max(xs, default=1.0), low, top if log else top + 0.1 * (top - low), log)


def _curve(line: Line, index: int, frame: _Frame) -> str:
    colour, band = f"var(--c{index % 5})", ""
    if len(line.low):
        there = [f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in zip(line.x, line.high, strict=True)]
        back = [f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in zip(line.x, line.low, strict=True)][::-1]
        band = f'<polygon points="{" ".join(there + back)}" style="fill:{colour}" opacity=".18"/>'
    points = [(frame.x(x), frame.y(y)) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" style="fill:{colour}"/>' for x, y in points if len(points) < 16)
    return f'{band}<polyline points="{path}" fill="none" style="stroke:{colour}" stroke-width="2" stroke-linejoin="round"{dash}/>{dots}'


def _key(lines: Sequence[Line]) -> str:
    marks = "".join(
        f'<span><i{" class=dash" if line.dashed else ""} style="border-color:var(--c{index % 5})"></i>{escape(line.name)}</span>'
        for index, line in enumerate(lines)
    )
    return f'<div class="key">{marks}</div>'


def _y_ticks(frame: _Frame) -> list[float]:
    if not frame.log:
        return nice(frame.y_low, frame.y_high, 4)
    first, last = math.ceil(math.log10(frame.y_low)), math.floor(math.log10(frame.y_high))
    return [10.0**power for power in range(first, last + 1)]


def nice(low: float, high: float, about: int) -> list[float]:
    """Round numbers between low and high."""
    raw = max(high - low, 1e-12) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= raw)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def interval_bar(low: float, share: float, high: float, accent: bool) -> str:
    """A share in [0, 1] as a point with its interval on a track."""
    colour = "var(--c0)" if accent else "var(--dim)"
    point = f'<circle cx="{100 * share:.1f}" cy="4.5" r="3" style="fill:{colour}"/>' if math.isfinite(share) else ""
    return (
        '<svg class="bar" viewBox="-3 0 106 9" aria-hidden="true">'
        '<rect x="0" y="3.5" width="100" height="2" rx="1" style="fill:var(--track)"/>'
        f'<rect x="{100 * low:.1f}" y="2.5" width="{max(1.0, 100 * (high - low)):.1f}" height="4" rx="2" style="fill:{colour}" '
        f'opacity=".45"/>{point}</svg>'
    )


def arrow(x: float, y: float) -> str:
    """A two-dimensional action in [-1, 1], as an arrow from the middle of a small square; y points down, as in pictures."""
    tip_x, tip_y = 20 + 16 * x, 20 + 16 * y
    return (
        '<svg viewBox="0 0 40 40" width="40" height="40" role="img" aria-label="the action">'
        '<circle cx="20" cy="20" r="18" fill="none" style="stroke:var(--rule)"/>'
        f'<line x1="20" y1="20" x2="{tip_x:.1f}" y2="{tip_y:.1f}" style="stroke:var(--c1)" stroke-width="2.5"/>'
        f'<circle cx="{tip_x:.1f}" cy="{tip_y:.1f}" r="3.5" style="fill:var(--c1)"/></svg>'
    )


def heat(values_HW: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A heat map (H, W, 3): dark blue near, yellow far; NaN is grey."""
    finite = np.isfinite(values_HW)
    top = values_HW[finite].max() if finite.any() else 1.0
    share = np.where(finite, values_HW / max(top, 1e-9), 0.0)
    stops = np.array([[20, 30, 90], [40, 110, 160], [70, 170, 130], [190, 200, 70], [250, 230, 90]], dtype=np.float64)
    position = np.clip(share, 0, 1) * (len(stops) - 1)
    low = np.minimum(position.astype(int), len(stops) - 2)
    mix = (position - low)[..., None]
    colours = stops[low] * (1 - mix) + stops[low + 1] * mix
    shown: NDArray[np.uint8] = np.where(finite[..., None], colours, 128).astype(np.uint8)
    return shown


def short(value: float) -> str:
    """A number as an axis shows it.

    >>> short(0.25), short(12000.0), short(0.0001)
    ('0.25', '12k', '1e-04')
    """
    if value == 0 or abs(value) < 1e-12:
        return "0"
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.0e}" if abs(value) < 0.001 else f"{value:.4g}"
