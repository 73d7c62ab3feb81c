"""How a run begins and goes on: the folder, the log, the clock, interrupts, kills and full disks in every step."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import small_config
from test_training import child, digest

from forethought.data import write_log
from forethought.envs.two_room import log_spec, record
from forethought.errors import CollapseError, ConfigError, DataError, RunError
from forethought.training.config import SIZES, TrainConfig, timed
from forethought.training.schedule import Schedule
from forethought.training.train import train
from forethought.types import Episode


class Stop(Exception):
    """What a watcher raises in the middle of a step: the process ends there, as if killed."""


class StopIn:
    def __init__(self, step: str, error: type[BaseException] = Stop) -> None:
        self.step, self.error, self.seen = step, error, []

    def note(self, text: str) -> None:
        assert text

    def progress(self, progress) -> None:
        self.seen.append(progress.stage)
        if progress.stage == self.step:
            raise self.error


@pytest.mark.parametrize("step", ["encode", "calibrate"])
def test_killed_between_the_stages_it_goes_on_to_the_same_bytes(log: Path, run: Path, tmp_path: Path, step: str) -> None:
    with pytest.raises(Stop):
        train(log, tmp_path / "run", small_config(), watcher=StopIn(step))
    assert not (tmp_path / "run" / "calibration.json").exists()
    train(log, tmp_path / "run", small_config())
    assert digest(tmp_path / "run") == digest(run)
    assert (tmp_path / "run" / "calibration.json").read_bytes() == (run / "calibration.json").read_bytes()


@pytest.mark.lane
@pytest.mark.parametrize("step", ["predict", "encode", "graphs"])
def test_interrupted_anywhere_it_says_so_and_goes_on(log: Path, run: Path, tmp_path: Path, step: str) -> None:
    """The command line: exit code 130, one line, and the same command ends with the same bytes."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import os, signal
from conftest import small_config
from forethought.cli.output import guarded
from forethought.training.train import train
class Watch:
    def note(self, text): pass
    def progress(self, progress):
        if progress.stage == {step!r}:
            os.kill(os.getpid(), signal.{"SIGTERM" if step == "graphs" else "SIGINT"})
guarded(lambda: train({str(log)!r}, {str(tmp_path / "run")!r}, small_config(), watcher=Watch()))
"""
    wrapped = "import typer\ntry:\n" + "\n".join("    " + line for line in code.splitlines() if line)
    wrapped += "\nexcept typer.Exit as error:\n    sys.exit(error.exit_code)\n"
    hear = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # where tests run in the background it is ignored
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", wrapped],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=hear,
    )
    assert done.returncode == 130, done.stderr
    assert "saved; the same command goes on" in " ".join(done.stderr.split()) and "Traceback" not in done.stderr
    train(log, tmp_path / "run", small_config())
    assert digest(tmp_path / "run") == digest(run)


@pytest.mark.slow
def test_kill_9_in_every_step(log: Path, run: Path, tmp_path: Path) -> None:
    """As the twenty kills, but while encode, graphs or calibrate are running: few milliseconds, so a watched file says when."""
    moments = {"encode": "predict.safetensors", "graphs": "dynamics.safetensors", "calibrate": "heads.safetensors"}
    generator = random.Random(2)
    for step, before in moments.items():
        for attempt in range(2):
            out = tmp_path / f"{step}-{attempt}"
            process = child(log, out)
            while not (out / before).is_file() and process.poll() is None:
                time.sleep(0.001)
            time.sleep(generator.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert child(log, out).wait() == 0
            assert digest(out) == digest(run)


def test_another_log_in_the_same_folder_is_refused(log: Path, run: Path, tmp_path: Path) -> None:
    other = write_log(tmp_path / "other.h5", record(40, 24, 1, random=True), log_spec())
    with pytest.raises(RunError, match=r"began on another log: \d+ episodes.*another folder to begin anew"):
        train(other, run, small_config())
    grown = shutil.copy(log, tmp_path / "grown.h5")
    from forethought.data import open_writer

    writer = open_writer(grown, log_spec())
    for episode in record(44, 24, 5, random=True):
        writer.append(replace(episode, id=f"more-{episode.id}"))
    writer.close()
    with pytest.raises(RunError, match="began on another log"):
        train(grown, run, small_config())
    moved = shutil.copy(log, tmp_path / "moved.h5")
    train(moved, run, small_config())  # the same episodes elsewhere are the same log


@pytest.mark.parametrize("what", ["file", "folder of something else"])
def test_an_out_that_is_no_run_is_left_alone(log: Path, tmp_path: Path, what: str) -> None:
    out = tmp_path / "out"
    if what == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "thesis.tex").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match="is a file" if what == "file" else r"holds 1 files \(thesis.tex"):
        train(log, out, small_config())
    assert sorted(tmp_path.rglob("*")) == before


def test_no_permission_to_write(log: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    from test_bad_logs import _as_nobody

    prefix = _as_nobody()
    folder = tmp_path_factory.mktemp("closed")
    for parent in (folder, *folder.parents, log.parent):
        if "pytest" in str(parent):
            parent.chmod(0o755)
    folder.chmod(0o555)
    command = [*prefix, sys.executable, "-W", "ignore", "-m", "forethought", "train", str(log), "--out", str(folder / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    folder.chmod(0o755)
    assert done.returncode == 1 and "cannot be made (Permission denied)" in " ".join(done.stderr.split()), done.stderr
    assert not (folder / "run").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    if not mount or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.lane
@pytest.mark.parametrize("free", [0, 60, 350])
def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_afterwards(
    log: Path, run: Path, small_disk: Path, free: int
) -> None:
    """`free` kilobytes are there: for nothing, for the configuration, for some of the weights."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes((600 - free) * 1000))
    with pytest.raises((DataError, RunError), match=r"cannot be (written|made)"):
        train(log, small_disk / "run", small_config())
    assert not [path for path in small_disk.rglob("*") if path.name.endswith(".tmp")]
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
    train(log, small_disk / "run", small_config())
    assert digest(small_disk / "run") == digest(run)


