"""A log that grows while it is read: each episode once, when it is whole and safe, in order.

What may grow: our HDF5 and NPZ folders (a `Recorder` writes them), read at their last commit without a lock; any other log, and
a folder into which other programs put logs, read again whenever it has changed and then stood still between two looks.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from forethought.data.durable import journal_of, sync
from forethought.data.experience import Experience, as_path
from forethought.data.formats import detect_format, format_for_writing
from forethought.data.schema import natural
from forethought.data.snapshot import commit_of
from forethought.errors import DataError, UsageError
from forethought.types import Episode, ExperienceSpec

Refused = Callable[[DataError], None]
_NOT_LOGS = (".journal", ".tmp", ".part", ".partial", ".crdownload")


@final
class Follow:
    """Iterate over it: the episodes of a log (or of a folder of logs) as they come; ends `idle` seconds after the last one.

    To go on after a kill, say what was read: `start`, a count, passes over the first episodes of one log; `have`, ids, over
    those wherever they are. Episodes of a folder of logs are called LOG/ID. `spec` is that of the
    first log that was opened. What cannot be read is told to `refused`, once until it changes; without it, raised as
    DataError. A path that is not there yet is waited for.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        start: int = 0,
        have: Collection[str] = (),
        poll: float = 0.5,
        idle: float | None = None,
        refused: Refused | None = None,
    ) -> None:
        self.path, self._start, self._have, self._poll, self._idle = as_path(path), start, have, poll, idle
        self._refused = refused or _raised
        self._tails: dict[Path, _Tail] = {}
        self.spec: ExperienceSpec | None = None

    def __iter__(self) -> Iterator[Episode]:
        last = time.monotonic()
        for look in itertools.count():
            for tail in list(self._looked()):
                for episode in tail.new(self._have, self._refused):
                    self.spec = self.spec or tail.spec
                    yield episode
                    last = time.monotonic()
            if look and self._idle is not None and time.monotonic() - last >= self._idle:
                return
            time.sleep(self._poll)

    def _looked(self) -> Iterator[_Tail]:
        """What there is to read, a log or several."""
        if not self.path.exists():
            return
        if self.path in self._tails or _is_log(self.path):
            yield self._tails.setdefault(self.path, _Tail(self.path, "", self._start))
        elif self.path.is_dir():
            if self._start:
                raise UsageError(
                    f"{self.path} is a folder of logs, whose order may change: pass have=IDS, not start={self._start}"
                )
            for entry in sorted(self.path.iterdir(), key=lambda entry: natural(entry.name)):
                if (
                    not entry.name.startswith(".")
                    and entry.suffix not in _NOT_LOGS
                    and (entry in self._tails or _is_log(entry))
                ):
                    yield self._tails.setdefault(entry, _Tail(entry, f"{entry.name}/"))


class _Tail:
    """One log that may grow, and how much of it was read."""

    def __init__(self, path: Path, prefix: str, start: int = 0) -> None:
        self._path, self._prefix, self._next = path, prefix, start
        self._name = detect_format(path).name
        self._archives = self._name == "npz" and path.is_dir()
        self._looked: object = None  # its state at the last look,
        self._done: object = None  # and when all of it had been read
        self._first = True
        self.spec: ExperienceSpec | None = None

    def new(self, have: Collection[str], refused: Refused) -> Iterator[Episode]:
        """What has come since; nothing while a log of others is still being written."""
        state, live = self._state(), self._archives or (self._name == "hdf5" and journal_of(self._path).exists())
        quiet, self._looked = state == self._looked, state
        if state is None or state == self._done or not (quiet or live):
            return
        try:
            log = self._open()
            known = log.ids() if have and self._first else ()
        except DataError as error:
            if not live and self._state() == state:  # else it may be its writer's first commit that we see half of
                self._done = state
                refused(error)
            return
        self.spec, self._first = self.spec or log.spec, False
        for index in range(self._next, len(log)):
            if index < len(known) and self._prefix + known[index] in have:
                self._next = index + 1
                continue
            try:
                episode: Episode | DataError = log.episode(index)
            except DataError as error:
                episode = error
            if self._state(grows=True) != state:  # it was written meanwhile: this may be half of it; look again
                return
            self._next = index + 1
            if isinstance(episode, DataError):
                refused(episode)
            elif (named := replace(episode, id=self._prefix + episode.id)).id not in have:
                yield named
        self._done = state

    def _open(self) -> Experience:
        """As it was at its last commit, which is made safe before anything of it is told."""
        with suppress(OSError):
            for place in (self._path, journal_of(self._path)):
                sync(place)
        if self._name == "hdf5":
            from forethought.data.formats.hdf5 import Hdf5Experience

            return Hdf5Experience(self._path)  # not the reader, which waits for the writer
        return detect_format(self._path).reader().open(self._path)

    def _state(self, grows: bool = False) -> object:
        """What changes when the log does (None: it is gone). An NPZ folder's archives never do: there, growing is no change."""
        if grows and self._archives:
            return self._looked
        with suppress(OSError):
            if self._path.is_file():
                return commit_of(self._path)
            # names too: a file that is moved into place changes neither sizes nor times
            files = ((str(entry), entry.stat()) for entry in self._path.rglob("*"))
            return frozenset((name, about.st_size, about.st_mtime_ns) for name, about in files)
        return None


def _is_log(path: Path) -> bool:
    try:
        detect_format(path)
    except (DataError, OSError):
        return False
    return True


def _raised(error: DataError) -> None:
    raise error


@final
@dataclass(frozen=True)
class Followed:
    """What was copied: episodes in the new log, those of earlier runs, and what could not be read."""

    path: Path
    format: str
    episodes: int
    resumed: int
    refused: tuple[str, ...]


def copy_growing(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    format: str | None = None,
    poll: float = 0.5,
    idle: float | None = None,
    progress: Callable[[int], None] | None = None,
    refused: Refused | None = None,
) -> Followed:
    """Append a growing log's episodes to `target`, each safe before the next, until `idle` seconds without one, or Ctrl-C.

    The target is a log from its first episode on; what it holds already is not copied again. Raises DataError.
    """
    from forethought.data import open_log, open_writer

    path, told = as_path(target), list[str]()
    chosen = format_for_writing(path, format)
    have = frozenset(open_log(path).ids() if path.exists() else ())

    def note(error: DataError) -> None:
        told.append(str(error))
        if refused is not None:
            refused(error)

    following = Follow(source, have=have, poll=poll, idle=idle, refused=note)
    writer, count = None, len(have)
    try:
        for episode in following:
            assert following.spec is not None
            writer = writer or open_writer(path, following.spec, format=chosen.name)
            writer.append(episode)
            count += 1
            if progress is not None:
                progress(count)
    except KeyboardInterrupt:  # how one says that it is enough
        pass
    finally:
        if writer is not None:
            writer.close()
    return Followed(path, chosen.name, len(open_log(path)) if path.exists() else 0, len(have), tuple(told))
