"""Writes docs/cli.md from the help texts: python docs/make_cli.py"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from forethought.cli.main import app

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# The command line

<!-- Written by `python docs/make_cli.py`; change the help texts instead. -->

Results go to stdout (`--json` for programs), talk and progress to stderr. Exit codes: 0 it is done; 1 it failed (through a
log, a run, or the machine); 2 it was asked wrongly; 130 interrupted, with what was complete kept: the same command goes on. An
error is one line that says what we got, what was expected and what to do; `--debug` shows where it arose.

Completion for your shell: `forethought --install-completion`. `python -m forethought` is the same program.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"\n## {name}\n\n```text\n{text}\n```\n" for name, text in helps())


def helps() -> Iterator[tuple[str, str]]:
    """Command and help text, at 100 columns."""
    root: Any = typer.main.get_command(app)
    yield from _walk(root, "forethought", None)


def _walk(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    context = command.context_class(command, info_name=name, parent=parent, terminal_width=100, max_content_width=100)
    shown = context.command_path
    yield shown, "\n".join(line.rstrip() for line in command.get_help(context).rstrip().splitlines())
    for inner, one in getattr(command, "commands", {}).items():
        yield from _walk(one, inner, context)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
