"""The command line: one file a command, everything heavy imported inside."""

from __future__ import annotations

from typing import Annotated

import typer

import forethought
from forethought.cli import collect, data, demo, doctor, evaluate, train

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="From logged experience to an agent that plans.")
app.add_typer(data.app, name="data")
app.command("demo")(demo.demo)
app.command("collect")(collect.collect)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("doctor")(doctor.doctor)
app.command("bench")(doctor.bench)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(forethought.__version__)
        raise typer.Exit()


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """From logged experience to an agent that predicts, plans, and knows when it is wrong."""


def main() -> None:
    """Entry point of the `forethought` command."""
    app()
