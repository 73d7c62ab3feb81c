"""The command line: one file a command, everything heavy imported inside."""

from __future__ import annotations

from typing import Annotated

import typer

import forethought
from forethought.cli import (
    agent,
    bench,
    collect,
    config,
    data,
    data_copy,
    demo,
    doctor,
    evaluate,
    meter,
    probe,
    surprise,
    train,
)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command("demo", short_help="The whole path in a few minutes, and a report.")(demo.demo)
app.add_typer(data.app, name="data", short_help="Check, show, convert and cut logs.")
data.app.command("import", short_help="A log of any format into our own layout.")(data_copy.import_)
data.app.command("export", short_help="A log into another format.")(data_copy.export)
data.app.command("split", short_help="Three logs: training, calibration, testing.")(data_copy.cut)
data.app.command("merge", short_help="One log out of several.")(data_copy.merge)
data.app.command("filter", short_help="The episodes of which a predicate is true.")(data_copy.select)
data.app.command("subset", short_help="Some episodes, some sensors.")(data_copy.subset)
app.command("collect", short_help="Record episodes from an environment.")(collect.collect)
app.command("train", short_help="From a log to an agent.")(train.train)
app.command("config", short_help="Print a training's configuration.")(config.config)
app.command("eval", short_help="Evaluate a run against every floor.")(evaluate.evaluate)
app.command("surprise", short_help="Does the agent know when it is wrong?")(surprise.surprise)
app.command("trust", short_help="How far can the habit be trusted?")(surprise.trust)
app.add_typer(agent.app, name="agent", short_help="Learn from surprise; history; rollback.")
app.command("meter", short_help="What training and a solved task cost.")(meter.meter)
app.command("probe", short_help="Which quantities can a run name?")(probe.probe)
app.command("doctor", short_help="What this machine can do, and what to fix.")(doctor.doctor)
app.command("bench", short_help="How fast this machine is.")(bench.bench)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(forethought.__version__)
        raise typer.Exit()


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """From logged experience to an agent that predicts, plans, and knows when it is wrong.

    Results go to stdout, talk to stderr. Exit codes: 0 done, 1 failed, 2 asked wrongly, 130 interrupted (state saved).

    \b
    Begin here:
      forethought demo                             the whole path in a few minutes
      forethought data check my.h5                 your own log
      forethought train my.h5 --out runs/mine --time 5m
    """


def main() -> None:
    """Entry point of the `forethought` command."""
    app()
