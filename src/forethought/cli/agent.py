"""`forethought agent`: learn from a world that surprises, list what was learned, take it back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from forethought.cli.output import Debug, Json, Seed, Show, emit, guarded

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Run = Annotated[Path, typer.Argument(help="A finished run folder.")]


@app.command("learn", short_help="Learn from surprising experience, if it holds.")
def learn(
    run: Run,
    experience: Annotated[Path, typer.Argument(help="A log of the world as it is now, in any format.")],
    why: Annotated[str, typer.Option(help="Kept with the version.")] = "",
    seed: Seed = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fit a small correction to new experience, and keep it only if held-out moves of the new and the old world agree.

    What was trained stays as it is: a version is a folder more in the run, and at each decision the agent acts by the one
    that foretells its world best. A refusal says why, and is no error.

    \b
    Example:
      forethought agent learn runs/mine worn-actuators.h5 --why "the left motor was exchanged"
    """
    guarded(lambda: _learn(run, experience, why, seed, json), debug)


def _learn(run: Path, experience: Path, why: str, seed: int, json: bool) -> None:
    import torch

    from forethought.training.adapt.learn import learn

    torch.set_num_threads(1)
    with Show() as show:
        lesson = learn(run, experience, why=why, seed=seed, watcher=show)
    figures = lesson.figures
    if not lesson.kept:
        text = f"refused: {lesson.why}\nnothing changed: the agent acts as before"
    else:
        text = (
            f"kept as version {lesson.version}: {lesson.change}\n"
            f"held-out errors, in the largest ordinary ones: {figures.before:.2f} before, {figures.after:.2f} after; "
            f"surprising moves {figures.surprised_before:.0%} before, {figures.surprised_after:.0%} after\n"
            f"take it back: forethought agent rollback {run} --to {lesson.version - 1}"
        )
    emit(asdict(lesson), json, text)


@app.command("history", short_help="What was learned, refused and taken back.")
def history(run: Run, json: Json = False, debug: Debug = False) -> None:
    """Everything since training, oldest first; a star marks versions in use.

    \b
    Example:
      forethought agent history runs/mine
    """
    guarded(lambda: _history(run, json), debug)


def _history(run: Path, json: bool) -> None:
    from forethought.training.adapt import store

    folder = store.folder_of(run)
    events, used = store.history(folder), store.active(folder)
    lines = [f"{run}: as trained" + ("" if used else ", and nothing else in use")]
    for event in events:
        star = "*" if event.what == "learned" and event.version in used else " "
        number = f"version {event.version}" if event.version or event.what == "rolled back" else ""
        lines.append(f"{star} {event.when:<26}{event.what:<12}{number:<11}{event.why}")
    emit({"events": [asdict(e) for e in events], "in_use": list(used)}, json, "\n".join(lines))


@app.command("rollback", short_help="Take back what was learned.")
def rollback(
    run: Run,
    to: Annotated[int, typer.Option(min=0, help="The last version to go on using; 0: as trained.")] = 0,
    why: Annotated[str, typer.Option(help="Kept in the history.")] = "",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Stop using every version after one. No file is deleted; the history says what was done.

    \b
    Example:
      forethought agent rollback runs/mine --to 1 --why "the motor was exchanged again"
    """
    guarded(lambda: _rollback(run, to, why, json), debug)


def _rollback(run: Path, to: int, why: str, json: bool) -> None:
    from forethought.training.adapt import store

    folder = store.folder_of(run)
    dropped = store.rollback(folder, to, why)
    names = ", ".join(str(n) for n in dropped) or "none"
    emit({"to": to, "dropped": list(dropped)}, json, f"{run}: versions no longer in use: {names}")
