"""The register of log formats: one file per format, one registration. Format modules load when first used."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from forethought.data.experience import Reader, Writer
from forethought.errors import DataError, unknown_name
from forethought.types import ExperienceSpec


@final
@dataclass(frozen=True)
class Format:
    """One format: its name, the suffixes people give it, how to read it, and how to write it (None: read-only).

    `writer(path, spec, durable)` goes on with a log that is there already; `durable=False` trades the promise that every
    append survives a kill for speed (used where the whole log is moved into place at the end). `video_writer` keeps images
    as video, which loses a little of them.
    """

    name: str
    suffixes: tuple[str, ...]
    reader: Callable[[], Reader]
    writer: Callable[[Path, ExperienceSpec, bool], Writer] | None = None
    video_writer: Callable[[Path, ExperienceSpec, bool], Writer] | None = None


_FORMATS: dict[str, Format] = {}


def register_format(format: Format) -> None:
    """Make a format known to `open_log` and `write_log`."""
    _FORMATS[format.name] = format


def formats() -> tuple[Format, ...]:
    """Every registered format."""
    return tuple(_FORMATS.values())


def detect_format(path: Path) -> Format:
    """The format of the log at `path`, which exists. Raises DataError."""
    candidates = sorted(_FORMATS.values(), key=lambda format: path.suffix not in format.suffixes)
    for candidate in candidates:
        if candidate.reader().detect(path):
            return candidate
    known = ", ".join(f"{format.name} ({' '.join(format.suffixes)})" for format in _FORMATS.values())
    raise DataError(f"got {_describe(path)}, expected a log in one of: {known}. See docs/data.md", path)


def format_for_writing(path: Path, name: str | None = None) -> Format:
    """The format that the name, or else the suffix, asks for. Raises UsageError."""
    writable = {format.name: format for format in _FORMATS.values() if format.writer is not None}
    if name is not None:
        if name not in writable:
            raise unknown_name("log format", name, writable)
        return writable[name]
    suffixes = {suffix: format for format in writable.values() for suffix in format.suffixes}
    if path.suffix not in suffixes:
        raise unknown_name("log suffix", path.suffix, suffixes)
    return suffixes[path.suffix]


def _describe(path: Path) -> str:
    if path.is_dir():
        return "a folder that is no log"
    size = os.path.getsize(path)
    if not size:
        return "an empty file"
    with path.open("rb") as file:
        return f"a file of {size} bytes that begins with {file.read(8)!r}"


def _robomimic_reader() -> Reader:
    from forethought.data.formats.robomimic import RobomimicReader

    return RobomimicReader()


def _d4rl_reader() -> Reader:
    from forethought.data.formats.d4rl import D4rlReader

    return D4rlReader()


def _worldmodel_reader() -> Reader:
    from forethought.data.formats.worldmodel import WorldModelReader

    return WorldModelReader()


def _hdf5_reader() -> Reader:
    from forethought.data.formats.hdf5 import Hdf5Reader

    return Hdf5Reader()


def _hdf5_writer(path: Path, spec: ExperienceSpec, durable: bool) -> Writer:
    from forethought.data.formats.hdf5 import Hdf5Writer

    return Hdf5Writer(path, spec, durable=durable)


def _minari_reader() -> Reader:
    from forethought.data.formats.minari import MinariReader

    return MinariReader()


def _minari_writer(path: Path, spec: ExperienceSpec, durable: bool) -> Writer:
    from forethought.data.formats.minari_write import MinariWriter

    return MinariWriter(path, spec, durable=durable)


def _replay_buffer_reader() -> Reader:
    from forethought.data.formats.replay_buffer import ReplayBufferReader

    return ReplayBufferReader()


def _zarr_reader() -> Reader:
    from forethought.data.formats.zarr import ZarrReader

    return ZarrReader()


def _zarr_writer(path: Path, spec: ExperienceSpec, durable: bool) -> Writer:
    from forethought.data.formats.zarr import ZarrWriter

    return ZarrWriter(path, spec, durable=durable)


def _lerobot_reader() -> Reader:
    from forethought.data.formats.lerobot import LeRobotReader

    return LeRobotReader()


def _lerobot_writer(path: Path, spec: ExperienceSpec, durable: bool) -> Writer:
    from forethought.data.formats.lerobot_write import LeRobotWriter

    return LeRobotWriter(path, spec, durable=durable)


def _lerobot_video_writer(path: Path, spec: ExperienceSpec, durable: bool) -> Writer:
    from forethought.data.formats.lerobot_write import LeRobotWriter

    return LeRobotWriter(path, spec, durable=durable, video=True)


def _mcap_reader() -> Reader:
    from forethought.data.formats.mcap import McapReader

    return McapReader()


def _rlds_reader() -> Reader:
    from forethought.data.formats.rlds import RldsReader

    return RldsReader()


def _video_folder_reader() -> Reader:
    from forethought.data.formats.video_folder import VideoFolderReader

    return VideoFolderReader()


def _npz_reader() -> Reader:
    from forethought.data.formats.npz import NpzReader

    return NpzReader()


def _npz_writer(path: Path, spec: ExperienceSpec, durable: bool) -> Writer:
    from forethought.data.formats.npz import NpzWriter

    return NpzWriter(path, spec, durable=durable)


# The dialects of HDF5 look inside, so they come before our own, which answers for all that is left.
for _name, _reader in (("robomimic", _robomimic_reader), ("d4rl", _d4rl_reader), ("stable-worldmodel", _worldmodel_reader)):
    register_format(Format(_name, (".h5", ".hdf5"), _reader))
register_format(Format("hdf5", (".h5", ".hdf5"), _hdf5_reader, _hdf5_writer))
register_format(Format("zarr", (".zarr",), _zarr_reader, _zarr_writer))
register_format(Format("replay-buffer", (".zarr", ".zip"), _replay_buffer_reader))  # both before npz, which claims every zip
register_format(Format("npz", (".npz",), _npz_reader, _npz_writer))
register_format(Format("rlds", (), _rlds_reader))
register_format(Format("minari", (), _minari_reader, _minari_writer))
register_format(Format("mcap", (".mcap",), _mcap_reader))
register_format(Format("lerobot", (), _lerobot_reader, _lerobot_writer, _lerobot_video_writer))
register_format(Format("video-folder", (), _video_folder_reader))
