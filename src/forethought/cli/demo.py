"""`forethought demo`: the whole path in about three minutes, and a report to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forethought.cli.output import Debug, Json, Seed, Show, emit, guarded, talk


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the log, the run and the report.")] = Path("runs/demo"),
    seed: Seed = 0,
    n: Annotated[int, typer.Option(min=1, help="Start-goal pairs to evaluate.")] = 300,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Collect pixels from Two-Room, learn a world model, watch an agent reach goals, and write a report.

    \b
    Example:
      forethought demo --out runs/demo
    """
    guarded(lambda: _demo(out, seed, n, json), debug)


def _demo(out: Path, seed: int, n: int, json: bool) -> None:
    import time

    import torch

    from forethought.arena.evaluate import evaluate
    from forethought.arena.report import write_report
    from forethought.cli.evaluate import table
    from forethought.data import write_log
    from forethought.envs.two_room import log_spec, record
    from forethought.training.recipes import two_room_fixed
    from forethought.training.train import train

    began = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    log, run = out / "log.h5", out / f"run-{seed}"
    with Show() as show:
        if not log.exists():
            talk.print("an agent that knows nothing wanders about for 600 episodes ...")
            write_log(log, record(600, 64, seed, random=False), log_spec())
        talk.print("learning to predict, on frozen latents to plan ...")
        train(log, run, two_room_fixed(seed), watcher=show)
        talk.print("reaching goals that it never saw ...")
        torch.set_num_threads(1)
        found = evaluate(run, "two-room-fixed-v1", count=n, modes=("plan", "habit"), progress=show.count)
    report = write_report(run, "two-room-fixed-v1", found)
    seconds = time.perf_counter() - began
    record_ = {
        "seconds": seconds,
        "report": str(report),
        "success": found.agent.success().share,
        "n": len(found.agent.outcomes),
    }
    emit(record_, json, table(found) + f"\n{seconds:.0f} s in all; look at {report}")
