"""`forethought data`: look at a log before an hour is spent on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forethought.cli.output import Debug, Json, emit, guarded

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check a log, and look at it.")
Log = Annotated[Path, typer.Argument(help="A log: HDF5, NPZ, or a folder of NPZ.")]


@app.command(short_help="What is in a log, and what is wrong with it.")
def check(log: Log, json: Json = False, debug: Debug = False) -> None:
    """Say what is in a log and what is wrong with it; exit code 1 if there are errors.

    \b
    Example:
      forethought data check my.h5 --json
    """
    guarded(lambda: _check(log, json), debug)


def _check(log: Path, json: bool) -> None:
    from forethought.data import open_log
    from forethought.data.check import Severity, check_log, summarise

    experience = open_log(log)
    summary, findings = summarise(experience), check_log(experience)
    lines = [str(summary)] + [f"{f.severity.value}: {f.code}: {f.message}" for f in findings] + ["no findings"] * (not findings)
    record = {"summary": str(summary), "findings": [{"severity": f.severity.value, "code": f.code, "message": f.message,
              "episode": f.episode, "row": f.row, "count": f.count} for f in findings]}  # fmt: skip
    emit(record, json, "\n".join(lines))
    if any(f.severity is Severity.ERROR for f in findings):
        raise typer.Exit(1)


@app.command(short_help="Pictures of episodes and numbers.")
def show(
    log: Log,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("."),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a contact sheet of episodes and histograms of every number, as PNG.

    \b
    Example:
      forethought data show my.h5 --out pictures
    """
    guarded(lambda: _show(log, out, json), debug)


def _show(log: Path, out: Path, json: bool) -> None:
    from forethought.data import open_log
    from forethought.data.show import contact_sheet, histogram_sheet, histograms

    experience = open_log(log)
    out.mkdir(parents=True, exist_ok=True)
    written = [
        contact_sheet(experience, out / "contact_sheet.png"),
        histogram_sheet(histograms(experience), out / "histograms.png"),
    ]
    emit({"written": [str(path) for path in written]}, json, "\n".join(str(path) for path in written))
