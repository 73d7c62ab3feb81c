"""What every benchmark leaves behind: its figures, and what is needed to get them again."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import torch

from forethought.data.durable import atomic_write_bytes

ROOT = Path(__file__).resolve().parents[1]
SCORES = ROOT / "scores"


def write_result(path: str | Path, command: str, payload: Mapping[str, Any]) -> Path:
    """Write `payload` with command, commit, versions and machine as JSON; a bare name goes into scores/. Atomic."""
    target = SCORES / path if Path(path).name == str(path) else Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "command": command,
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__},
        "machine": machine(),
        **payload,
    }
    atomic_write_bytes(target, (json.dumps(record, indent=2) + "\n").encode())
    return target


def command_line() -> str:
    """The command that started this script, as typed from the repository's root."""
    script = Path(sys.argv[0]).resolve()
    shown = script.relative_to(ROOT) if script.is_relative_to(ROOT) else script
    return " ".join(["python", str(shown), *sys.argv[1:]])


def commit() -> str:
    """The commit checked out, with "+changes" if files differ from it; "unknown" outside a repository."""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "--", "src", "benchmarks") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> dict[str, Any]:
    """Processor, cores and how busy they were: a figure from a busy machine is a lower bound."""
    load = os.getloadavg()[0] if sys.platform != "win32" else None
    return {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system(), "load_1min": load}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()
