"""`forethought doctor`: what this machine can do, and what to fix."""

from __future__ import annotations

import os
import platform
import re
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import forethought
from forethought.cli.bench import matrix_rate
from forethought.cli.output import Debug, Json, emit, guarded

LEAST_DISK, LEAST_MEMORY = 5, 4
"""GiB below which logs and latents, or the default size, may not fit."""


def doctor(json: Json = False, debug: Debug = False) -> None:
    """Cores, matrix rate, accelerators, versions, extras, disk; and what to do about what is wrong.

    \b
    Example:
      forethought doctor
    """
    guarded(lambda: _doctor(json), debug)


def _doctor(json: bool) -> None:
    import torch

    facts: dict[str, Any] = {
        "forethought": forethought.__version__, "python": platform.python_version(), "system": platform.platform(),
        "cores": os.cpu_count(), "torch threads": torch.get_num_threads(),
        "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "disk free GiB": round(shutil.disk_usage(".").free / 2**30, 1),
        "matrix GFLOP/s, 1 thread": round(matrix_rate() / 1e9, 1),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else False,
        "apple mps": torch.backends.mps.is_available(),
        "energy": _energy(),
        "torch": torch.__version__, "numpy": version("numpy"),
    }  # fmt: skip
    missing = missing_packages()
    facts["extras"] = {extra: not names for extra, names in missing.items()}
    advice = [*_about_machine(facts), *_about_extras(missing), *about_versions(constraints_file())]
    lines = [f"{name:<28}{_in_words(value)}" for name, value in facts.items()]
    lines += [f"to do: {line}" for line in advice] or ["nothing to fix"]
    emit({**facts, "advice": advice}, json, "\n".join(lines))


def _energy() -> str:
    """Whether joules can be read here."""
    import torch

    from forethought.agent.energy import Gauge
    from forethought.training.device import choose

    gauge = Gauge.find(torch.device(choose().device))
    return f"estimated: {gauge.why}" if gauge.why else "read off counters"


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(there)}" for name, there in value.items())
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _about_machine(facts: dict[str, Any]) -> list[str]:
    advice = []
    if facts["disk free GiB"] < LEAST_DISK:
        advice.append(f"less than {LEAST_DISK} GiB of disk are free: logs and latents need room")
    if facts["memory GiB"] < LEAST_MEMORY:
        advice.append(f"less than {LEAST_MEMORY} GiB of memory: train with --size xs")
    if not os.access(".", os.W_OK):
        advice.append("this folder cannot be written: give --out a folder that can")
    if shutil.which("nvidia-smi") and not facts["cuda"]:
        advice.append(
            "there is an NVIDIA driver, but this torch does not see it: install a CUDA build, see https://pytorch.org"
        )
    return advice


def missing_packages() -> dict[str, list[str]]:
    """Extra -> its packages that are not installed, as the package's own metadata names them."""
    found: dict[str, list[str]] = {}
    for line in requires("forethought") or []:
        match = re.match(r"""([\w.-]+).*extra == ['"]([\w-]+)""", line)
        if match:
            names = found.setdefault(match[2], [])
            names += [match[1]] * (_installed(match[1]) is None)
    return found


def _about_extras(missing: dict[str, list[str]]) -> list[str]:
    return [
        f"the extra '{extra}' is not installed (no {', '.join(names)}); if you need it: pip install 'forethought[{extra}]'"
        for extra, names in missing.items()
        if names
    ]


def constraints_file() -> Path | None:
    """The constraints beside a checkout's sources; an installed wheel has none."""
    path = Path(forethought.__file__).parents[2] / "constraints.txt"
    return path if path.is_file() else None


def about_versions(constraints: Path | None) -> list[str]:
    """Installed packages whose version is not the one that was tested."""
    if constraints is None:
        return []
    pins = re.findall(r"^([\w.-]+)==([^\s;#]+)", constraints.read_text(encoding="utf-8"), re.MULTILINE)
    there = [(name, pin, _installed(name)) for name, pin in pins]
    return [
        f"{name} is {got}, tested was {pin}: pip install -c constraints.txt {name}=={pin}"
        for name, pin, got in there
        if got is not None and got.partition("+")[0] != pin
    ]


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
