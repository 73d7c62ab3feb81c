"""The README's picture, from a finished run of the demo: python -m benchmarks.pictures runs/demo/run-0

Above: one episode between rooms, every few steps, as the agent sees it, the goal in green. Below: the learned distance to that
goal and to two more from every place, near dark and far bright, with a line every few blocks.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forethought.agent.agent import ForethoughtAgent
from forethought.arena.protocol import run_episode
from forethought.arena.task import Pair
from forethought.arena.tasks import make_task
from forethought.arena.two_room import distance_map
from forethought.data.durable import atomic_write_bytes
from forethought.page.png import encode_png
from forethought.training.bundle import load_agent

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "demo.png"
FRAMES, ZOOM, GAP, CELLS = 8, 2, 10, 96
STOPS = np.array([[38, 30, 92], [43, 98, 150], [66, 160, 132], [176, 200, 96], [250, 232, 130]], dtype=np.float64)
Image = NDArray[np.uint8]


def draw(run: Path) -> Image:
    """The whole picture (H, W, 3)."""
    agent, task = load_agent(run), make_task("two-room-fixed-v1")
    pairs = sorted((p for p in task.pairs(60, 1) if "cross" in p.classes), key=_apart, reverse=True)[:3]
    frames: list[Image] = []
    run_episode(agent, task, pairs[0], lambda episode, *_: frames.append(episode.picture()))
    shown = [frames[i] for i in np.linspace(0, len(frames) - 1, FRAMES).astype(int)]
    strip = _row([_zoom(frame, ZOOM) for frame in shown])
    size = (strip.shape[1] - GAP * (len(pairs) - 1)) // len(pairs)
    maps = _row([_resize(_map(agent, pair), size) for pair in pairs])
    width = min(strip.shape[1], maps.shape[1])
    gap: Image = np.full((GAP, width, 3), 255, np.uint8)
    return np.concatenate([strip[:, :width], gap, maps[:, :width]])


def _apart(pair: Pair) -> float:
    return float(np.linalg.norm(pair.setup[2:4] - pair.setup[4:6]))


def _map(agent: ForethoughtAgent, pair: Pair) -> Image:
    """The distance as colours, with a line at every fifth block, and the goal."""
    values, _ = distance_map(agent, pair, CELLS)
    known = np.isfinite(values)
    share = np.where(known, values, 0.0) / np.nanmax(values) * (len(STOPS) - 1)
    low = np.minimum(share.astype(int), len(STOPS) - 2)
    colours = STOPS[low] + (share - low)[..., None] * (STOPS[low + 1] - STOPS[low])
    band = np.where(known, values // 5, -1)
    line = np.zeros_like(known)
    line[:-1] |= (band[:-1] != band[1:]) & known[:-1] & known[1:]
    line[:, :-1] |= (band[:, :-1] != band[:, 1:]) & known[:, :-1] & known[:, 1:]
    colours = np.where(line[..., None], 0.72 * colours, colours)
    image: Image = np.where(known[..., None], colours, [40, 44, 60]).astype(np.uint8)
    across, down = (pair.setup[4:6] * CELLS).astype(int)
    image[down - 1 : down + 2, across - 1 : across + 2] = [80, 220, 120]
    return image


def _zoom(image: Image, times: int) -> Image:
    zoomed: Image = image.repeat(times, 0).repeat(times, 1)
    return zoomed


def _resize(image: Image, size: int) -> Image:
    at = np.arange(size) * len(image) // size
    return image[at][:, at]


def _row(images: list[Image]) -> Image:
    gap: Image = np.full((len(images[0]), GAP, 3), 255, np.uint8)
    return np.concatenate([part for image in images for part in (image, gap)][:-1], axis=1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    atomic_write_bytes(PICTURE, encode_png(np.ascontiguousarray(draw(Path(sys.argv[1])))))
    print("written:", PICTURE, f"{PICTURE.stat().st_size / 1000:.0f} kB")
