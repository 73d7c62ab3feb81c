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
    label = np.full((_LABEL, width, 3), 255, dtype=np.uint8)
    draw_text(label, f"{episode.id}  {episode.num_steps} steps", 2, _GAP)
    rows = np.linspace(0, episode.num_steps, num_frames).astype(int)
    strips = [label]
    for values in episode.observations.values():
        strip = np.full((cell + _GAP, width, 3), 255, dtype=np.uint8)
        if values.ndim == 4:
            for i, row in enumerate(rows):
                at = _GAP + i * (cell + _GAP)
                strip[:cell, at : at + cell] = fit(values[row], cell, cell)
        else:
            _draw_curves(strip[:cell, _GAP:-_GAP], flat_rows(values)[:, :8])
        strips.append(strip)
    return strips


def _draw_curves(canvas: NDArray[np.uint8], values_TN: Array) -> None:
    height, width, _ = canvas.shape
    canvas[:] = 245
    values = np.nan_to_num(values_TN.astype(np.float64))
    low, high = values.min(), values.max()
    at = np.linspace(0, len(values) - 1, width)
    for i, column in enumerate(values.T):
        curve = np.interp(at, np.arange(len(values)), column)
        y = ((high - curve) / max(high - low, 1e-12) * (height - 2)).astype(int)
        canvas[y, np.arange(width)] = np.roll(_INK, i)
        canvas[np.minimum(y + 1, height - 1), np.arange(width)] = np.roll(_INK, i)


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