def test_a_log_in_which_nothing_moves_is_refused_before_training(tmp_path: Path) -> None:
    def still() -> Iterator[Episode]:
        for episode in record(30, 16, 0, random=True):
            image = np.repeat(episode.observations["image"][:1], 17, 0)
            yield replace(episode, observations={"image": image}, metadata={})

    log = write_log(tmp_path / "still.h5", still(), log_spec())
    with pytest.raises(CollapseError, match="no sensor ever changes within an episode"):
        train(log, tmp_path / "run", small_config())
    assert not (tmp_path / "run").exists()


def test_weights_that_make_it_collapse_stop_with_what_to_change(log: Path, tmp_path: Path) -> None:
    config = small_config()
    schedule = Schedule(updates=400, learning_rate=1e-2, warmup=1, log_every=50)
    lost = replace(config.predict, schedule=schedule, prediction=50.0, inverse=0.0, state_sigreg=0.0)
    config = replace(config, predict=lost, encoder=replace(config.encoder, scene_size=0))
    with pytest.raises(CollapseError, match=r"raise predict\.state_sigreg, raise predict\.inverse"):
        train(log, tmp_path / "run", config)


def clocked(seconds: float, fit_model: bool = False) -> TrainConfig:
    return timed(replace(small_config(), predict=replace(small_config().predict, episodes=4)), seconds, fit_model)


@pytest.mark.slow
def test_the_clock_holds_for_the_whole_run(log: Path, tmp_path: Path) -> None:
    began = time.perf_counter()
    run = train(log, tmp_path / "run", clocked(20.0, fit_model=True))
    assert time.perf_counter() - began == pytest.approx(20.0, rel=0.1)
    chosen = (tmp_path / "run" / "config.json").read_text()
    assert any(f'"width": {width}' in chosen for width, _, _ in SIZES.values())
    costs = {stage: cost.effort.seconds for stage, cost in run.stage_costs().items()}
    assert costs["predict"] > costs["dynamics"] > costs["heads"] > 0.3


@pytest.mark.slow
def test_a_resumed_run_keeps_what_is_left_of_the_clock(log: Path, tmp_path: Path) -> None:
    began = time.perf_counter()
    with pytest.raises(Stop):
        train(log, tmp_path / "run", clocked(20.0), watcher=StopIn("encode"))
    train(log, tmp_path / "run", clocked(20.0))
    assert time.perf_counter() - began == pytest.approx(20.0, rel=0.1)
    with pytest.raises(ConfigError, match="another configuration"):
        train(log, tmp_path / "run", clocked(9.0))


def test_a_clock_too_short_to_learn_in_says_how_much_it_takes(log: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"got a clock of 0 s.*give at least"):
        train(log, tmp_path / "run", clocked(0.01))
    assert not (tmp_path / "run").exists()
