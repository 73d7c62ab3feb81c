"""What a log looks like: a contact sheet of episodes, and histograms of its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.durable import atomic_write_bytes
from forethought.data.experience import Experience
from forethought.data.png import draw_text, encode_png, fit
from forethought.data.schema import flat_rows
from forethought.errors import DataError
from forethought.types import Array, Episode, SensorKind

_INK = np.array([52, 104, 165], dtype=np.uint8)
_DARK, _FAINT = np.full(3, 40, dtype=np.uint8), np.full(3, 130, dtype=np.uint8)
_COLOURS = np.array(
    [
        [52, 104, 165],
        [214, 96, 32],
        [46, 140, 87],
        [150, 70, 160],
        [180, 140, 20],
        [200, 50, 80],
        [20, 150, 170],
        [110, 110, 110],
    ],
    dtype=np.uint8,
)
_GAP = 4
_LABEL = 14


@final
@dataclass(frozen=True)
class Histogram:
    """How often each value occurs: `counts` between consecutive `edges`."""

    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]


def contact_sheet(experience: Experience, path: Path, *, num_episodes: int = 8, num_frames: int = 10, cell: int = 96) -> Path:
    """Write a PNG: a row per episode and sensor, frames evenly spaced in time (curves for sensors that are no images)."""
    _require_episodes(experience)
    chosen = np.unique(np.linspace(0, len(experience) - 1, min(num_episodes, len(experience))).astype(int))
    strips = [strip for index in chosen for strip in _episode_strips(experience.episode(int(index)), num_frames, cell)]
    atomic_write_bytes(path, encode_png(np.concatenate(strips)))
    return path


def histograms(experience: Experience, *, bins: int = 40, max_episodes: int = 200) -> tuple[Histogram, ...]:
    """Histograms of episode lengths, of each action number and of each vector or token sensor number (at most 16 each)."""
    _require_episodes(experience)
    chosen = np.unique(np.linspace(0, len(experience) - 1, min(max_episodes, len(experience))).astype(int))
    columns: dict[str, list[Array]] = {"steps": [np.asarray(experience.lengths())]}
    for episode in (experience.episode(int(index)) for index in chosen):
        for name, values in _numbers(experience, episode):
            for i, column in enumerate(flat_rows(values).T[:16]):
                columns.setdefault(f"{name}[{i}]", []).append(column)
    return tuple(_histogram(name, np.concatenate(parts), bins) for name, parts in columns.items())


def histogram_sheet(histograms: tuple[Histogram, ...], path: Path, *, columns: int = 4) -> Path:
    """Write a PNG with one small bar chart per histogram."""
    cells = [_bars(histogram) for histogram in histograms]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    rows = [np.concatenate(cells[at : at + columns], axis=1) for at in range(0, len(cells), columns)]
    atomic_write_bytes(path, encode_png(np.concatenate(rows)))
    return path


def _require_episodes(experience: Experience) -> None:
    if not len(experience):
        raise DataError("the log has no episodes; record some first")


def _episode_strips(episode: Episode, num_frames: int, cell: int) -> list[NDArray[np.uint8]]:
    width = num_frames * (cell + _GAP) + _GAP
    strips = [_label(width, [(f"{episode.id}  {episode.num_steps} steps", _DARK)])]
    for name, values in episode.observations.items():
        strips += _frames(values, num_frames, cell) if values.ndim == 4 else _curves(name, flat_rows(values), width, cell)
    strips += _curves("action", flat_rows(episode.actions), width, cell // 2)
    return [*strips, np.full((3 * _GAP, width, 3), 255, dtype=np.uint8)]


def _label(width: int, parts: list[tuple[str, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """A line of text, each part in its colour."""
    line = np.full((_LABEL, width, 3), 255, dtype=np.uint8)
    at = _GAP
    for text, colour in parts:
        draw_text(line, text, 2, at, ink=colour)
        at += 8 * len(text) + 16
    return line


def _frames(values: Array, num_frames: int, cell: int) -> list[NDArray[np.uint8]]:
    """Frames evenly spaced in time, the row's number under each."""
    width = num_frames * (cell + _GAP) + _GAP
    strip = np.full((cell + _LABEL, width, 3), 255, dtype=np.uint8)
    for i, row in enumerate(np.linspace(0, len(values) - 1, num_frames).astype(int)):
        at = _GAP + i * (cell + _GAP)
        strip[:cell, at : at + cell] = fit(values[row], cell, cell)
        draw_text(strip, f"row {row}", cell + 2, at, ink=_FAINT)
    return [strip]


