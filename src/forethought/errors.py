"""The error tree. Every error says what we got, what was expected, and what to do.

ForethoughtError
├── UsageError            asked wrongly: unknown name, impossible option          (exit code 2)
│   └── MissingExtra      a feature whose optional packages are not installed     (exit code 2)
├── ConfigError           a configuration that cannot be read or does not fit     (exit code 2)
├── DataError             a log that cannot be used; carries file and place       (exit code 1)
├── RunError              a run folder that is missing, damaged or incompatible   (exit code 1)
├── TrainingError         training cannot go on (diverged, ran out of memory)     (exit code 1)
│   └── CollapseError     the latent collapsed; says what to change               (exit code 1)
└── ContractError         an object breaks one of the five seams' contracts       (exit code 1)
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable


class ForethoughtError(Exception):
    """Base of every error that Forethought raises on purpose."""

    exit_code = 1


class UsageError(ForethoughtError):
    """Something was asked for that does not exist or does not fit."""

    exit_code = 2


class MissingExtra(UsageError):
    """A feature needs an optional extra that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra '{extra}'. Install it: pip install 'forethought[{extra}]'")


class ConfigError(ForethoughtError):
    """A configuration cannot be read, or does not fit what it is used with."""

    exit_code = 2


class DataError(ForethoughtError):
    """A log cannot be used. `path` and `place` say where."""

    def __init__(self, message: str, path: str | os.PathLike[str] | None = None, place: str = "") -> None:
        self.path = os.fspath(path) if path is not None else None
        self.place = place
        where = ": ".join(part for part in (self.path, place) if part)
        super().__init__(f"{where}: {message}" if where else message)


class RunError(ForethoughtError):
    """A run folder is missing, damaged, or made by an incompatible version."""


class TrainingError(ForethoughtError):
    """Training cannot go on."""


class CollapseError(TrainingError):
    """The latent carries (almost) nothing any more; the message says what to change."""


class ContractError(ForethoughtError):
    """An object breaks the contract of one of the five seams."""


def unknown_name(kind: str, got: str, known: Iterable[str]) -> UsageError:
    """A UsageError for a name that is not registered, with the nearest known ones.

    >>> str(unknown_name("planner", "cemm", ["cem", "mppi"]))
    "unknown planner 'cemm'; known: cem, mppi. Did you mean 'cem'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(got, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return UsageError(f"unknown {kind} '{got}'; known: {', '.join(names) or 'none'}.{hint}")
