"""Training resumes to the bit, keeps to the clock, joins ranks into one result, and stops when it is lost."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import small_config

from forethought.data import open_log
from forethought.data.dataset import Dataset
from forethought.errors import CollapseError, ConfigError, RunError, TrainingError
from forethought.testing import check_agent, check_world_model
from forethought.training.bundle import build_parts, load_agent, load_parts
from forethought.training.config import SIZES, TrainConfig, parse_time, sized
from forethought.training.distributed import Ranks
from forethought.training.graphs import UNREACHED, shortest_paths_
from forethought.training.predict import PredictStage
from forethought.training.run import RunFolder
from forethought.training.schedule import Schedule
from forethought.training.train import train
from forethought.training.trainer import run_stage
from forethought.types import ReachObservation

WEIGHTS = ("predict", "dynamics", "heads", "decoder", "probe")
CHILD = """
import sys
sys.path.insert(0, {tests!r})
from conftest import small_config
from forethought.training.train import train
train({log!r}, {out!r}, small_config())
"""


def digest(run: Path) -> list[str]:
    return [hashlib.sha256((run / f"{name}.safetensors").read_bytes()).hexdigest() for name in WEIGHTS]


def child(log: Path, out: Path) -> subprocess.Popen[bytes]:
    code = CHILD.format(tests=str(Path(__file__).parent), log=str(log), out=str(out))
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_and_go_on(log: Path, folder: Path, kills: int, generator: random.Random) -> list[Path]:
    """Start, kill -9 at a random moment of the time a whole run takes, go on; a run that got to its end is followed by a new
    one, until `kills` have hit a live process. Returns the finished runs."""
    began = time.monotonic()
    assert child(log, folder / "run-0").wait() == 0
    span, finished, hit = time.monotonic() - began, [folder / "run-0"], 0
    while hit < kills:
        out = folder / f"run-{len(finished)}"
        process = child(log, out)
        time.sleep(span * generator.uniform(0.2, 1.0))
        alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        hit += alive
        if not alive:
            assert process.returncode == 0
            finished.append(out)
    out = folder / f"run-{len(finished)}"
    assert child(log, out).wait() == 0
    return [*finished, out]


def test_a_run_holds_an_agent(run: Path) -> None:
    spec, config, parts = load_parts(run)
    image = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    check_world_model(parts.model, {"image": image}, spec.action_space.size * config.frameskip)
    agent = load_agent(run)
    check_agent(agent, {"image": image[0].numpy()}, ReachObservation({"image": image[1].numpy()}))
    assert not [path for path in run.rglob("*") if path.suffix in (".pt", ".pkl", ".pth", ".tmp")]


@pytest.mark.lane
def test_killed_runs_end_with_the_same_bytes(log: Path, run: Path, tmp_path: Path) -> None:
    for finished in kill_and_go_on(log, tmp_path, 2, random.Random(0)):
        assert digest(finished) == digest(run)


@pytest.mark.slow
def test_twenty_kills(log: Path, run: Path, tmp_path: Path) -> None:
    for finished in kill_and_go_on(log, tmp_path, 20, random.Random(1)):
        assert digest(finished) == digest(run)


def test_every_stage_resumes_in_its_middle(log: Path, run: Path, tmp_path: Path) -> None:
    """Stops after every single update by SIGTERM-like flags would take minutes; stops in each stage show the same."""
    out = tmp_path / "run"
    for stage, updates in (("predict", 7), ("dynamics", 13), ("heads", 21), ("decoder", 5), ("probe", 9)):
        with pytest.raises(_Stop):
            train(log, out, small_config(), watcher=_StopAt(stage, updates))
    train(log, out, small_config())
    assert digest(out) == digest(run)


class _Stop(Exception):
    pass


class _StopAt:
    def __init__(self, stage: str, updates: int) -> None:
        self.stage, self.updates = stage, updates

    def note(self, text: str) -> None:
        assert text

    def progress(self, progress) -> None:
        if progress.stage == self.stage and progress.done >= self.updates:
            raise _Stop


def test_metrics_are_whole_after_resuming(log: Path, run: Path) -> None:
    entries = [(m["stage"], m["update"]) for m in RunFolder(run).read_metrics()]
    assert entries == [(stage, n) for stage in WEIGHTS for n in (10, 20, 30)]


def test_a_collapsed_run_stops_and_says_what_to_change(log: Path, tmp_path: Path) -> None:
    config = small_config()
    data = Dataset.load(open_log(log))
    parts = build_parts(data.spec, config)
    stage = PredictStage(data, parts.encoder, parts.first_dynamics, config, Ranks())
    stage.recent = torch.full((16, 8), 0.5)
    with pytest.raises(CollapseError, match=r"raise predict\.state_sigreg"):
        stage.monitor(200, {})
    assert stage.monitor(10, {})["rank"] >= 0


def test_a_gradient_that_is_not_finite_is_an_error_with_a_remedy(log: Path, tmp_path: Path) -> None:
    config = small_config()
    data = Dataset.load(open_log(log))
    parts = build_parts(data.spec, config)
    with torch.no_grad():
        next(parts.encoder.parameters()).fill_(float("nan"))
    stage = PredictStage(data, parts.encoder, parts.first_dynamics, config, Ranks())
    (tmp_path / "run").mkdir()
    with pytest.raises(TrainingError, match="lower the learning rate"):
        run_stage(stage, Schedule(updates=2, learning_rate=1e-3), RunFolder(tmp_path / "run"))


def test_another_configuration_in_the_same_folder_is_refused(log: Path, run: Path) -> None:
    with pytest.raises(ConfigError, match="another configuration"):
        train(log, run, small_config(seed=1))


@pytest.mark.parametrize("name", ["predict", "dynamics", "heads"])
def test_damaged_or_missing_weights_are_one_clear_error(run: Path, tmp_path: Path, name: str) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    whole = (copy / f"{name}.safetensors").read_bytes()
    (copy / f"{name}.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match="damaged"):
        load_agent(copy)
    (copy / f"{name}.safetensors").unlink()
    with pytest.raises(RunError, match="no such file"):
        load_agent(copy)


def test_weights_of_another_shape_are_refused(run: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "config.json").write_text((copy / "config.json").read_text().replace('"features": 64', '"features": 32'))
    with pytest.raises(RunError, match="does not fit"):
        load_agent(copy)


def test_shortest_paths_against_a_line() -> None:
    distance = torch.full((1, 5, 5), UNREACHED)
    distance.diagonal(dim1=1, dim2=2).zero_()
    for i in range(4):
        distance[0, i, i + 1] = i + 1.0
    shortest_paths_(distance)
    assert distance[0, 0].tolist() == [0, 1, 3, 6, 10]
    assert distance[0, 4, 0] >= UNREACHED


def test_dials() -> None:
    assert parse_time("90s") == 90 and parse_time("5m") == 300 and parse_time("1.5h") == 5400
    for bad in ("", "-5m", "0", "5 days", "soon"):
        with pytest.raises(ConfigError, match="expected a positive number"):
            parse_time(bad)
    widths = [sized(TrainConfig(), size).heads.width for size in SIZES]
    assert widths == sorted(widths) and len(set(widths)) == 4
    short = replace(Schedule(updates=100, learning_rate=1.0, warmup=1))
    assert short.rate(0, 0.0) == 1.0 and short.rate(50, 0.5) == 1.0 and short.rate(99, 0.99) < 0.1
