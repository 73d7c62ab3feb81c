"""Logs behind a URL (`s3://bucket/log.h5`, anything fsspec knows): fetched once into a local cache, then read as any other.

Training reads every frame many times, so a log is copied, not streamed. A copy is kept under the name of what it is a copy of:
the URL, and each file's version as its server tells it (ETag, or size and time). A changed log is fetched anew.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from forethought.data.durable import atomic_path
from forethought.errors import DataError, MissingExtra

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)")
FOLDER, GIB = "FORETHOUGHT_CACHE", "FORETHOUGHT_CACHE_GIB"
"""Environment variables: where copies are kept (~/.cache/forethought), and at most how much (50 GiB); the oldest go first."""


def url_of(path: str | os.PathLike[str]) -> str | None:
    """The URL that this is, or None for a path. `Path("s3://a/b")` has lost a slash, and is given it back.

    >>> url_of("s3://bucket/log.h5"), url_of(Path("s3://bucket/log.h5")), url_of("runs/log.h5")
    ('s3://bucket/log.h5', 's3://bucket/log.h5', None)
    """
    text = os.fspath(path)
    found = _URL.fullmatch(text)
    return f"{found[1]}://{'/' if found[1] == 'file' else ''}{found[2]}" if found and not os.path.exists(text) else None


def fetch(url: str) -> Path:
    """The local copy of a file, or of a folder's files. Raises DataError, and MissingExtra without fsspec."""
    system, root, files = _listed(url)
    folder = _cache() / _version(url, system, files)
    target = folder / PurePosixPath(root).name
    for file in files:
        inside = PurePosixPath(file).relative_to(root)
        if ".." in inside.parts:
            raise DataError(f"holds the name '{file}', which leads out of it; rename it", url)
        _copy(system, file, target / inside if inside.parts else target, url)
    os.utime(folder)
    _make_room(folder)
    return target


def _listed(url: str) -> tuple[Any, str, list[str]]:
    try:
        import fsspec

        system, root = fsspec.core.url_to_fs(url)
        root = root.rstrip("/")
        files = [root] if system.isfile(root) else sorted(system.find(root))
    except ImportError as error:
        raise MissingExtra(f"Logs at {url.partition(':')[0]}:// URLs", "cloud") from error
    except Exception as error:  # every store has its own errors
        raise DataError(
            f"cannot be reached ({type(error).__name__}: {error}); check the URL and its credentials", url
        ) from error
    if not files:
        raise DataError("is not there, or an empty folder; check the URL", url)
    return system, root, files


def _version(url: str, system: Any, files: list[str]) -> str:
    digest = hashlib.blake2b(url.encode(), digest_size=12)
    for file in files:
        digest.update(f"\n{file} {system.checksum(file)}".encode())
    return digest.hexdigest()


def _copy(system: Any, file: str, target: Path, url: str) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        try:
            system.get_file(file, str(temporary))
        except Exception as error:
            raise DataError(
                f"broke off at '{file}' ({type(error).__name__}: {error}); the same command goes on", url
            ) from error


def _cache() -> Path:
    return Path(os.environ.get(FOLDER) or Path.home() / ".cache" / "forethought")


def _make_room(kept: Path) -> None:
    """Drop the copies used longest ago until the rest fits; the one just fetched stays."""
    sizes = {f: sum(p.stat().st_size for p in f.rglob("*") if p.is_file()) for f in kept.parent.iterdir() if f.is_dir()}
    over = sum(sizes.values()) - float(os.environ.get(GIB, 50)) * 2**30
    for folder in sorted(sizes, key=lambda folder: folder.stat().st_mtime):
        if over <= 0 or folder == kept:
            break
        shutil.rmtree(folder)
        over -= sizes[folder]
