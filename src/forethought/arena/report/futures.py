"""Imagined against real futures, and the transitions that surprised it most."""

from __future__ import annotations

from html import escape

import numpy as np
from torch import Tensor

from forethought.arena.report.films import Lens, read
from forethought.page.html import Section, figure, grid, picture, table
from forethought.page.svg import Line, arrow, chart
from forethought.training.calibrate import Calibration
from forethought.training.examples import PERCENTILES, Examples
from forethought.training.tail import Transition


def futures(examples: Examples, figures: Calibration, lens: Lens) -> Section:
    """Windows at fixed percentiles of the final error: frame by frame, or as curves of named quantities."""
    horizon = examples.imagined_KHD.shape[1]
    count = f"n = {len(examples.error_K)} windows of {figures.episodes} held-out episodes"
    lead = (
        f"From one frame and {horizon} logged actions, what does it expect? The windows stand at fixed percentiles of the error: nobody picked the pretty ones. "
        "The decoder is for you to look through and no agent uses it: compare the third row with the second, which shows what its eye can resolve."
    )
    if lens.decoder is None or not examples.frames_KHHWC.shape[-2]:
        return Section("futures", "Imagined and real", lead.split("The decoder")[0], _as_curves(examples, lens, count))
    shown = [_window(examples, k, lens, count) for k in range(len(examples.error_K))]
    return Section("futures", "Imagined and real", lead, grid(shown, 620))


def _window(examples: Examples, k: int, lens: Lens, count: str) -> str:
    assert lens.decoder is not None
    frames = examples.frames_KHHWC[k].numpy()
    device = lens.decoder.mean_HWC.device
    seen = lens.decoder.pictures(examples.real_KHD[k].to(device)).cpu().numpy()
    imagined = lens.decoder.pictures(examples.imagined_KHD[k].to(device)).cpu().numpy()
    rows = [
        ("what came", [picture(f, f"{h} blocks on") for h, f in enumerate(frames)]),
        ("the same, as the latent holds it", [picture(f, f"{h} blocks on, decoded") for h, f in enumerate(seen)]),
        (
            "imagined from the first frame alone",
            [picture(seen[0], "the start, decoded"), *(picture(f, "imagined") for f in imagined)],
        ),
    ]
    body = "".join(
        f'<small>{name}</small><div class="row" style="--columns:{len(cells)}">{"".join(cells)}</div>' for name, cells in rows
    )
    return figure(
        f'<div class="future">{body}</div>',
        f"One of {count}.",
        f"{_rank(PERCENTILES[k])}: squared state error {examples.error_K[k]:.2g}",
    )


def _rank(percentile: float) -> str:
    return (
        "The median"
        if percentile == 50
        else f"Better than {100 - percentile:.0f} %"
        if percentile < 50
        else f"Worse than {percentile:.0f} %"
    )


def _as_curves(examples: Examples, lens: Lens, count: str) -> str:
    """Without a camera: two named quantities, imagined and real."""
    if lens.probe is None:
        return ""
    shown = []
    for k, percentile in enumerate(PERCENTILES):
        real, imagined = read(lens.probe, examples.real_KHD[k]), read(lens.probe, examples.imagined_KHD[k])
        steps = [float(h) for h in range(len(real))]
        lines = []
        for q, name in enumerate(lens.probe.names[:2]):
            lines += [
                Line(f"{name}, imagined", steps[1:], imagined[:, q].tolist()),
                Line(f"{name}, came", steps, real[:, q].tolist(), True),
            ]
        shown.append(
            figure(
                chart(lines, "blocks ahead", "read off the latent"),
                f"Squared state error {examples.error_K[k]:.2g}. One of {count}.",
                _rank(percentile),
            )
        )
    return grid(shown, 280)


def surprises(examples: Examples, figures: Calibration, lens: Lens) -> Section:
    """The worst transitions: before, what came, what was imagined, and the action."""
    tail = figures.tail
    if not tail.worst or not len(examples.worst_M):
        return Section("surprises", "What surprised it", "", "")
    lead = (
        f"One block at a time, n = {tail.count:,} held-out transitions: median error {tail.p50:.2g}, mean {tail.mean:.2g}, 99th percentile {tail.p99:.2g}. "
        f"<b>The worst 1 % hold {100 * tail.share:.0f} % of all error.</b> Below, the worst of all, at most one an episode; "
        "<code>calibration.json</code> names the others."
    )
    cells = [_surprise(examples, m, tail.worst[int(i)], figures, lens) for m, i in enumerate(examples.worst_M)]
    return Section("surprises", "What surprised it", lead, grid(cells, 270))


def _surprise(examples: Examples, m: int, worst: Transition, figures: Calibration, lens: Lens) -> str:
    caption = f"{escape(worst.episode)}, step {worst.step}; of n = {figures.tail.count:,}"
    title = f"{worst.error / max(figures.tail.p50, 1e-12):,.0f} × the median error"
    action = _action(examples.worst_action_MA[m])
    body = _pictures(examples, m, lens) + _readings(examples, m, lens)
    return figure(body, f'<span style="display:flex;gap:10px;align-items:center">{action}<span>{caption}</span></span>', title)


def _pictures(examples: Examples, m: int, lens: Lens) -> str:
    frames = examples.worst_frames_M2HWC[m].numpy()
    if not frames.shape[1] or lens.decoder is None:
        return ""
    imagined = lens.decoder.pictures(examples.worst_imagined_MD[m : m + 1].to(lens.decoder.mean_HWC.device))[0].cpu().numpy()
    shown = (("before", frames[0]), ("what came", frames[1]), ("imagined", imagined))
    return f'<div class="trio">{"".join(f"<span>{picture(image, name)}{name}</span>" for name, image in shown)}</div>'


def _readings(examples: Examples, m: int, lens: Lens) -> str:
    """Without pictures, the first named quantities in numbers."""
    if lens.probe is None or examples.worst_frames_M2HWC.shape[-2]:
        return ""
    before, came = read(lens.probe, examples.worst_real_M2D[m])
    imagined = read(lens.probe, examples.worst_imagined_MD[m : m + 1])[0]
    rows = [[escape(name), *(f"{v[q]:.3g}" for v in (before, came, imagined))] for q, name in enumerate(lens.probe.names[:4])]
    return table(["", "before", "came", "imagined"], rows)


def _action(action_A: Tensor) -> str:
    """Two numbers as an arrow (a block of several: their mean); anything else as numbers."""
    values = action_A.numpy().astype(np.float64)
    if len(values) and len(values) % 2 == 0:
        x, y = values.reshape(-1, 2).mean(0)
        return arrow(float(x), float(y))
    return f"<code>{escape(', '.join(f'{v:.2f}' for v in values[:6]))}</code>"
