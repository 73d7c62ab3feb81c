"""Episodes to look at: a strip of pictures per camera, and curves of sensors and actions."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from forethought.data.show.gather import Film, Gather
from forethought.page.html import Section, figure, grid, picture
from forethought.page.svg import Line, chart
from forethought.types import Array

CURVES = 5


def films(seen: Gather) -> Section:
    """The first, shortest, median, longest, best and worst episode, each once."""
    why: dict[int, list[str]] = {}
    shown: dict[int, Film] = {}
    for reason, (index, film) in seen.films.items():
        why.setdefault(index, []).append(reason)
        shown[index] = film
    n = len(seen.lengths)
    lead = f"{len(shown)} of n = {n:,} episodes; under each picture its row."
    return Section("episodes", "Episodes", lead, "".join(_film(film, why[index]) for index, film in sorted(shown.items())))


def _film(film: Film, why: Iterable[str]) -> str:
    reward = "" if film.reward is None else f" · return {film.reward:.4g}"
    head = f'<div class="small"><b>{escape(film.id)}</b> · {film.steps:,} steps{reward} · <span class="dim">{", ".join(why)}</span></div>'
    strips = "".join(_strip(film, camera, named=len(film.frames) > 1) for camera in film.frames)
    curves = grid([_curves(film, name, values) for name, values in film.curves.items()], 260)
    return f'<div class="film">{head}{strips}{curves}</div>'


def _strip(film: Film, camera: str, named: bool) -> str:
    name = f'<div class="small dim">{escape(camera)}</div>' if named else ""
    shots = zip(film.rows, film.frames[camera], strict=True)
    frames = [
        f'<span class="frame">{picture(image, f"{camera}, row {row}")}<small>{row}</small></span>' for row, image in shots
    ]
    return f'{name}<div class="strip">{"".join(frames)}</div>'


def _curves(film: Film, name: str, values: Array) -> str:
    shown = values[:, :CURVES].astype(float).T
    lines = [Line(f"{name}[{i}]", film.points.tolist(), column.tolist()) for i, column in enumerate(shown)]
    more = f", {values.shape[1] - CURVES} more numbers" if values.shape[1] > CURVES else ""
    return figure(chart(lines, "row", name, linear=True), f"n = {len(film.points)} rows{more}")
