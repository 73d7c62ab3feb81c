"""The verdict, the success table with its intervals, and what a solved task costs."""

from __future__ import annotations

import math
from html import escape

from forethought.arena.evaluate import Evaluation
from forethought.arena.protocol import Result
from forethought.arena.statistics import Interval
from forethought.page.html import Section, cards, table
from forethought.page.svg import interval_bar
from forethought.training.run import RunFolder
from forethought.types import Effort


def head(folder: RunFolder, found: Evaluation) -> str:
    """Title, the verdict in one sentence, and four figures."""
    agent, floor = found.agent, next(r for r in found.results if r.agent == found.floor)
    success, seconds = agent.success(), sum(c.effort.seconds for c in folder.stage_costs().values())
    n = len(agent.outcomes)
    compare = f"The best rule that learns nothing (“{floor.agent}”) reached {_percent(floor.success())} of the same goals"
    surely = "a difference that chance does not explain" if found.p_against_floor < 0.05 else "no difference that n can tell"
    verdict = f"It reached {_percent(success)} of {n} goals it never saw."
    figures = [
        (_percent(success), f"goals reached, n = {n}; 95 % interval {_interval(success)}"),
        (
            _percent(floor.success()),
            f"the highest floor, “{floor.agent}”, same {n} pairs; exact McNemar p = {found.p_against_floor:.1g}",
        ),
        (
            _ms(agent.latency(0.5)),
            f"a decision, median of {_decisions(agent):,}; {_ms(agent.latency(0.99))} at the 99th percentile",
        ),
        (f"{seconds:.0f} s", "of training on this machine, one seed"),
    ]
    marks = "".join(f'<p class="note">{escape(mark)}.</p>' for mark in agent.marks())
    return (
        f'<p class="eyebrow">{escape(agent.task)} · run {escape(folder.path.name)}</p><h1>{escape(verdict)}</h1>'
        f'<p class="lead">{escape(compare)}: {surely}.</p>{marks}{cards(figures)}'
    )


def success(found: Evaluation) -> Section:
    """Agents and floors on the same pairs, by class."""
    classes = sorted({c for o in found.agent.outcomes for c in o.classes})
    heads = ["", f"all (n = {len(found.agent.outcomes)})", *(f"{escape(c)} (n = {len(found.agent.of(c))})" for c in classes)]
    rows = [
        [escape(result.agent), *(_cell(result.success(group), result is found.agent) for group in (None, *classes))]
        for result in found.results
    ]
    lead = (
        "Everyone gets the same starts and goals. Read a figure against the highest floor: rules below the agents learn nothing. "
        f"{found.agent.solved_at_start} pairs were solved at the start: removed. Wilson 95 % intervals; one training seed."
    )
    return Section("success", "Success", lead, table(heads, rows, main=0))


def cost(folder: RunFolder, found: Evaluation) -> Section:
    """What one solved task costs, failures included; and what training cost."""
    learned = [r for r in found.results if r.latency(0.5) > 0]
    rows = [
        [
            escape(r.agent), _number(r.per_solved("predictor_passes"), 0), _number(r.per_solved("planner_calls"), 1),
            _number(1e3 * r.per_solved("cpu_seconds"), 0), f"{r.latency(0.5):.2f}", f"{r.latency(0.99):.2f}", f"{_decisions(r):,}",
        ]
        for r in learned
    ]  # fmt: skip
    heads = ["for each task solved", "imagined steps", "searches", "CPU ms", "p50 ms", "p99 ms", "n decisions"]
    stages = [
        [escape(name), f"{c.updates:,}", f"{c.effort.seconds:.1f}", f"{c.effort.cpu_seconds:.1f}"]
        for name, c in folder.stage_costs().items()
    ]
    total = sum((c.effort for c in folder.stage_costs().values()), Effort())
    stages.append(["all", "", f"{total.seconds:.1f}", f"{total.cpu_seconds:.1f}"])
    lead = f"Costs of all {len(found.agent.outcomes)} episodes, failures too, divided by the tasks solved; milliseconds are one decision's."
    training = f"<h3>Training</h3>{table(['stage', 'updates', 'seconds', 'CPU seconds'], stages)}"
    return Section("cost", "What it costs", lead, table(heads, rows, main=0) + training)


def _cell(interval: Interval, accent: bool) -> str:
    bar = interval_bar(interval.low, interval.share, interval.high, accent)
    return f'{_percent(interval)} <span class="dim small">{_interval(interval)}</span>{bar}'


def _percent(interval: Interval) -> str:
    return f"{100 * interval.share:.1f} %" if math.isfinite(interval.share) else "–"


def _interval(interval: Interval) -> str:
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if math.isfinite(value) else "–"


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if math.isfinite(value) else "none solved"


def _decisions(result: Result) -> int:
    return sum(len(o.milliseconds) for o in result.outcomes)
