"""`forethought data import|export`: a log of one format as a log of another, and what was lost on the way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forethought.cli.output import Debug, Json, Show, emit, guarded

if TYPE_CHECKING:
    from forethought.data.experience import Experience

Source = Annotated[Path, typer.Argument(help="A log of any format that we read.")]
Target = Annotated[Path, typer.Argument(help="The new log; it appears when it is whole.")]


def import_(source: Source, target: Target, json: Json = False, debug: Debug = False) -> None:
    """Copy a log of any format into our own layout, and say what was dropped. Killed and given again, it goes on.

    The suffix decides: .h5 (also where there is none), or .npz for a folder with one archive per episode.

    \b
    Example:
      forethought data import downloads/their_log arm.h5
    """
    guarded(lambda: copied(_opened(source), target, None if target.suffix else "hdf5", json), debug)


def export(
    source: Source,
    target: Target,
    format: Annotated[str | None, typer.Option(help="A format's name, such as hdf5 or npz; else the suffix decides.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Copy a log into another format, and say what that has no place for. Killed and given again, it goes on.

    \b
    Example:
      forethought data export arm.h5 arm.npz --format npz
    """
    guarded(lambda: copied(_opened(source), target, format, json), debug)


def _opened(source: Path) -> Experience:
    from forethought.data import open_log

    return open_log(source)


def copied(source: Experience, target: Path, format: str | None, json: bool) -> None:
    """Copy, show how far it is, and tell the result."""
    from forethought.data.convert import convert

    with Show() as show:
        done = convert(source, target, format=format, progress=lambda now, total: show.count("copy", now, total))
    before = f", {done.resumed} of them by an earlier, interrupted run" if done.resumed else ""
    kept = f"{target}: {done.episodes} episodes, {done.steps:,} steps ({done.format}){before}"
    lines = [kept, *(f"dropped: {what}" for what in done.dropped)] + ["nothing dropped"] * (not done.dropped)
    record = {
        "log": str(target), "format": done.format, "episodes": done.episodes, "steps": done.steps,
        "resumed": done.resumed, "dropped": list(done.dropped),
    }  # fmt: skip
    emit(record, json, "\n".join(lines))
