"""Small pictures as inline SVG: line charts and heat maps. Strings in, strings out."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.png import encode_png

COLOURS = ("#2f6fde", "#d9534f", "#2e9e6b", "#b07cc6", "#c98a1b")


@final
@dataclass(frozen=True)
class Line:
    """One named curve: x and y of equal length; `dashed` for what is only a comparison."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


def chart(lines: Sequence[Line], x_label: str, y_label: str, width: int = 420, height: int = 230) -> str:
    """A line chart with axes from zero and a legend."""
    left, right, top, bottom = 52, 10, 12, 38
    x_top = max((max(line.x) for line in lines if len(line.x)), default=1.0) or 1.0
    y_top = max((max(line.y) for line in lines if len(line.y)), default=1.0) or 1.0
    x_low = min((min(line.x) for line in lines if len(line.x)), default=0.0)

    def place(x: float, y: float) -> str:
        across = left + (x - x_low) / max(x_top - x_low, 1e-12) * (width - left - right)
        return f"{across:.1f},{height - bottom - y / y_top * (height - top - bottom):.1f}"

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" class="chart">']
    for tick in (0.0, 0.5, 1.0):
        across = place(x_low, tick * y_top).split(",")[1]
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{across}" y2="{across}" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{float(across) + 4:.1f}" text-anchor="end">{_short(tick * y_top)}</text>')
        x_value = x_low + tick * (x_top - x_low)
        parts.append(
            f'<text x="{place(x_value, 0).split(",")[0]}" y="{height - bottom + 16}" text-anchor="middle">{_short(x_value)}</text>'
        )
    for index, line in enumerate(lines):
        points = " ".join(place(float(x), float(y)) for x, y in zip(line.x, line.y, strict=True))
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        colour = COLOURS[index % len(COLOURS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(
            f'<text x="{width - right - 4}" y="{top + 14 + 15 * index}" text-anchor="end" style="fill:{colour}" class="key">{escape(line.name)}</text>'
        )
    parts.append(f'<text x="{(left + width) / 2}" y="{height - 4}" text-anchor="middle" class="axis">{escape(x_label)}</text>')
    parts.append(
        f'<text transform="translate(12 {height / 2}) rotate(-90)" text-anchor="middle" class="axis">{escape(y_label)}</text></svg>'
    )
    return "".join(parts)


def picture(image_HWC: NDArray[np.uint8], scale: int = 1, title: str = "") -> str:
    """An image tag that carries its PNG."""
    data = base64.b64encode(encode_png(np.ascontiguousarray(image_HWC))).decode()
    height, width = image_HWC.shape[:2]
    return f'<img src="data:image/png;base64,{data}" width="{width * scale}" height="{height * scale}" alt="{escape(title)}" title="{escape(title)}">'


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


def _short(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"
