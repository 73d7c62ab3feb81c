"""The whole page: what is in the log, what it looks like, what is wrong with it, and where it has never been."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

from forethought.data.checks import Examination, Severity, Summary, examine, summarise
from forethought.data.checks.seam import Log
from forethought.data.durable import atomic_path
from forethought.data.experience import Experience
from forethought.data.show.films import films
from forethought.data.show.gather import Gather
from forethought.data.show.numbers import actions, coverage, lengths, sensors
from forethought.data.show.timeline import timeline
from forethought.errors import DataError
from forethought.page.html import cards, whole_page


def write_page(experience: Experience, path: Path, *, progress: Callable[[int, int], None] | None = None) -> Examination:
    """Write the page; returns what `data check` found. Reads each episode once. An older page is replaced, nothing else is.

    Raises DataError for an empty log, and for a path where no page may be.
    """
    _check_target(path)
    if not len(experience):
        raise DataError("the log has no episodes; record some first", experience.path)
    with atomic_path(path) as temporary:
        temporary.touch()  # if it cannot be written, be told so before minutes are spent on reading
        seen = Gather(Log(experience.spec), experience.lengths())
        found = examine(experience, also=(seen,), progress=progress)
        if not seen.lengths:
            raise DataError(f"none of its {len(experience)} episodes can be read: {found.findings[0].message}", experience.path)
        name = experience.path.name if experience.path else "a log"
        sections = [films(seen), timeline(found, seen.lengths), coverage(seen), lengths(seen), actions(seen), sensors(seen)]
        temporary.write_text(whole_page(name, _head(name, summarise(experience), found), sections), encoding="utf-8")
    return found


def _check_target(path: Path) -> None:
    """A slip of the fingers must not cost a log."""
    if path.is_dir() or (path.exists() and _begin(path).lower() != b"<!doctype html>"):
        raise DataError("is there already, and is no page; choose another place", path)


def _begin(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(15)


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
