"""`forethought eval`: figures that can be trusted, and a report to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forethought.cli.output import Debug, Json, Show, emit, guarded


def evaluate(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    task: Annotated[str, typer.Option(help="A task id, such as two-room-fixed-v1.")],
    n: Annotated[int, typer.Option(min=1, help="Start-goal pairs.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the pairs.")] = 0,
    guard: Annotated[list[str] | None, typer.Option(help='What must hold all along, such as "position.x < 0.8".')] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="How surely guardrails must hold.")] = 0.99,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Evaluate against every floor on the same pairs; writes evaluation.json and report.html into the run.

    \b
    Examples:
      forethought eval runs/mine --task two-room-fixed-v1
      forethought eval runs/mine --task two-room-fixed-v1 --guard "position.x < 0.8 or position.y > 0.5"
    """
    guarded(lambda: _evaluate(run, task, n, seed, guard or [], confidence, json), debug)


def _evaluate(run: Path, task: str, n: int, seed: int, guard: list[str], confidence: float, json: bool) -> None:
    import torch

    from forethought.arena.evaluate import evaluate as run_evaluation
    from forethought.arena.report import write_report
    from forethought.costs.guardrail import Guardrail

    torch.set_num_threads(1)  # one decision is too small for more: a second thread only waits
    with Show() as show:
        rails = [Guardrail(text, confidence) for text in guard]
        found = run_evaluation(run, task, count=n, seed=seed, guardrails=rails, progress=show.count)
    report = write_report(run, task, found)
    record: dict[str, Any] = {"report": str(report), "p_against_floor": found.p_against_floor, "floor": found.floor}
    record["success"] = {
        r.agent: [r.success().share, r.success().low, r.success().high, len(r.outcomes)] for r in found.results
    }
    emit(record, json, table(found) + f"\nreport: {report}")


def table(found: Any) -> str:
    """The success table as text."""
    lines = [f"{found.agent.task}: n = {len(found.agent.outcomes)}, {found.agent.solved_at_start} solved at the start removed"]
    for result in found.results:
        classes = sorted({c for o in result.outcomes for c in o.classes})
        parts = [f"{c} {result.success(c)}" for c in classes]
        timing = f"   p50 {result.latency(0.5):.1f} ms, p99 {result.latency(0.99):.1f} ms" if result.latency(0.5) > 0 else ""
        lines.append(f"  {result.agent:<9}{result.success()!s:<24} {'  '.join(parts)}{timing}")
    lines.append(f"  {found.agent.agent} against '{found.floor}': exact McNemar p = {found.p_against_floor:.2g}")
    lines += [f"  note: {mark}" for mark in found.agent.marks()]
    return "\n".join(lines)
