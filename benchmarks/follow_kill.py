"""kill -9 of a recorder and of whoever reads its log while it grows: is every acknowledged episode copied once, bit for bit?

    python -m benchmarks.follow_kill --kills 200

A real `Recorder` process writes; `forethought data import LOG COPY --follow` copies. At random moments one of them, or both,
is killed and started again. At the end the copy is compared with what was recorded.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.recorder_kill import opened, same
from forethought.data import open_log

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Outcome:
    """What became of the copy."""

    recorder_killed: int = 0
    reader_killed: int = 0
    acknowledged: int = 0
    recorded: int = 0
    copied: int = 0
    missing: int = 0
    repeated: int = 0
    different: int = 0


def started(module: str, *arguments: str) -> subprocess.Popen[str]:
    """A child in a process group of its own."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True, cwd=ROOT
    )


def ended(child: subprocess.Popen[str], whole_group: bool) -> int:
    """Kill it; the last number it said."""
    os.killpg(child.pid, signal.SIGKILL) if whole_group else child.kill()
    assert child.stdout is not None
    lines = [line for line in child.stdout.read().split("\n") if line.strip().isdigit()]
    child.wait()
    child.stdout.close()
    return int(lines[-1]) if lines else 0


def followed(log: Path, copy: Path, kills: int, seed: int) -> Outcome:
    """Record, follow, kill, go on; then compare."""
    draw, recorders, readers, acknowledged = random.Random(seed), 0, 0, 0
    record = lambda: started("benchmarks.recorder_kill", "--record", str(log))  # noqa: E731
    read = lambda *more: started("forethought", "data", "import", str(log), str(copy), "--follow", *more)  # noqa: E731
    recorder, reader = record(), read()
    for _ in range(kills):
        time.sleep(draw.uniform(0.5, 3.0))
        victim = draw.choice(("recorder", "reader", "both"))
        if victim != "reader":
            acknowledged, recorders = max(acknowledged, ended(recorder, draw.random() < 0.5)), recorders + 1
            opened(log) if log.exists() else None  # a writer process that outlived its recorder finishes first
            recorder = record()
        if victim != "recorder":
            ended(reader, True)
            reader, readers = read(), readers + 1
    acknowledged = max(acknowledged, ended(recorder, True))
    opened(log)
    ended(reader, True)
    last = read("--idle", "3")
    last.communicate()
    assert last.returncode == 0
    source, target = open_log(log), open_log(copy)
    ids = target.ids()
    return Outcome(
        recorders, readers, acknowledged, len(source), len(target), max(acknowledged, len(source)) - len(set(ids)),
        len(ids) - len(set(ids)), sum(not same(target, index) for index in range(len(target))) + (ids != source.ids()),
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, kill, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=ROOT / "scores")
    options = parser.parse_args(arguments)
    from benchmarks._result import command_line, write_result

    with tempfile.TemporaryDirectory() as name:
        results = {
            suffix: followed(
                Path(name) / f"log.{suffix}", Path(name) / f"copy-{suffix}.h5", options.kills // 2, options.seed + i
            )
            for i, suffix in enumerate(("h5", "npz"))
        }
    written = write_result(options.out / "follow_kill.json", command_line(), {k: vars(v) for k, v in results.items()})
    for suffix, outcome in results.items():
        print(suffix, outcome)
    print(f"written: {written}")


if __name__ == "__main__":
    main()
