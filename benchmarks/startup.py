"""How long a person waits before anything happens: `import forethought`, and `forethought --help`.

python -m benchmarks.startup --rounds 21
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks._result import write_result
from forethought.arena.protocol import command_line

COMMANDS = {
    "python (nothing)": ("-c", "pass"),
    "import forethought": ("-c", "import forethought"),
    "forethought --help": ("-m", "forethought", "--help"),
}
BARS = {"import forethought": 0.3, "forethought --help": 0.5}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write scores/startup.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--out", default="startup.json")
    options = parser.parse_args(arguments)
    payload = measure(options.rounds)
    for name, figures in payload["commands"].items():
        print(f"{name:<22}{figures['wall_seconds']:.3f} s wall, {figures['cpu_seconds']:.3f} s CPU")
    print("written:", write_result(options.out, command_line(), payload))


def measure(rounds: int) -> dict[str, Any]:
    """Medians over fresh processes; the commands take turns, so that a busy moment hits all of them."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            times[name].append(_once(command))
    return {
        "rounds": rounds,
        "bars_wall_seconds": BARS,
        "commands": {
            name: {"wall_seconds": round(median(t[0] for t in taken), 4), "cpu_seconds": round(median(t[1] for t in taken), 4)}
            for name, taken in times.items()
        },
    }


def _once(command: tuple[str, ...]) -> tuple[float, float]:
    """Wall and CPU seconds of one fresh interpreter."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
