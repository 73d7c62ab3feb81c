"""What every command shares: data to stdout, talk to stderr, one clear line for an error, the exit codes."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from forethought.errors import ForethoughtError

INTERRUPTED = 130
talk = Console(stderr=True, highlight=False)
Json = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Seed = Annotated[int, typer.Option(min=0, help="Of all randomness.")]


def emit(data: Mapping[str, Any], as_json: bool, text: str) -> None:
    """The command's result on stdout: JSON for programs, or text for people; once, from the first rank under `torchrun`."""
    if first_rank():
        write(json.dumps(data, indent=1, default=str) if as_json else text)


def first_rank() -> bool:
    """Is this process alone, or the first that `torchrun` started?"""
    return os.environ.get("RANK", "0") == "0"


def write(text: str) -> None:
    """Text on stdout, with one line end. A reader that left early (`| head`) is no error."""
    try:
        sys.stdout.write(text.rstrip() + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@final
class Interrupts:
    """Ctrl-C is remembered as well as raised: inside a library's callback it can get lost, or become another error."""

    asked = False
    patient = False  # wait for the next `check`: HDF5 does not survive an exception in the middle of what it does

    def heard(self, *_: object) -> None:
        again, self.asked = self.asked, True
        if again or not self.patient:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise a Ctrl-C that got lost. Long loops call it, by way of `Show.count`."""
        if self.asked:
            raise KeyboardInterrupt

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Hear Ctrl-C while inside; from any thread but the first there is no hearing it."""
        self.asked = self.patient = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous, hook = signal.signal(signal.SIGINT, self.heard), sys.unraisablehook

        def lost(unraisable: sys.UnraisableHookArgs) -> None:
            if unraisable.exc_type is not KeyboardInterrupt:  # a lost Ctrl-C is remembered: no traceback need tell of it
                hook(unraisable)

        sys.unraisablehook = lost
        try:
            yield
        finally:
            sys.unraisablehook = hook
            signal.signal(signal.SIGINT, previous)


interrupts = Interrupts()


def guarded(work: Callable[[], None], debug: bool = False) -> None:
    """Run a command's work; errors made on purpose, and the system's own, become one line and an exit code."""
    try:
        with interrupts.watched():
            work()
    except BaseException as error:
        told = isinstance(error, ForethoughtError) and error.exit_code == INTERRUPTED
        if not told and (interrupts.asked or isinstance(error, KeyboardInterrupt)):
            talk.print("interrupted; what was complete is kept: give the same command again", soft_wrap=True)
            raise typer.Exit(INTERRUPTED) from None
        if debug or not isinstance(error, ForethoughtError | OSError):
            raise
        who = "" if first_rank() else f" (rank {os.environ['RANK']})"
        talk.print(f"[bold red]error{who}:[/] {_plain(_said(error))}", soft_wrap=True)
        raise typer.Exit(error.exit_code if isinstance(error, ForethoughtError) else 1) from None


def _said(error: ForethoughtError | OSError) -> str:
    if isinstance(error, ForethoughtError):
        return str(error)
    return f"{error.filename or 'this machine'}: {error.strerror or error}; free space, or choose another place"


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


@final
class Show:
    """A training watcher: a bar on a terminal, a bare line every few seconds otherwise."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.tasks: dict[str, TaskID] = {}
        self.spoken = 0.0
        if talk.is_terminal and first_rank():
            columns = (
                TextColumn("{task.description:<9}"),
                BarColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(elapsed_when_finished=True),
            )
            self.bar = Progress(*columns, console=talk)
            self.bar.start()

    def __enter__(self) -> Show:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def note(self, text: str) -> None:
        talk.print(_plain(text))

    def progress(self, progress: Any) -> None:
        """Show one moment of a stage (training's Progress)."""
        names = {"loss": "loss", "rank": "rank", "p99": "worst 1 %", "off": "off by"}
        figures = "  ".join(f"{names[k]} {v:.3g}" for k, v in progress.metrics.items() if k in names)
        if progress.frames_per_second:
            figures += f"  {progress.frames_per_second:,.0f} frames/s"
        self.count(progress.stage, progress.done, progress.total, figures.strip())

    def count(self, what: str, done: int, total: int, figures: str = "") -> None:
        """Show a plain count."""
        interrupts.check()
        if self.bar is not None:
            if what not in self.tasks:
                self.tasks[what] = self.bar.add_task(what, total=total, figures="")
            self.bar.update(self.tasks[what], completed=done, total=total, figures=figures)
        elif done >= total or time.monotonic() - self.spoken > 10:
            self.spoken = time.monotonic()
            talk.print(_plain(f"{what}: {done}/{total} {figures}".rstrip()))
