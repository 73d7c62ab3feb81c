"""What a check says: how bad, what, how often, where first, and what to do."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import final


class Severity(enum.Enum):
    """How bad: ERROR training refuses, WARNING results will suffer, INFO good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@final
@dataclass(frozen=True)
class Finding:
    """One thing found `count` times, first at `episode` and `row` (None: the whole log); the message says the remedy."""

    severity: Severity
    code: str
    message: str
    sensor: str | None = None
    count: int = 1
    episode: str | None = None
    row: int | None = None


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The same code and sensor counted together, the first place kept; worst first."""
    first: dict[tuple[str, str | None], Finding] = {}
    for finding in findings:
        key = (finding.code, finding.sensor)
        first[key] = replace(first[key], count=first[key].count + finding.count) if key in first else finding
    order = list(Severity)
    return tuple(sorted(first.values(), key=lambda finding: order.index(finding.severity)))
