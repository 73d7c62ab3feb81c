"""Experience in: open a log, check it, lay it out, draw windows from it. Never imports torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from forethought.data.experience import Experience, Reader, Writer, as_path
from forethought.errors import DataError, UsageError
from forethought.types import Episode, ExperienceSpec

__all__ = ["Experience", "Reader", "Writer", "open_log", "open_writer", "write_log"]


def open_log(path: str | os.PathLike[str]) -> Experience:
    """Open a log of any known format, at a path or a URL (extra `cloud`). Raises DataError with file and place."""
    from forethought.data.formats import detect_format
    from forethought.data.remote import fetch, url_of

    url = url_of(path)
    found = fetch(url) if url else as_path(path)
    _check_readable(found)
    return detect_format(found).reader().open(found)


def open_writer(path: str | os.PathLike[str], spec: ExperienceSpec, *, format: str | None = None) -> Writer:
    """A writer whose every append survives a kill; goes on with a log of the same spec that is there already."""
    from forethought.data.formats import format_for_writing
    from forethought.data.schema import check_spec

    target = as_path(path)
    writer = format_for_writing(target, format).writer
    assert writer is not None  # format_for_writing offers no other
    _check_folder(target)
    return writer(target, check_spec(spec, target), True)


def write_log(
    path: str | os.PathLike[str],
    episodes: Experience | Iterable[Episode],
    spec: ExperienceSpec | None = None,
    *,
    format: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a whole log, or nothing. Plain episodes need a spec. Raises DataError."""
    from forethought.data.durable import atomic_path
    from forethought.data.formats import format_for_writing
    from forethought.data.schema import check_spec

    target = as_path(path)
    writer = format_for_writing(target, format).writer
    assert writer is not None  # format_for_writing offers no other
    _check_folder(target)
    if target.exists() and not overwrite:
        raise DataError("is there already; choose another path, or pass overwrite=True", target)
    with atomic_path(target) as temporary:
        log = writer(temporary, check_spec(_spec_for(episodes, spec), target), False)
        try:
            for episode in episodes:
                log.append(episode)
        finally:
            log.close()
    return target


def _spec_for(episodes: Experience | Iterable[Episode], spec: ExperienceSpec | None) -> ExperienceSpec:
    if spec is not None:
        return spec
    if isinstance(episodes, Experience):
        return episodes.spec
    raise UsageError("got plain episodes without a spec; pass spec=ExperienceSpec(...)")


def _check_folder(target: Path) -> None:
    if not target.parent.is_dir():
        raise DataError("its folder does not exist; create it first", target)


def _check_readable(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise DataError(f"is a link to '{os.readlink(path)}', which does not exist; correct the link", path)
    if not path.exists():
        raise DataError("does not exist; check the path", path)
    if not path.is_file() and not path.is_dir():
        raise DataError("is neither a file nor a folder; give a log", path)
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise DataError("no permission to read it; change it with chmod, or run as its owner", path)
