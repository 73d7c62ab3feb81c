"""`forethought meter`: what training cost, and what a solved task costs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from forethought.cli.output import Debug, Json, emit, guarded, talk


def meter(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    watts: Annotated[
        float | None, typer.Option(min=0.0, help="Of a busy core, where joules are estimated (7 unless told).")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """What training cost by stage, and what each solved task cost the agents of the run's evaluation.

    FLOPs are counted by formula. Joules are readings of the machine's counters where it has some, else estimates, marked ~.

    \b
    Example:
      forethought meter runs/mine
    """
    guarded(lambda: _meter(run, watts, json), debug)


def _meter(run: Path, watts: float | None, json: bool) -> None:
    from forethought.arena.costs import run_cost

    found = run_cost(run, watts)
    if not found.agents:
        talk.print(f"no evaluation here yet; forethought eval {run} --task TASK makes one", soft_wrap=True, markup=False)
    record: dict[str, Any] = {
        "training": {**{name: cost.record() for name, cost in found.stages.items()}, "all": found.training().record()},
        "task": found.task,
        "per_solved": [_plain(a) for a in found.agents],
    }
    emit(record, json, table(found))


def table(found: Any) -> str:
    """Both tables as text."""
    lines = [f"  {'training':<12}{'updates':>9}{'seconds':>10}{'CPU s':>10}{'FLOPs':>10}{'joules':>11}"]
    for name, cost in [*found.stages.items(), ("all", found.training())]:
        spent, updates = cost.effort, f"{cost.updates:,}" if cost.updates else ""
        times = f"{spent.seconds:>10,.1f}{spent.cpu_seconds:>10,.1f}"
        lines.append(f"  {name:<12}{updates:>9}{times}{short(cost.flops):>10}{joules(spent.energy):>11}")
    if found.agents:
        lines += ["", f"  {found.task}: a solved task, failures included"]
        heads = f"{'solved':>10}{'passes':>10}{'FLOPs':>10}{'CPU s':>9}{'joules':>11}{'p50 ms':>9}{'p99 ms':>9}"
        lines.append(f"  {'agent':<12}{heads}")
    for a in found.agents:
        numbers = f"{f'{a.solved}/{a.n}':>10}{a.passes:>10,.0f}{short(a.flops):>10}{a.cpu_seconds:>9.3f}"
        lines.append(f"  {a.agent:<12}{numbers}{joules(a.energy):>11}{a.p50_ms:>9.2f}{a.p99_ms:>9.2f}")
    if any(a.flops is None for a in found.agents):
        lines.append("  an older version evaluated this and did not count FLOPs: evaluate again to have them")
    if any("~" in line for line in lines):
        lines.append("  ~ estimated from CPU and accelerator seconds by stated watts, not measured (docs/meter.md)")
    return "\n".join(lines)


def _plain(agent: Any) -> dict[str, Any]:
    """As JSON has it, which knows no infinity: nothing was solved."""
    record = {**asdict(agent), "joules": agent.energy.joules, "energy": agent.energy.known.value}
    return {name: None if value == float("inf") else value for name, value in record.items()}


def joules(energy: Any) -> str:
    """Joules, with ~ where they are an estimate."""
    return f"{'' if energy.known.value == 'reading' else '~'}{energy.joules:,.3g}"


def short(flops: float | None) -> str:
    """A large number in a few characters: 1.2e9 as 1.2 G; a dash for none."""
    if flops is None:
        return "-"
    for letter, unit in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if flops >= unit:
            return f"{flops / unit:.3g} {letter}"
    return f"{flops:.3g}"
