"""The command line for tests: inside this process (fast), or as a user has it."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from typer.testing import CliRunner

from forethought.cli.main import app

FORETHOUGHT = (sys.executable, "-W", "ignore", "-m", "forethought")


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """Standard error as one line."""
        return " ".join(self.stderr.split())


def call(*arguments: object, code: int = 0) -> Done:
    """Run a command in this process and check its exit code; anything but an exit fails the test with its traceback."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.stderr
    assert "Traceback" not in result.stderr
    return Done(result.stdout, result.stderr)
