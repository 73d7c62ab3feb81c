"""What was learned: curves of training, error by horizon, what the latent knows, and whether the critic can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from forethought.page.html import Section, figure, grid, table
from forethought.page.svg import Line, chart, interval_bar
from forethought.training.calibrate import Calibration
from forethought.training.run import RunFolder

ERROR = "mean squared error"
CURVES = (
    ("predict", "Predicting the next latent", ERROR, {"prediction": "prediction", "unchanged": "nothing changes"}),
    ("predict", "Dimensions of the state in use", "effective rank", {"rank": "rank"}),
    ("predict", "Telling the action from two states", ERROR, {"inverse": "inverse dynamics"}),
    ("dynamics", "Dynamics on frozen latents", ERROR, {"uniform": "mean", "p99": "worst 1 %", "unchanged": "nothing changes"}),
    ("heads", "How far off the critic is", "blocks", {"off": "mean of a batch"}),
    ("probe", "Reading named quantities", "R²", {"r2": "training batches"}),
)


def training(folder: RunFolder) -> Section:
    """Loss and rank over training."""
    metrics = folder.read_metrics()
    shown = [
        figure(chart(lines, f"update of stage “{stage}”", unit), _curve_note(lines), title)
        for stage, title, unit, names in CURVES
        if (lines := _curves(metrics, stage, names))
    ]
    lead = "The dashed line predicts that nothing changes: below it, something is known. A rank that falls to 1 is a collapse."
    return Section("learned", "What was learned", lead, grid(shown))


def held_out(figures: Calibration) -> Section:
    """Error by horizon and its tail, on episodes that no training saw."""
    steps = [i + 1.0 for i in range(len(figures.horizon_error))]
    lines = [
        Line("imagined", steps, figures.horizon_error),
        Line("worst 1 %", steps, figures.error_p99),
        Line("nothing changes", steps, figures.unchanged_error, dashed=True),
    ]
    count = (
        f"n = {figures.windows:,} windows of {figures.episodes} held-out episodes"
        if figures.windows
        else f"{figures.episodes} episodes"
    )
    parts = (
        [figure(chart(lines, "blocks ahead", "mean squared state error"), f"{count}.", "How far ahead it can see")]
        if steps
        else []
    )
    if figures.probes:
        parts.append(figure(_probes(figures), _probe_note(figures), "What the latent knows"))
    lead = "On episodes that no training saw. Where “imagined” meets the dashed line, imagination is no better than standing still."
    return Section("held-out", "On episodes it never saw", lead, grid(parts, 400))


def critic(figures: Calibration) -> str:
    """The critic's distance against blocks really taken, as a figure."""
    if not figures.steps_apart:
        return ""
    apart = [float(k) for k in figures.steps_apart]
    lines = [
        Line(
            "critic: mean, and 10 % to 90 %", apart, figures.distance_mean, low=figures.distance_p10, high=figures.distance_p90
        ),
        Line("blocks taken in the log", apart, apart, dashed=True),
    ]
    pairs = f"n = {figures.windows:,} pairs at each of {len(apart)} spans, {figures.episodes} held-out episodes. "
    note = (
        f"{pairs if figures.windows else ''}The log wanders, so its blocks are an upper bound: a good critic lies on the line or below. "
        f"One block apart it says {figures.distance_mean[0]:.2f}; scale {figures.scale:.2f}."
    )
    return figure(
        chart(lines, "blocks apart in the log", "distance, in blocks", linear=True), note, "Can the critic be trusted?"
    )


def _curves(metrics: Sequence[Mapping[str, Any]], stage: str, names: Mapping[str, str]) -> list[Line]:
    lines = []
    for name, label in names.items():
        points = [(m["update"], m[name]) for m in metrics if m["stage"] == stage and name in m]
        if points:
            lines.append(Line(label, [p[0] for p in points], [p[1] for p in points], dashed=name == "unchanged"))
    return lines


def _curve_note(lines: Sequence[Line]) -> str:
    ends = "; ".join(f"{escape(line.name)} {line.y[-1]:.3g}" for line in lines)
    return f"At the end: {ends}. n = {len(lines[0].x)} log lines of one run."


def _probes(figures: Calibration) -> str:
    rows = [[escape(p.name), _share(p.linear), _share(p.nonlinear)] for p in figures.probes]
    return table(["R² of", "a straight line", "the probe"], rows)


def _share(value: float) -> str:
    inside = min(1.0, max(0.0, value))
    return f"{value:.3f}{interval_bar(0.0, inside, inside, True)}"


def _probe_note(figures: Calibration) -> str:
    return (
        f"Quantities that the log names, read off the latent: 1 is perfect, 0 is their mean. n = {figures.probes[0].rows:,} held-out rows. "
        "No training but the probe's own ever sees them. A straight line that does nearly as well means that they lie flat in the latent."
    )
