"""kill -9 at random moments of a recording: does every acknowledged episode read back, bit for bit?

    python -m benchmarks.recorder_kill --kills 200

Half of the kills hit the recording process alone, half its writer process too. The killed recording is gone on with by the
next, in the same log; after each kill its new episodes are compared with what was recorded, and at a log's end all of them.
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

import numpy as np

from forethought.data import open_log
from forethought.data.experience import Experience
from forethought.errors import DataError
from forethought.record import Recorder
from forethought.types import BoxSpace, ExperienceSpec, Sensor, SensorKind

SPEC = ExperienceSpec(
    (Sensor("camera", SensorKind.IMAGE, (32, 32, 3), "uint8"), Sensor("joints", SensorKind.VECTOR, (7,), "float32")),
    BoxSpace((-1.0,), (1.0,)),
)
LONGEST = 600  # episodes of a log; then a new one begins


@dataclass(frozen=True)
class Outcome:
    """What became of the recordings."""

    kills: int = 0
    writer_killed_too: int = 0
    acknowledged: int = 0
    lost: int = 0
    different: int = 0


def moments(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Episode `index`: a function of its number, so that what reads back can be compared."""
    rng = np.random.default_rng(index)
    steps = int(rng.integers(1, 40))
    camera = rng.integers(0, 256, (steps + 1, 32, 32, 3), np.uint8)
    return camera, rng.normal(size=(steps + 1, 7)).astype(np.float32), rng.uniform(-1, 1, (steps, 1)).astype(np.float32)


def record(path: Path) -> None:
    """Record until killed; say each acknowledged number on stdout."""
    recorder = Recorder(path, SPEC, clock=None)
    said = index = recorder.saved
    print(said, flush=True)
    while True:
        camera, joints, actions = moments(index)
        for i, action in enumerate(actions):
            recorder.step({"camera": camera[i], "joints": joints[i]}, action)
        recorder.end({"camera": camera[-1], "joints": joints[-1]})
        index += 1
        while said < recorder.saved:
            said += 1
            print(said, flush=True)
        time.sleep(0.002)


def killed(path: Path, kills: int, seed: int) -> Outcome:
    """Record, kill, compare, and go on, so many times."""
    draw, total, checked = random.Random(seed), Outcome(), 0
    log = path
    for number in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.recorder_kill", "--record", str(log)], stdout=subprocess.PIPE, text=True,
            start_new_session=True, cwd=Path(__file__).resolve().parents[1],
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(draw.uniform(0, 0.4))
        both = draw.random() < 0.5
        os.killpg(process.pid, signal.SIGKILL) if both else process.kill()
        lines = [line for line in process.stdout.read().split("\n") if line.strip()]
        process.wait()
        process.stdout.close()
        last = int(lines[-1]) if lines else 0
        found = opened(log)
        last_time, checked = checked, len(found) if number + 1 < kills and len(found) <= LONGEST else 0
        bad = sum(not same(found, index) for index in range(last_time if checked else 0, len(found)))
        total = Outcome(
            number + 1, total.writer_killed_too + both, total.acknowledged + len(lines),
            total.lost + max(0, last - len(found)), total.different + bad,
        )  # fmt: skip
        if len(found) > LONGEST:
            log = path.with_name(f"{number}-{path.name}")
    return total


def opened(path: Path) -> Experience:
    """The log, once a writer process that outlived its recorder has finished."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return open_log(path)
        except DataError as error:
            if "being written" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def same(found: Experience, index: int) -> bool:
    """Is the episode what was recorded, to the bit?"""
    episode, (camera, joints, actions) = found.episode(index), moments(index)
    pairs = ((episode.observations["camera"], camera), (episode.observations["joints"], joints), (episode.actions, actions))
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, kill, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "scores")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.record is not None:
        record(options.record)
    from benchmarks._result import command_line, write_result  # brings torch: not for the process that is killed

    with tempfile.TemporaryDirectory() as name:
        results = {
            suffix: killed(Path(name) / f"log.{suffix}", options.kills // 2, options.seed + i)
            for i, suffix in enumerate(("h5", "npz"))
        }
    written = write_result(options.out / "recorder_kill.json", command_line(), {k: vars(v) for k, v in results.items()})
    for suffix, outcome in results.items():
        print(suffix, outcome)
    print(f"written: {written}")


if __name__ == "__main__":
    main()
