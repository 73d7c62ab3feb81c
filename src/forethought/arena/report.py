"""`report.html`: one self-contained page that a person likes to read. Every section stands on figures in the run folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forethought.agent.agent import ForethoughtAgent
from forethought.arena.evaluate import Evaluation
from forethought.arena.protocol import Outcome, film
from forethought.arena.svg import Line, chart, heat, picture
from forethought.arena.task import Pair, Task
from forethought.arena.tasks import make_task
from forethought.arena.two_room import distance_map
from forethought.config import read_json
from forethought.data.durable import atomic_write_bytes
from forethought.training.bundle import load_agent
from forethought.training.calibrate import Calibration
from forethought.training.run import RunFolder

STYLE = """
:root{--ink:#1d2330;--dim:#626b7d;--paper:#fbfaf7;--card:#fff;--rule:#e3e0d8;--accent:#2f6fde}
@media(prefers-color-scheme:dark){:root{--ink:#e7e9ee;--dim:#98a2b5;--paper:#15181f;--card:#1d212b;--rule:#303643;--accent:#7fa8ff}}
body{font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:960px;margin:0 auto;padding:32px 20px 80px}
h1{font-size:30px;margin:0 0 4px}h2{font-size:20px;margin:44px 0 6px}p.lead,figcaption,.dim{color:var(--dim)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px;margin:22px 0}
.card{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:14px 16px}.card b{display:block;font-size:25px}
.row{display:flex;flex-wrap:wrap;gap:18px}figure{margin:8px 0;background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:12px}
.chart{width:420px;max-width:100%;height:auto}.chart text{font:11px system-ui;fill:var(--dim)}.chart .key{font-weight:600}.grid{stroke:var(--rule)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}td,th{padding:6px 10px;border-bottom:1px solid var(--rule);text-align:right}
td:first-child,th:first-child{text-align:left}tr.agent{font-weight:600}.strip{display:flex;flex-wrap:wrap;gap:3px;margin:6px 0}img{border-radius:4px;image-rendering:pixelated}
code{background:var(--card);padding:1px 5px;border-radius:4px}
"""


def write_report(run: str | os.PathLike[str], task: str | Task, found: Evaluation) -> Path:
    """Write `report.html` into the run folder; returns its path."""
    folder, chosen = RunFolder(Path(run).expanduser()), make_task(task) if isinstance(task, str) else task
    agent = load_agent(run)
    pairs = {pair.id: pair for pair in chosen.pairs(len(found.agent.outcomes) + found.agent.solved_at_start, _seed(found))}
    parts = [_head(folder, found), _success(found), _cost(folder, found), _learned(folder), _critic(folder)]
    parts += [
        _map(agent, chosen, list(pairs.values())),
        _films(agent, chosen, found.agent.outcomes, pairs),
        _worst(agent, chosen, found, pairs),
    ]
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(found.agent.task)}'
    atomic_write_bytes(folder.report, f"{page}</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>".encode())
    return folder.report


def _seed(found: Evaluation) -> int:
    return int(found.agent.outcomes[0].pair.split("/")[1]) if found.agent.outcomes else 0


def _head(folder: RunFolder, found: Evaluation) -> str:
    agent, seconds = found.agent, sum(c["seconds"] for c in folder.stage_costs().values())
    floor = next(r for r in found.results if r.agent == found.floor)
    cards = [
        (f"{100 * agent.success().share:.1f} %", f"of {len(agent.outcomes)} goals reached; interval {agent.success()}"),
        (
            f"{100 * floor.success().share:.1f} %",
            f"highest floor, '{floor.agent}', on the same pairs (McNemar p = {found.p_against_floor:.1g})",
        ),
        (
            f"{agent.latency(0.5):.1f} ms",
            f"a planned decision, median; {agent.latency(0.99):.1f} ms at the 99th percentile, one thread",
        ),
        (f"{seconds:.0f} s", "of training on this machine"),
    ]
    shown = "".join(f'<div class="card"><b>{escape(big)}</b>{escape(small)}</div>' for big, small in cards)
    lead = "What was learned from the log, how well an agent plans with it, what that costs, and where it fails."
    return f'<h1>{escape(agent.task)}</h1><p class="lead">{lead}</p><div class="cards">{shown}</div>'


def _success(found: Evaluation) -> str:
    classes = sorted({c for o in found.agent.outcomes for c in o.classes})
    rows = []
    for result in found.results:
        cells = "".join(f"<td>{escape(str(result.success(c)))}</td>" for c in classes)
        mark = ' class="agent"' if result is found.agent else ""
        rows.append(f"<tr{mark}><td>{escape(result.agent)}</td><td>{escape(str(result.success()))}</td>{cells}</tr>")
    heads = "".join(f"<th>{escape(c)} (n = {len(found.agent.of(c))})</th>" for c in classes)
    removed = f"{found.agent.solved_at_start} pairs were solved at the start: removed. Intervals are Wilson's, 95 %. One training seed."
    removed += "".join(f" <b>{escape(mark)}.</b>" for mark in found.agent.marks())
    return f"<h2>Success</h2><table><tr><th></th><th>all (n = {len(found.agent.outcomes)})</th>{heads}</tr>{''.join(rows)}</table><p class='dim'>{removed}</p>"


def _cost(folder: RunFolder, found: Evaluation) -> str:
    learned = [r for r in found.results if r.latency(0.5) > 0]
    rows = "".join(
        f"<tr><td>{escape(r.agent)}</td><td>{r.per_solved('predictor_passes'):,.0f}</td><td>{r.per_solved('planner_calls'):.1f}</td>"
        f"<td>{r.per_solved('cpu_seconds'):.3f}</td><td>{r.latency(0.5):.2f}</td><td>{r.latency(0.99):.2f}</td></tr>"
        for r in learned
    )
    stages = ", ".join(
        f"{n} {c['seconds']:.0f} s ({c['cpu_seconds']:.0f} CPU s, {c['updates']:.0f} updates)"
        for n, c in folder.stage_costs().items()
    )
    head = "<tr><th>for each task solved</th><th>predictor passes</th><th>planner calls</th><th>CPU s</th><th>p50 ms</th><th>p99 ms</th></tr>"
    return f"<h2>What it costs</h2><table>{head}{rows}</table><p class='dim'>Training: {escape(stages)}.</p>"


def _learned(folder: RunFolder) -> str:
    metrics = folder.read_metrics()
    charts = []
    for stage, names in (
        ("predict", ("prediction", "unchanged", "inverse")),
        ("predict", ("rank",)),
        ("dynamics", ("uniform", "p99")),
        ("heads", ("off",)),
    ):
        lines = []
        for name in names:
            points = [(m["update"], m[name]) for m in metrics if m["stage"] == stage and name in m]
            if points:
                lines.append(Line(name, [p[0] for p in points], [p[1] for p in points], dashed=name == "unchanged"))
        if lines:
            charts.append(f"<figure>{chart(lines, f'{stage}: update', ', '.join(names))}</figure>")
    note = "unchanged: the error of predicting that nothing changes. rank: dimensions of the state in use. p99: the worst 1 % of transitions."
    return f"<h2>What was learned</h2><div class='row'>{''.join(charts)}</div><p class='dim'>{note}</p>"


def _critic(folder: RunFolder) -> str:
    if not folder.calibration.is_file():
        return ""
    c = read_json(Calibration, folder.calibration)
    steps = [i + 1.0 for i in range(len(c.horizon_error))]
    horizon = [
        Line("imagined", steps, c.horizon_error),
        Line("worst 1 %", steps, c.error_p99),
        Line("nothing changes", steps, c.unchanged_error, True),
    ]
    apart = [float(k) for k in c.steps_apart]
    distance = [
        Line("critic, mean", apart, c.distance_mean),
        Line("10 %", apart, c.distance_p10),
        Line("90 %", apart, c.distance_p90),
        Line("blocks in the log", apart, apart, True),
    ]
    charts = f"<figure>{chart(horizon, 'blocks ahead', 'state error')}</figure><figure>{chart(distance, 'blocks apart in the log', 'distance')}</figure>"
    note = f"Held-out episodes ({c.episodes}). The log wanders, so its blocks are an upper bound on the distance: a good critic lies on the line or below."
    return f"<h2>On episodes it never saw</h2><div class='row'>{charts}</div><p class='dim'>{note}</p>"


def _map(agent: ForethoughtAgent, task: Task, pairs: Sequence[Pair]) -> str:
    """Two-Room only: the critic's distance from every place to one goal, read off pictures of the agent being there."""
    if not task.id.startswith("two-room") or agent.config.cost != "critic":
        return ""
    shown = []
    for pair in [p for p in pairs if "cross" in p.classes][:3]:
        values, scene = distance_map(agent, pair)
        shown.append(f"<figure>{picture(heat(values), 5, 'temporal distance')} {picture(scene, 3, 'goal (green)')}</figure>")
    return f"<h2>How far is it?</h2><p class='dim'>The learned distance to a goal from everywhere: it goes round by the door.</p><div class='row'>{''.join(shown)}</div>"


def _films(agent: ForethoughtAgent, task: Task, outcomes: Sequence[Outcome], pairs: dict[str, Pair]) -> str:
    chosen = [o for o in outcomes if o.success and "cross" in o.classes][:3] or [o for o in outcomes if o.success][:3]
    return "<h2>Episodes</h2>" + "".join(_strip(agent, task, pairs[o.pair], o) for o in chosen)


def _worst(agent: ForethoughtAgent, task: Task, found: Evaluation, pairs: dict[str, Pair]) -> str:
    failed = [o for o in found.agent.outcomes if not o.success]
    worst = (failed + sorted((o for o in found.agent.outcomes if o.success), key=lambda o: -o.steps))[:10]
    note = f"{len(failed)} of {len(found.agent.outcomes)} failed. The ten worst: failures first, then the longest ways."
    return f"<h2>Where it fails</h2><p class='dim'>{note}</p>" + "".join(
        _strip(agent, task, pairs[o.pair], o, 10) for o in worst
    )


def _strip(agent: ForethoughtAgent, task: Task, pair: Pair, outcome: Outcome, most: int = 12) -> str:
    frames = film(agent, task, pair)
    if not frames:
        return ""
    picked: list[NDArray[np.uint8]] = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, most).astype(int))]
    images = "".join(picture(_shrink(frame)) for frame in picked)
    said = f"{'reached' if outcome.success else 'failed'} after {outcome.steps} steps; {escape(', '.join(outcome.classes) or 'easy')}"
    return f"<div class='strip'>{images}</div><div class='dim'>{said}</div>"


def _shrink(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = max(1, round(frame.shape[0] / 72))
    return frame[::step, ::step]
