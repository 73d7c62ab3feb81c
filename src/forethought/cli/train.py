"""`forethought train`: from a log to a run folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from forethought.cli.output import Show, emit, guarded


def train(
    log: Annotated[Path, typer.Argument(help="The log to learn from.")],
    out: Annotated[Path, typer.Option(help="The run folder; an unfinished run in it goes on.")],
    size: Annotated[str, typer.Option(help="xs, s, m or l.")] = "s",
    time: Annotated[
        str | None, typer.Option(help="Wall clock to keep to, such as 90s, 5m, 1h. Default: fixed updates.")
    ] = None,
    frameskip: Annotated[int, typer.Option(min=1, help="Environment actions in one block.")] = 1,
    seed: int = 0,
    threads: Annotated[int, typer.Option(help="Torch threads; 0 leaves torch's choice.")] = 0,
    json: Annotated[bool, typer.Option("--json")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Train a world model, a critic and a habit; Ctrl-C saves, and the same command goes on."""
    guarded(lambda: _train(log, out, size, time, frameskip, seed, threads, json), debug)


def _train(log: Path, out: Path, size: str, time: str | None, frameskip: int, seed: int, threads: int, json: bool) -> None:
    from forethought.training.config import TrainConfig, parse_time, sized, timed
    from forethought.training.train import train as run_training

    config = sized(TrainConfig(seed=seed, frameskip=frameskip, threads=threads), size)
    if time is not None:
        config = timed(config, parse_time(time))
    with Show() as show:
        run = run_training(log, out, dataclasses.replace(config), watcher=show)
    costs = run.stage_costs()
    seconds = sum(cost["seconds"] for cost in costs.values())
    emit(
        {"run": str(run.path), "stages": costs},
        json,
        f"{run.path}: trained in {seconds:.0f} s; next: forethought eval {run.path}",
    )
