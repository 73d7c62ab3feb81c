"""How long does recording hold up a 50 Hz control loop with two 224-pixel cameras and seven joints?

    python -m benchmarks.recorder_latency

`added_ms` is the time that `step` (and at an episode's end, `end`) keeps the loop; `late_ms` how late the loop wakes for its
next turn, with the recorder and, in the same run, without: a writer that took the processor or the interpreter's lock shows
there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._result import SCORES, command_line, write_result
from forethought.record import Recorder
from forethought.types import BoxSpace, ExperienceSpec, Sensor, SensorKind

SPEC = ExperienceSpec(
    (
        Sensor("front", SensorKind.IMAGE, (224, 224, 3), "uint8"),
        Sensor("wrist", SensorKind.IMAGE, (224, 224, 3), "uint8"),
        Sensor("joints", SensorKind.VECTOR, (7,), "float32"),
    ),
    BoxSpace((-1.0,) * 7, (1.0,) * 7),
)


def loop(turn: Callable[[int], None], hertz: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Run at a rate: how long each turn took, and how late it began, (steps,) seconds each."""
    took, late = np.zeros(steps), np.zeros(steps)
    due = time.perf_counter()
    for i in range(steps):
        due += 1 / hertz
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        turn(i)
        took[i], late[i] = time.perf_counter() - began, began - due
    return took, np.maximum(late, 0)


def measure(hertz: float, steps: int, episode: int) -> dict[str, Any]:
    """The loop without, and with the recorder; the figures in milliseconds."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (8, 224, 224, 3), np.uint8)
    joints, action = np.zeros(7, np.float32), np.zeros(7, np.float32)

    def look(i: int) -> dict[str, np.ndarray]:
        return {"front": frames[i % 8], "wrist": frames[(i + 3) % 8], "joints": joints}

    _, late_alone = loop(lambda i: None, hertz, steps)
    with tempfile.TemporaryDirectory() as name, Recorder(Path(name) / "log.h5", SPEC) as recorder:

        def turn(i: int) -> None:
            recorder.step(look(i), action)
            if (i + 1) % episode == 0:
                recorder.end(look(i + 1))

        took, late = loop(turn, hertz, steps)
        saved = recorder.wait()
    return {
        "hertz": hertz, "steps": steps, "steps_an_episode": episode, "bytes_a_step": 2 * frames[0].nbytes + 28,
        "saved_episodes": saved, "added_ms": percentiles(took),
        "late_ms": {"with_recorder": percentiles(late), "without": percentiles(late_alone)},
    }  # fmt: skip


def percentiles(seconds: np.ndarray) -> dict[str, float]:
    """p50, p99 and the worst, in milliseconds."""
    p50, p99, worst = np.percentile(seconds * 1e3, (50, 99, 100)).round(4).tolist()
    return {"p50": p50, "p99": p99, "worst": worst}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hertz", type=float, default=50)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--episode", type=int, default=250)
    parser.add_argument("--out", type=Path, default=SCORES)
    options = parser.parse_args(arguments)
    figures = measure(options.hertz, options.steps, options.episode)
    written = write_result(options.out / "recorder_latency.json", command_line(), figures)
    print(f"added: {figures['added_ms']} ms\nlate: {figures['late_ms']} ms\nwritten: {written}")


if __name__ == "__main__":
    main()
