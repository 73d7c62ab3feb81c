"""Does `forethought train --time` keep to its clock? The whole command is timed, from the shell's side, on real logs.

    python benchmarks/keeps_the_clock.py [--seconds 60 120] [--logs pixels states] [--episodes 600] [--out keeps_the_clock.json]

`pixels`: wandering episodes of Two-Room, 64 px, 64 steps. `states`: half as many random episodes of Pendulum-v1, three
numbers a step, 200 steps. The size is left to the clock.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gymnasium
from _result import command_line, write_result

from forethought.data import open_writer, write_log
from forethought.data.record import collect, random_policy, spec_of
from forethought.envs.two_room import log_spec, record


def pixels(folder: Path, episodes: int) -> Path:
    return write_log(folder / "pixels.h5", record(episodes, 64, 0, random=False), log_spec())


def states(folder: Path, episodes: int) -> Path:
    def make() -> gymnasium.Env[Any, Any]:
        return gymnasium.make("Pendulum-v1")

    writer = open_writer(folder / "states.h5", spec_of(make()))
    collect(make, random_policy, max(1, episodes // 2), writer, seed=0)
    writer.close()
    return folder / "states.h5"


LOGS = {"pixels": pixels, "states": states}


def timed_run(log: Path, out: Path, seconds: float, threads: int) -> dict[str, Any]:
    """One command: seconds asked for and taken, and what it chose and did in them."""
    command = ["train", str(log), "--out", str(out), "--time", f"{seconds:g}s", "--threads", str(threads), "--json"]
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "forethought", *command], check=True, capture_output=True, text=True)
    taken = time.perf_counter() - began
    config = json.loads((out / "config.json").read_text())
    off = round(100 * (taken / seconds - 1), 1)
    return {
        "log": log.stem, "asked_seconds": seconds, "taken_seconds": round(taken, 2), "off_percent": off,
        "features": config["encoder"]["features"], "scenes": config["heads"]["scenes"],
        "stages": json.loads(done.stdout)["stages"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[60, 120])
    parser.add_argument("--logs", nargs="+", choices=list(LOGS), default=list(LOGS))
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", default="keeps_the_clock.json")
    arguments = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.logs:
            log = LOGS[name](Path(folder), arguments.episodes)
            for seconds in arguments.seconds:
                found = timed_run(log, Path(folder) / f"{name}-{seconds:g}", seconds, arguments.threads)
                runs.append(found)
                updates = {stage: cost["updates"] for stage, cost in found["stages"].items()}
                print(f"{name}: {seconds:g} s asked, {found['taken_seconds']} s taken ({found['off_percent']:+} %), {updates}")
    worst = max(abs(run["off_percent"]) for run in runs)
    payload = {"n": len(runs), "episodes": arguments.episodes, "worst_off_percent": worst, "runs": runs}
    print(write_result(arguments.out, command_line(), payload))


if __name__ == "__main__":
    main()
