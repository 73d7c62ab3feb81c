"""`torchrun ... -m forethought train`: two ranks give the single-process result, write once, and none waits for a dead one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import small_config

from forethought.config import to_json
from forethought.data import open_log
from forethought.training.bundle import build_parts, load_agent
from forethought.training.checkpoint import read_tensors
from forethought.training.run import RunFolder
from forethought.training.schedule import Schedule

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def config_file(folder: Path, updates: int = 8, **schedule: float) -> Path:
    config, short = small_config(), Schedule(updates=updates, learning_rate=1e-3, warmup=1, log_every=4, **schedule)
    parts = {name: replace(getattr(config, name), schedule=short) for name in ("predict", "dynamics", "heads")}
    path = folder / "config.json"
    path.write_text(to_json(replace(config, **parts)))
    return path


def torchrun(log: Path, out: Path, config: Path) -> list[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    what = ["-m", "forethought", "train", str(log), "--out", str(out), "--config", str(config), "--json"]
    return [*start, "--master-port", str(port), *what]


def alone(log: Path, out: Path, config: Path) -> list[str]:
    return [sys.executable, "-m", "forethought", "train", str(log), "--out", str(out), "--config", str(config), "--json"]


@pytest.mark.lane
def test_two_ranks_give_the_single_process_result(log: Path, tmp_path: Path) -> None:
    config = config_file(tmp_path)
    for name, command in (("one", alone), ("two", torchrun)):
        done = subprocess.run(
            command(log, tmp_path / name, config), capture_output=True, text=True, timeout=240, env=ENVIRONMENT, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads(done.stdout)["run"] == str(tmp_path / name)  # one result: the second rank is silent
    one, two = (read_tensors(tmp_path / name / "predict.safetensors")[0] for name in ("one", "two"))
    start = build_start(log)
    moved = max((one[key] - start[key].detach()).abs().max().item() for key in start)
    assert moved > 5e-3  # eight updates of at most 1e-3 each: the comparison below is not of untrained weights
    for key in one:
        assert (one[key].double() - two[key].double()).abs().max() < 2e-4, key
    lines = [[(m["stage"], m["update"]) for m in RunFolder(tmp_path / name).read_metrics()] for name in ("one", "two")]
    assert lines[0] == lines[1]  # nothing is written twice
    assert lines[0][:6] == [(stage, n) for stage in ("predict", "dynamics", "heads") for n in (4, 8)]
    load_agent(tmp_path / "two")


def build_start(log: Path) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    parts = build_parts(open_log(log).spec, small_config())
    return {f"encoder/{key}": tensor for key, tensor in parts.encoder.named_parameters()}


@pytest.mark.lane
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_dies_ends_the_other_with_one_clear_error(log: Path, tmp_path: Path, victim: int) -> None:
    """Started by hand, so that nobody but the ranks themselves can notice."""
    config = config_file(tmp_path, updates=100_000, checkpoint_seconds=0.5)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            alone(log, tmp_path / "run", config), env={**ENVIRONMENT, **place, "RANK": str(rank)},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    checkpoint, deadline = RunFolder(tmp_path / "run").checkpoint("predict"), time.monotonic() + 60
    while not checkpoint.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    ranks[victim].send_signal(signal.SIGKILL)
    _, said = ranks[1 - victim].communicate(timeout=60)
    ranks[victim].communicate()
    assert ranks[1 - victim].returncode == 1
    assert "another rank stopped" in " ".join(said.split()) and "Traceback" not in said
    assert checkpoint.is_file()
