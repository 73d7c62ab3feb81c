"""Versions of what was learned after training: a folder each, never overwritten, and a history that is only added to."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import nn

from forethought.config import read_json, to_json
from forethought.dynamics.adapted import Adapted
from forethought.errors import RunError, UsageError
from forethought.perception.lens import Lens, Patch
from forethought.training.adapt.gate import Figures
from forethought.training.checkpoint import load_modules, read_tensors, save_modules, save_tensors
from forethought.training.files import write_atomic
from forethought.training.run import RunFolder


@final
@dataclass(frozen=True)
class Version:
    """One kept version: its number, why it was learned, what was changed (`fit.CHANGES`), from how much, and the figures."""

    number: int
    why: str
    change: str
    width: int
    episodes: int
    cpu_seconds: float
    figures: Figures = field(default_factory=Figures)


@final
@dataclass(frozen=True)
class Event:
    """A line of the history. `what`: "learned", "refused" or "rolled back"; `version`: the one learned, or gone back to."""

    what: str
    version: int
    why: str
    when: str = ""


def history(run: RunFolder) -> list[Event]:
    """Everything that was learned, refused and rolled back, oldest first. Raises RunError for a damaged file."""
    path = run.versions / "history.jsonl"
    if not path.is_file():
        return []
    try:
        return [Event(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (json.JSONDecodeError, TypeError) as error:
        raise RunError(
            f"{path}: not a history of versions ({error}); restore it, or delete {run.versions} to forget all"
        ) from None


def note(run: RunFolder, event: Event) -> None:
    """Add a line, atomically; the time is now if it says none."""
    event = event if event.when else replace(event, when=datetime.now(UTC).isoformat(timespec="seconds"))
    lines = [json.dumps(asdict(e)) + "\n" for e in (*history(run), event)]
    write_atomic(run.versions / "history.jsonl", "".join(lines))


def active(run: RunFolder) -> tuple[int, ...]:
    """The numbers of the versions in use, oldest first."""
    numbers: list[int] = []
    for event in history(run):
        if event.what == "learned":
            numbers.append(event.version)
        elif event.what == "rolled back":
            numbers = [n for n in numbers if n <= event.version]
    return tuple(numbers)


def rollback(run: RunFolder, to: int, why: str) -> tuple[int, ...]:
    """Use no version after `to` (0: only what was trained) until more is learned; their files stay. Returns those dropped.

    Raises UsageError for a version that is not in use.
    """
    used = active(run)
    if to and to not in used:
        known = ", ".join(str(n) for n in (0, *used))
        raise UsageError(
            f"version {to} is not in use; in use are {known} (0: as trained). `forethought agent history` lists all"
        )
    note(run, Event("rolled back", to, why))
    return tuple(n for n in used if n > to)


def save_version(run: RunFolder, version: Version, adapted: Adapted, lens: Lens, heads: Mapping[str, nn.Module]) -> None:
    """A whole folder or none: it is written beside its place and moved there."""
    place = run.versions / f"{version.number:04d}"
    fresh = place.with_name(f".{place.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    own = {f"dynamics/{name}": t for name, t in adapted.state_dict().items() if not name.startswith("base.")}
    for name, patch in lens.patches.items():
        parts = {"mask": patch.mask_HW, "now": patch.now_HWC, "then": patch.then_HWC}
        own |= {f"lens/{name}/{part}": torch.from_numpy(np.ascontiguousarray(array)) for part, array in parts.items()}
    save_tensors(fresh / "adapter.safetensors", own)
    save_modules(fresh / "heads.safetensors", heads)
    write_atomic(fresh / "version.json", to_json(version))
    shutil.rmtree(place, ignore_errors=True)  # of a call that was killed before the history told of it
    os.replace(fresh, place)


def load_version(
    run: RunFolder, number: int, adapted_of: Callable[[int], Adapted], heads: Mapping[str, nn.Module]
) -> tuple[Version, Adapted, Lens]:
    """What `save_version` wrote; fills `heads`. `adapted_of`: a residual's width -> a fresh Adapted. Raises RunError."""
    place = run.versions / f"{number:04d}"
    if not (place / "version.json").is_file():
        raise RunError(f"{place}: no such version; roll back to an earlier one with `forethought agent rollback`")
    version = read_json(Version, place / "version.json")
    tensors, _ = read_tensors(place / "adapter.safetensors")
    adapted = adapted_of(version.width)
    own = {name.removeprefix("dynamics/"): t for name, t in tensors.items() if name.startswith("dynamics/")}
    try:
        adapted.load_state_dict({**{f"base.{n}": t for n, t in adapted.base.state_dict().items()}, **own})
    except RuntimeError as error:
        raise RunError(f"{place}: does not fit this run ({error}); roll back to an earlier version") from None
    names = sorted({name.split("/")[1] for name in tensors if name.startswith("lens/")})
    lens = Lens({n: Patch(*(tensors[f"lens/{n}/{part}"].numpy() for part in ("mask", "now", "then"))) for n in names})
    load_modules(place / "heads.safetensors", heads)
    return version, adapted.eval().requires_grad_(False), lens


def next_number(run: RunFolder) -> int:
    """One more than ever was."""
    return max((e.version for e in history(run) if e.what == "learned"), default=0) + 1


def folder_of(run: str | os.PathLike[str]) -> RunFolder:
    """The run's folder. Raises RunError if there is no run."""
    folder = RunFolder(Path(run).expanduser())
    if not folder.config.is_file():
        raise RunError(f"{folder.path}: no run here (no config.json); give the folder that `forethought train` wrote")
    return folder
