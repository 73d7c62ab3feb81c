"""From one log to another, episode by episode: never more than one in memory, and what a killed run had copied is kept."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from forethought.data.durable import sync
from forethought.data.experience import Experience, Writer, as_path
from forethought.data.formats import format_for_writing
from forethought.data.schema import check_spec, spec_to_json
from forethought.errors import DataError, UsageError

Count = Callable[[int, int], None]
"""Told after each episode: how many are copied, of how many."""


@final
@dataclass(frozen=True)
class Converted:
    """What a conversion wrote. `resumed`: episodes an interrupted run had copied; `dropped`: what is not in the new log."""

    path: Path
    format: str
    episodes: int
    steps: int
    resumed: int
    dropped: tuple[str, ...]


def convert(
    source: Experience,
    target: str | os.PathLike[str],
    *,
    format: str | None = None,
    video: bool = False,
    progress: Count | None = None,
) -> Converted:
    """Copy a log into another format (that of the suffix, if not named). The target appears when it is whole.

    Until then the copy lies beside it, in a hidden folder whose name holds a hash of what is copied: the same call goes on
    there after a kill. With `video`, images become films, and `dropped` says how far off they are. Raises DataError if the
    target exists, if an episode cannot be read, or if it cannot be written.
    """
    path = as_path(target)
    chosen = format_for_writing(path, format)
    make = chosen.video_writer if video else chosen.writer
    if make is None:
        raise UsageError(f"got video for '{chosen.name}', which keeps images as they are; name the format lerobot")
    if path.exists() or path.is_symlink():
        raise DataError("is there already; choose another path, or remove it", path)
    work = _work_folder(path, f"{chosen.name}{' video' * video}", source)
    resumed = _copy(source, make(work / path.name, check_spec(source.spec, path), True), progress)
    os.replace(work / path.name, path)
    sync(path.parent)
    shutil.rmtree(work)
    written = chosen.reader().open(path)
    dropped = (*source.dropped, *_lost(source, written), *written.dropped)
    return Converted(path, chosen.name, len(written), sum(written.lengths()), resumed, dropped)


def _work_folder(path: Path, layout: str, source: Experience) -> Path:
    """Where the copy grows; what an earlier conversion of something else left for the same target is removed."""
    lengths = ",".join(map(str, source.lengths()))
    described = "\n".join((str(source.path), layout, spec_to_json(source.spec), *source.ids(), lengths))
    work = path.with_name(f".{path.name}.{hashlib.blake2b(described.encode(), digest_size=8).hexdigest()}.partial")
    try:
        for other in path.parent.glob(f".{path.name}.*.partial"):
            if other != work:
                shutil.rmtree(other)
        work.mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot be written there ({error.strerror}); choose another place", path) from error
    return work


def _copy(source: Experience, writer: Writer, progress: Count | None) -> int:
    """Append what is not there yet. Returns how many episodes were."""
    have = len(writer)
    try:
        for index in range(have, len(source)):
            writer.append(source.episode(index))
            if progress is not None:
                progress(index + 1, len(source))
    finally:
        writer.close()
    return have


def _lost(source: Experience, written: Experience) -> Iterator[str]:
    """What the new log does not hold as the old one did: some formats have no place for it."""
    there = {sensor.name: sensor for sensor in written.spec.sensors}
    for sensor in source.spec.sensors:
        now = there.get(sensor.name)
        if now is None:
            yield f"sensor '{sensor.name}': this format has no place for it"
        elif now != sensor:
            before, after = (f"{s.kind.value} {s.shape} {s.dtype}" for s in (sensor, now))
            yield f"sensor '{sensor.name}': {before} became {after}"
    for name in ("action_space", "has_reward", "steps_per_second"):
        before, after = getattr(source.spec, name), getattr(written.spec, name)
        if before != after:
            yield f"{name}: {before} became {after}"
    if len(source):
        names = source.episode(0).metadata.keys() - written.episode(0).metadata.keys()
        yield from (f"metadata '{name}': this format has no place for it" for name in sorted(names))
