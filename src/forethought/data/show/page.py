"""The whole page: what is in the log, what it looks like, what is wrong with it, and where it has never been."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

from forethought.data.checks import Examination, Severity, Summary, examine, summarise
from forethought.data.checks.seam import Log
from forethought.data.durable import atomic_write_bytes
from forethought.data.experience import Experience
from forethought.data.show.films import films
from forethought.data.show.gather import Gather
from forethought.data.show.numbers import actions, coverage, lengths, sensors
from forethought.data.show.timeline import timeline
from forethought.errors import DataError
from forethought.page.html import cards, whole_page


def write_page(experience: Experience, path: Path, *, progress: Callable[[int, int], None] | None = None) -> Examination:
    """Write the page; returns what `data check` found. Reads each episode once. Raises DataError for an empty log."""
    if not len(experience):
        raise DataError("the log has no episodes; record some first", experience.path)
    seen = Gather(Log(experience.spec), experience.lengths())
    found = examine(experience, also=(seen,), progress=progress)
    if not seen.lengths:
        raise DataError(f"none of its {len(experience)} episodes can be read: {found.findings[0].message}", experience.path)
    name = experience.path.name if experience.path else "a log"
    sections = [films(seen), timeline(found, seen.lengths), coverage(seen), lengths(seen), actions(seen), sensors(seen)]
    atomic_write_bytes(path, whole_page(name, _head(name, summarise(experience), found), sections).encode())
    return found


def _head(name: str, summary: Summary, found: Examination) -> str:
    train, calibrate, test = summary.splits
    errors, warnings = (
        sum(finding.severity is severity for finding in found.findings) for severity in (Severity.ERROR, Severity.WARNING)
    )
    length = f"{summary.shortest:,} to {summary.longest:,}" if summary.shortest < summary.longest else f"{summary.longest:,}"
    shown = cards(
        [
            (f"{summary.episodes:,}", f"episodes: {train:,} to train, {calibrate:,} to calibrate, {test:,} to test"),
            (f"{summary.steps:,}", f"steps, {length} an episode"),
            (f"{len(summary.spec.sensors)}", "sensors: " + ", ".join(s.name for s in summary.spec.sensors)),
            (f"{errors + warnings}", f"findings: {errors} errors, {warnings} warnings"),
        ]
    )
    tasks = f'<p class="lead">Tasks: {escape("; ".join(summary.spec.tasks[:8]))}</p>' if summary.spec.tasks else ""
    return f'<p class="eyebrow">a log</p><h1>{escape(name)}</h1>{tasks}{shown}'
