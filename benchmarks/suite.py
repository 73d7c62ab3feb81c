"""What the test suite costs and covers: python -m benchmarks.suite writes scores/suite.json.

Wall seconds are those of this machine at this moment, with one job; CPU seconds tell more where others work on it too.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._result import ROOT, write_result
from forethought.arena.protocol import command_line

LANES = {"full": "not slow", "fast": "not slow and not lane"}


def main() -> None:
    """Run both lanes, measure coverage in the full one, write the file."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        full = lane(LANES["full"], "--cov", f"--cov-report=json:{report}")
        covered = json.loads(report.read_text())["totals"]["percent_covered"]
    payload = {"full": full, "fast": lane(LANES["fast"]), "coverage_percent": round(covered, 2)}
    print(payload, "\nwritten:", write_result("suite.json", command_line(), payload))


def lane(marks: str, *options: str) -> dict[str, Any]:
    """Wall and CPU seconds of one lane, and pytest's last line. Ends the program if a test fails."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "pytest", "-m", marks, *options], cwd=ROOT, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    last = next((line for line in reversed(done.stdout.splitlines()) if " passed" in line), "").strip("= ")
    return {"wall_seconds": round(wall, 1), "cpu_seconds": round(cpu, 1), "result": last.partition(" in ")[0]}


if __name__ == "__main__":
    main()
