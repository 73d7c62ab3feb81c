"""`forethought data import|export|split|merge|filter|subset`: logs out of logs, and what was lost on the way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forethought.cli.output import Debug, Json, Seed, Show, emit, guarded

if TYPE_CHECKING:
    from forethought.data.experience import Experience

Source = Annotated[Path, typer.Argument(help="A log of any format that we read.")]
Target = Annotated[Path, typer.Argument(help="The new log; it appears when it is whole.")]


def import_(
    source: Source,
    target: Target,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is still being written, until Ctrl-C.")] = False,
    idle: Annotated[
        float | None, typer.Option(min=0, help="With --follow: end so many seconds after the last episode.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Copy a log of any format into our own layout, and say what was dropped. Killed and given again, it goes on.

    The suffix decides: .h5 (also where there is none), or .npz for a folder with one archive per episode. With --follow the
    source may be a log that a recorder is writing, or a folder into which other programs put logs; the target grows with it.

    \b
    Examples:
      forethought data import downloads/their_log arm.h5
      forethought data import live.h5 arm.h5 --follow --idle 60
    """
    guarded(lambda: _import(source, target, follow, idle, json), debug)


def _import(source: Path, target: Path, follow: bool, idle: float | None, json: bool) -> None:
    from forethought.errors import UsageError

    format = None if target.suffix else "hdf5"
    if idle is not None and not follow:
        raise UsageError("--idle says when following ends: add --follow, or leave it out")
    _follow(source, target, format, idle, json) if follow else copied(_opened(source), target, format, json)


def _follow(source: Path, target: Path, format: str | None, idle: float | None, json: bool) -> None:
    from forethought.data.follow import copy_growing

    with Show() as show:
        show.note(f"following {source}" + (f" until nothing comes for {idle:g} s" if idle is not None else "; Ctrl-C ends it"))
        done = copy_growing(
            source, target, format=format, idle=idle,
            progress=lambda count: show.count("copy", count, count + 1), refused=lambda error: show.note(f"not read: {error}"),
        )  # fmt: skip
    before = f", {done.resumed} of them by earlier runs" if done.resumed else ""
    lines = [f"{target}: {done.episodes} episodes ({done.format}){before}", *(f"not read: {what}" for what in done.refused)]
    record = {
        "log": str(target),
        "format": done.format,
        "episodes": done.episodes,
        "resumed": done.resumed,
        "refused": list(done.refused),
    }
    emit(record, json, "\n".join(lines))