def _curves(name: str, values_TN: Array, width: int, height: int) -> list[NDArray[np.uint8]]:
    """Up to eight numbers over time, each on its own scale, which the line above names."""
    shown = np.nan_to_num(values_TN[:, :8].astype(np.float64))
    canvas = np.full((height + _GAP, width, 3), 255, dtype=np.uint8)
    field = canvas[:height, _GAP:-_GAP]
    field[:] = 245
    legend = []
    for i, column in enumerate(shown.T):
        low, high = column.min(), column.max()
        legend.append((f"{name}[{i}] {low:.3g}:{high:.3g}", _COLOURS[i]))
        _draw_curve(field, (column - low) / (high - low) if high > low else np.full(len(column), 0.5), _COLOURS[i])
    if values_TN.shape[1] > 8:
        legend.append((f"+{values_TN.shape[1] - 8}", _FAINT))
    return [_label(width, legend), canvas]


def _draw_curve(field: NDArray[np.uint8], share_T: NDArray[np.float64], colour: NDArray[np.uint8]) -> None:
    """A line two pixels thick, steep places joined."""
    height, width, _ = field.shape
    at = np.linspace(0, len(share_T) - 1, width)
    y = ((1 - np.interp(at, np.arange(len(share_T)), share_T)) * (height - 2)).astype(int)
    before = np.concatenate([y[:1], y[:-1]])
    rows = np.arange(height)[:, None]
    field[(rows >= np.minimum(y, before)) & (rows <= np.maximum(y, before) + 1)] = colour


def _numbers(experience: Experience, episode: Episode) -> list[tuple[str, Array]]:
    named = [("action", episode.actions)]
    vectors = [sensor.name for sensor in experience.spec.sensors if sensor.kind is not SensorKind.IMAGE]
    return named + [(name, episode.observations[name]) for name in vectors]


def _histogram(name: str, values: Array, bins: int) -> Histogram:
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return Histogram(name, (0.0, 1.0), (0,))
    if finite.dtype.kind in "iub" and np.ptp(finite.astype(np.int64)) < bins:
        edges = np.arange(int(finite.min()), int(finite.max()) + 2) - 0.5
        counts, edges = np.histogram(finite, bins=edges)
    else:
        counts, edges = np.histogram(finite.astype(np.float64), bins=bins)
    return Histogram(name, tuple(map(float, edges)), tuple(map(int, counts)))


def _bars(histogram: Histogram, height: int = 110, width: int = 240) -> NDArray[np.uint8]:
    image = np.full((height, width, 3), 255, dtype=np.uint8)
    counts = np.asarray(histogram.counts, dtype=np.float64)
    tall = np.ceil(counts / max(counts.max(), 1) * (height - 40)).astype(int)
    columns = np.arange(width - 20) * len(counts) // (width - 20)
    inside = np.arange(height - 40)[::-1, None] < tall[columns][None]
    image[18 : height - 22, 10:-10][inside] = _INK
    draw_text(image, histogram.name, 4, 10)
    draw_text(image, f"{histogram.edges[0]:.3g}", height - 16, 10)
    high = f"{histogram.edges[-1]:.3g}"
    draw_text(image, high, height - 16, width - 10 - 8 * len(high))
    return image
