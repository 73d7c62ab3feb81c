"""`forethought data`: look at a log before an hour is spent on it."""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forethought.cli.output import Debug, Json, emit, guarded

if TYPE_CHECKING:
    from forethought.data.checks import Coverage, Finding, Summary

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check, show, convert and cut logs.")
Log = Annotated[Path, typer.Argument(help="A log of any known format (docs/data.md), or a URL.")]


@app.command(short_help="What is in a log, and what is wrong with it.")
def check(
    log: Log,
    fix: Annotated[Path | None, typer.Option(help="Write a repaired copy there; the log itself is not touched.")] = None,
    shift: Annotated[int, typer.Option(help="With --fix: move every action so many rows on (back if negative).")] = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is in a log and what is wrong with it; exit code 1 if there are errors.

    \b
    Example:
      forethought data check my.h5 --json
    """
    guarded(lambda: _check(log, fix, shift, json), debug)


def _check(log: Path, fix: Path | None, shift: int, json: bool) -> None:
    from forethought.data import open_log
    from forethought.data.checks import Severity, examine, summarise
    from forethought.data.checks.fix import write_fixed
    from forethought.errors import UsageError

    experience = open_log(log)
    if shift and fix is None:
        raise UsageError("--shift changes a copy: say where it goes with --fix OUT")
    found = examine(experience)
    summary, findings = summarise(experience), found.findings
    lines = [*described(log, summary), *seen(found.coverage), *(placed(log, finding) for finding in findings)]
    lines += ["no findings"] * (not findings)
    record: dict[str, Any] = {
        "log": str(log),
        "summary": _record(summary),
        "coverage": None if found.coverage is None else {**_record(found.coverage), "verdict": found.coverage.verdict()},
        "findings": [_record(finding) for finding in findings],
    }
    if fix is not None:
        mended = write_fixed(experience, fix, found.repairs, shift)
        record["fixed"] = {"path": str(fix), "repairs": dict(mended.repairs), "episodes": mended.after}
        lines += [f"written: {fix}, {mended.after} episodes of {mended.before}"]
        lines += [f"  {what}: {count} times" for what, count in mended.repairs.items()] or ["  nothing was mended"]
        left = found.unmended(shifted=shift != 0)
        record["fixed"]["left"] = list(left)
        lines += [f"  left as they were, see above: {', '.join(left)}"] * bool(left)
    emit(record, json, "\n".join(lines))
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise typer.Exit(1)


def _record(value: object) -> Any:
    """A frozen dataclass as plain data, enums by their values."""
    from forethought.config import to_json

    return loads(to_json(value))


def described(log: Path, summary: Summary) -> Iterator[str]:
    """What is in a log, a line for each sensor."""
    from forethought.types import BoxSpace, DiscreteSpace

    train, calibrate, test = summary.splits
    length = f"{summary.shortest} to {summary.longest}" if summary.shortest < summary.longest else str(summary.longest)
    yield f"{log}: {summary.episodes} episodes of {length} steps, {summary.steps:,} in all"
    wide = max(10, *(len(sensor.name) + 2 for sensor in summary.spec.sensors))
    yield f"  {'split':<{wide}}train {train}, calibrate {calibrate}, test {test}"
    for sensor in summary.spec.sensors:
        yield f"  {sensor.name:<{wide}}{sensor.kind.value} {' x '.join(map(str, sensor.shape))}, {sensor.dtype}"
    space = summary.spec.action_space
    if isinstance(space, DiscreteSpace):
        yield f"  {'actions':<{wide}}one of {space.count}"
    elif isinstance(space, BoxSpace):
        yield f"  {'actions':<{wide}}{space.size} numbers from {list(space.low)} to {list(space.high)}"
    yield f"  {'rewards':<{wide}}{'yes' if summary.spec.has_reward else 'none'}"
    if summary.spec.tasks:
        yield f"  {'tasks':<{wide}}{len(summary.spec.tasks)}, the first: '{summary.spec.tasks[0]}'"


def seen(coverage: Coverage | None) -> Iterator[str]:
    """How much of the world a log has seen, and whether that is enough: two or three lines."""
    if coverage is None:
        return
    late = f", {100 * coverage.growth:.0f} % of these by the last tenth of the episodes" * (coverage.growth >= 0.005)
    yield f"  coverage: {100 * coverage.visited:.0f} % of the cells between the ends of the states' range visited{late}"
    tried, some = coverage.joint - len(coverage.untried), "; ".join(coverage.untried[:4])
    yield f"  actions: {tried} of {coverage.joint} kinds tried" + f"; never, for example: {some}" * bool(some)
    yield (
        f"  enough? An estimate: {100 * coverage.unseen:.1f} % of a new episode's steps would be in states and actions that "
        f"none of these saw; about {coverage.distinct:,} steps tell something new. {coverage.verdict().capitalize()}"
    )


def placed(log: Path, finding: Finding) -> str:
    """A finding with file, episode and row."""
    where = [str(log)] + [f"episode '{finding.episode}'"] * (finding.episode is not None)
    where += [f"row {finding.row}"] * (finding.row is not None)
    times = f" ({finding.count} in all)" if finding.count > 1 else ""
    return f"{finding.severity.value}: {finding.code}: {', '.join(where)}{times}: {finding.message}"


@app.command(short_help="One page that shows what a log looks like.")
def show(
    log: Log,
    out: Annotated[Path | None, typer.Option(help="The page; LOG.html here, if not given.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write one HTML page: film strips, findings along the log, where it has been, histograms of every number.

    \b
    Example:
      forethought data show my.h5 --out my.html
    """
    guarded(lambda: _show(log, out, json), debug)


def _show(log: Path, out: Path | None, json: bool) -> None:
    from forethought.cli.output import Show
    from forethought.data import open_log
    from forethought.data.show import write_page

    page = out or Path(f"{log.expanduser().resolve().stem}.html")
    with Show() as shown:
        found = write_page(open_log(log), page, progress=lambda now, total: shown.count("look", now, total))
    record = {"written": str(page), "findings": [_record(finding) for finding in found.findings]}
    emit(record, json, f"{page}: open it in a browser; {len(found.findings)} findings")
