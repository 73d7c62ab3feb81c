"""`forethought train`: from a log to a run folder."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from forethought.cli.config import Asked, File, Frameskip, Recipe, Seed, Size, Threads, Time, resolve
from forethought.cli.output import Debug, Json, Show, emit, guarded


def train(
    log: Annotated[Path, typer.Argument(help="The log to learn from.")],
    out: Annotated[Path, typer.Option(help="The run folder; an unfinished run in it goes on.")],
    recipe: Recipe = None,
    file: File = None,
    size: Size = None,
    time: Time = None,
    frameskip: Frameskip = None,
    seed: Seed = None,
    threads: Threads = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a world model, a critic and a habit; Ctrl-C saves, and the same command goes on.

    \b
    Examples:
      forethought train my.h5 --out runs/mine --time 5m
      forethought train rooms.h5 --out runs/rooms --recipe two-room-random --seed 1
      forethought train my.h5 --out runs/again --config runs/mine/config.json
    """
    asked = Asked(recipe, file, size, time, frameskip, seed, threads)
    guarded(lambda: _train(log, out, asked, json), debug)


def _train(log: Path, out: Path, asked: Asked, json: bool) -> None:
    began = perf_counter()  # importing torch is on the clock too
    from forethought.training.train import train as run_training

    with Show() as show:
        run = run_training(log, out, resolve(asked), watcher=show, began=began)
    costs, seconds = {name: cost.record() for name, cost in run.stage_costs().items()}, run.spent()
    text = f"{run.path}: trained in {seconds:.0f} s; next: forethought eval {run.path} --task TASK"
    emit({"run": str(run.path), "stages": costs}, json, text)