def export(
    source: Source,
    target: Target,
    format: Annotated[str | None, typer.Option(help="A format's name, such as hdf5 or npz; else the suffix decides.")] = None,
    video: Annotated[bool, typer.Option(help="lerobot: cameras as H.264 video; says how far off its pixels are.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Copy a log into another format, and say what that has no place for. Killed and given again, it goes on.

    \b
    Example:
      forethought data export arm.h5 arm.npz --format npz
    """
    guarded(lambda: copied(_opened(source), target, format, json, video), debug)


def _opened(source: Path) -> Experience:
    from forethought.data import open_log

    return open_log(source)


def copied(source: Experience, target: Path, format: str | None, json: bool, video: bool = False) -> None:
    """Copy, show how far it is, and tell the result."""
    record, text = _copy(source, target, format, video)
    emit(record, json, text)


def _copy(source: Experience, target: Path, format: str | None, video: bool = False) -> tuple[dict[str, Any], str]:
    """Copy; the result for programs and for people."""
    from forethought.data.convert import convert

    with Show() as show:
        done = convert(source, target, format=format, video=video, progress=lambda now, total: show.count("copy", now, total))
    before = f", {done.resumed} of them by an earlier, interrupted run" if done.resumed else ""
    kept = f"{target}: {done.episodes} episodes, {done.steps:,} steps ({done.format}){before}"
    record = {
        "log": str(target), "format": done.format, "episodes": done.episodes, "steps": done.steps,
        "resumed": done.resumed, "dropped": list(done.dropped),
    }  # fmt: skip
    lines = [kept, *(f"dropped: {what}" for what in done.dropped)] + ["nothing dropped"] * (not done.dropped)
    return record, "\n".join(lines)


def cut(
    source: Source,
    folder: Annotated[Path, typer.Argument(help="Folder for train.h5, calibrate.h5 and test.h5.")],
    fractions: Annotated[str, typer.Option(help="Shares of training, calibration and testing.")] = "0.8,0.1,0.1",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Three logs, by the same hash of the episode ids as training's own split. Killed and given again, it goes on.

    Training splits a log by itself: this is for giving a part away, or keeping one back.

    \b
    Example:
      forethought data split arm.h5 parts
    """
    guarded(lambda: _cut(source, folder, fractions, json), debug)


def _cut(source: Path, folder: Path, fractions: str, json: bool) -> None:
    from forethought.data.views import shares, split

    parts = split(_opened(source), shares(fractions))
    folder.mkdir(parents=True, exist_ok=True)
    copies = [(part, folder / f"{name.value}.h5") for name, part in parts.items() if len(part)]
    whole = [target for part, target in copies if target.exists() and _opened(target).ids() == part.ids()]
    done = [_copy(part, target, None) for part, target in copies if target not in whole]
    done += [({"log": str(target)}, f"{target}: whole already") for target in whole]
    emit({"logs": [record for record, _ in done]}, json, "\n".join(text for _, text in done))


def merge(
    logs: Annotated[list[Path], typer.Argument(metavar="LOG LOG ... TARGET", help="Logs of one spec, then the new log.")],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """One log out of several of one spec. An id that was there before gets its log's name in front; twins are kept once.

    \b
    Example:
      forethought data merge monday.h5 tuesday.h5 week.h5
    """
    guarded(lambda: _merge(logs, json), debug)


def _merge(logs: list[Path], json: bool) -> None:
    from forethought.data.views import Joined
    from forethought.errors import UsageError

    if len(logs) < 3:
        raise UsageError(f"got {len(logs)} paths, expected at least two logs and then the new log")
    joined = Joined([_opened(log) for log in logs[:-1]])
    record, text = _copy(joined, logs[-1], None)
    told = [f"{joined.renamed} ids were there already and have their log's name in front"] * bool(joined.renamed)
    told += [f"{joined.twins} episodes were there already, the same to the bit, and are kept once"] * bool(joined.twins)
    emit({**record, "renamed": joined.renamed, "twins": joined.twins}, json, "\n".join([text, *told]))


def select(
    source: Source,
    target: Target,
    where: Annotated[str, typer.Option(help='Such as "length > 20 and position.x < 0.5" or "return > 3".')],
    any_step: Annotated[bool, typer.Option("--any-step", help="It holds at one step at least; else at every step.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """The episodes of which a predicate is true. Names: length, return, terminated, truncated, metadata, vector sensors.

    \b
    Example:
      forethought data filter arm.h5 long.h5 --where "length > 20 and position.x < 0.5"
    """
    guarded(lambda: _select(source, target, where, any_step, json), debug)


def _select(source: Path, target: Path, where: str, any_step: bool, json: bool) -> None:
    from forethought.data.views import Part
    from forethought.data.where import episodes_where

    whole = _opened(source)
    with Show() as show:
        count = lambda now, total: show.count("look", now, total)  # noqa: E731
        chosen = episodes_where(whole, where, any_step=any_step, progress=count)
    _part(Part(whole, chosen), len(whole), target, json)


def subset(
    source: Source,
    target: Target,
    episodes: Annotated[str | None, typer.Option(help="By place, such as 0:100, ::2, or 0:17,18: to leave out 17.")] = None,
    fraction: Annotated[float | None, typer.Option(help="A random share, such as 0.1.")] = None,
    sensors: Annotated[str | None, typer.Option(help="Only these, such as camera,joints.")] = None,
    seed: Seed = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Some episodes, some sensors. With --episodes and --fraction, the share is of those episodes.

    \b
    Examples:
      forethought data subset arm.h5 small.h5 --fraction 0.1 --seed 0
      forethought data subset arm.h5 blind.h5 --episodes 0:100 --sensors joints
    """
    guarded(lambda: _subset(source, target, episodes, fraction, sensors, seed, json), debug)


def _subset(
    source: Path, target: Path, episodes: str | None, share: float | None, sensors: str | None, seed: int, json: bool
) -> None:
    from forethought.data.views import Part, fraction, slices

    whole = _opened(source)
    chosen = slices(episodes or ":", len(whole))
    if share is not None:
        chosen = tuple(chosen[i] for i in fraction(len(chosen), share, seed))
    _part(Part(whole, chosen, sensors.split(",") if sensors else None), len(whole), target, json)


def _part(part: Experience, of: int, target: Path, json: bool) -> None:
    from forethought.errors import DataError

    if not len(part):
        raise DataError(f"none of the {of} episodes is chosen; ask for less", part.path)
    record, text = _copy(part, target, None)
    emit({**record, "of": of}, json, f"{text}\n{len(part)} of {of} episodes")
