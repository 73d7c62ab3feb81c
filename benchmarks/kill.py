"""kill -9 at random moments of a training, until so many have hit: do all the runs end with the bytes of one left in peace?

    python -m benchmarks.kill --kills 20

Every run is the command line's own process, on a small real log, with a small configuration that saves at every update.
A run that got to its end before its kill is followed by a new one; each finished run is compared, all stages' weights.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks._result import SCORES, write_result
from forethought.arena.protocol import command_line
from forethought.config import to_json
from forethought.data import write_log
from forethought.dynamics.build import Architecture
from forethought.envs.two_room import log_spec, record
from forethought.training.config import TrainConfig
from forethought.training.schedule import Schedule


def small_config() -> TrainConfig:
    """Thirty updates a stage, a checkpoint after each, one thread."""
    base, quick = TrainConfig(threads=1), Schedule(updates=30, learning_rate=1e-3, log_every=10, checkpoint_seconds=0.0)
    return replace(
        base,
        encoder=replace(base.encoder, width=16, features=64, scene_size=4, state_size=8),
        predict=replace(base.predict, schedule=quick, episodes=8, windows=2),
        dynamics=replace(base.dynamics, schedule=quick, batch_size=64, architecture=Architecture(width=32, depth=2)),
        heads=replace(base.heads, schedule=quick, batch_size=128, scenes=4, nodes=32, width=32, depth=2),
    )


def start(folder: Path, out: Path) -> subprocess.Popen[bytes]:
    """The training as a process of its own."""
    command = [sys.executable, "-m", "forethought", "train", "log.h5", "--out", str(out), "--config", "config.json"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(folder: Path, out: Path) -> str:
    """Go on to the end; a hash of all weights. Raises RuntimeError if the run fails."""
    if start(folder, out).wait() != 0:
        raise RuntimeError(f"{out.name} did not finish after its kills")
    whole = hashlib.sha256()
    for path in sorted((folder / out).glob("*.safetensors")):
        whole.update(path.name.encode() + path.read_bytes())
    return whole.hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, kill, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=SCORES)
    options = parser.parse_args(arguments)
    draw, hit, same, finished = random.Random(options.seed), 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder / "log.h5", record(40, 24, 0, random=True), log_spec())
        (folder / "config.json").write_text(to_json(small_config()))
        began = time.monotonic()
        wanted = finish(folder, Path("peace"))
        span = time.monotonic() - began
        kills_of_run = 0
        while hit < options.kills or kills_of_run:
            out = Path(f"run-{finished}")
            if hit < options.kills:
                process = start(folder, out)
                time.sleep(span * draw.uniform(0.2, 1.0))
                alive = process.poll() is None
                process.kill()
                process.wait()
                hit, kills_of_run = hit + alive, kills_of_run + alive
                if alive and hit < options.kills:
                    continue
            same += kills_of_run if finish(folder, out) == wanted else 0
            finished, kills_of_run = finished + 1, 0
    summary = {
        "kills": hit,
        "same": same,
        "finished_runs": finished,
        "seconds_of_a_run": round(span, 1),
        "seeds": [options.seed],
    }
    path = write_result(options.out / "kill.json", command_line(), summary)
    print(f"{hit} kills in {finished} runs; {same} of them in runs that ended with the same bytes\nwritten: {path}")


if __name__ == "__main__":
    main()
