"""What every command has in common: --json, --debug, examples, completion, Ctrl-C, and places that cannot be written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer.main
from command_line import FORETHOUGHT, call
from conftest import small_config

from forethought.cli.doctor import about_versions, missing_packages
from forethought.cli.main import app
from forethought.config import from_json, to_json
from forethought.training.config import TrainConfig


def commands() -> Iterator[tuple[str, Any]]:
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        inside = getattr(command, "commands", None)
        if inside is None:
            yield name, command
        else:
            yield from ((f"{name} {inner}", one) for inner, one in inside.items())


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_has_json_debug_an_example_and_help_for_all_it_takes(name: str, command: Any) -> None:
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--json", "--debug"} <= options
    assert f"forethought {name}" in (command.help or "")
    assert all(getattr(parameter, "help", None) for parameter in command.params if parameter.name != "help")


def test_there_are_nine_commands() -> None:
    names = {name for name, _ in commands()}
    assert names >= {"demo", "collect", "train", "config", "eval", "doctor", "bench", "data check", "data show"}


def test_config_prints_what_train_would_use() -> None:
    listed = json.loads(call("config", "--json").stdout)
    assert {"two-room-fixed", "two-room-random"} <= set(listed)
    printed = call("config", "two-room-random", "--seed", 3, "--size", "xs", "--time", "60s", "--threads", 2).stdout
    config = from_json(TrainConfig, printed)
    assert (config.seed, config.threads, config.heads.width) == (3, 2, 128)
    assert config.seconds == 60.0
    assert from_json(TrainConfig, call("config", "--frameskip", 4).stdout).frameskip == 4


def test_a_printed_config_trains(log: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(to_json(small_config()))
    given = ("train", log, "--out", tmp_path / "run", "--config", tmp_path / "mine.json", "--seed", 5)
    done = json.loads(call(*given, "--json").stdout)
    assert set(done["stages"]) >= {"predict", "dynamics", "heads"}
    assert from_json(TrainConfig, (tmp_path / "run" / "config.json").read_text()).seed == 5


def test_recipe_and_config_exclude_each_other(log: Path, run: Path, tmp_path: Path) -> None:
    both = ("train", log, "--out", tmp_path / "r", "--recipe", "two-room-fixed", "--config", run / "config.json")
    assert "give one of them" in call(*both, code=2).said
    typo = call("train", log, "--out", tmp_path / "r", "--recipe", "two-rom-fixed", code=2)
    assert "Did you mean 'two-room-fixed'" in typo.said
    (tmp_path / "bad.json").write_text(to_json(small_config()).replace('"frameskip": 1', '"frameskip": 0'))
    broken = call("train", log, "--out", tmp_path / "r", "--config", tmp_path / "bad.json", code=2)
    assert f"{tmp_path / 'bad.json'}: TrainConfig.frameskip: got 0" in broken.said
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.json"]


def test_debug_shows_the_traceback_of_an_error(tmp_path: Path) -> None:
    done = subprocess.run([*FORETHOUGHT, "data", "check", tmp_path / "no.h5", "--debug"], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr and "DataError" in done.stderr


def test_completion_works_in_bash(tmp_path: Path) -> None:
    bash, program = shutil.which("bash"), Path(sys.executable).with_name("forethought")
    if bash is None or not program.exists():
        pytest.skip("needs bash, and the installed `forethought` command")
    script = """
source <(forethought --show-completion bash)
complete -p forethought > /dev/null || exit 3
COMP_WORDS=(forethought tra) COMP_CWORD=1; _forethought_completion forethought; echo "first: ${COMPREPLY[*]}"
COMP_WORDS=(forethought data ch) COMP_CWORD=2; _forethought_completion forethought; echo "second: ${COMPREPLY[*]}"
COMP_WORDS=(forethought train --rec) COMP_CWORD=2; _forethought_completion forethought; echo "third: ${COMPREPLY[*]}"
forethought --install-completion bash > /dev/null || exit 4
"""
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "first: train\n" in done.stdout and "second: check\n" in done.stdout and "third: --recipe\n" in done.stdout
    assert "forethought" in (tmp_path / ".bashrc").read_text()


def interrupt(process: subprocess.Popen[str], written: Path, least: int = 1) -> tuple[int, str]:
    """Ctrl-C once that file has been written, or written again, and has so many bytes: work is under way."""
    before = written.stat().st_mtime_ns if written.exists() else 0
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        if written.exists() and written.stat().st_mtime_ns != before and written.stat().st_size >= least:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    return process.returncode, text


def start(*arguments: object) -> subprocess.Popen[str]:
    """A command of its own that hears Ctrl-C, even where the tests were started in the background, which does not."""
    command = [*FORETHOUGHT, *map(str, arguments)]
    hear = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=hear)


def test_ctrl_c_keeps_what_was_collected(tmp_path: Path) -> None:
    from forethought.data import open_log

    log = tmp_path / "log.h5"
    process = start("collect", "CartPole-v1", "--out", log, "--episodes", 100000)
    code, text = interrupt(process, log, least=200_000)
    assert code == 130 and "interrupted" in text and "Traceback" not in text, text
    kept = len(open_log(log))
    assert kept > 0
    done = json.loads(call("collect", "CartPole-v1", "--out", log, "--episodes", kept + 2, "--json").stdout)
    assert done["added"] == 2


def test_a_ctrl_c_that_a_library_loses_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    from forethought.cli.output import Show, guarded

    class Dying:
        def __del__(self) -> None:  # as in a weakref's callback: what is raised here is lost, and told of on stderr
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    def swallowed() -> None:
        Dying()

    def lost() -> None:
        swallowed()
        with Show() as show:
            show.count("collect", 1, 3)
        raise AssertionError("went on")

    def disguised() -> None:
        swallowed()
        raise RuntimeError("unspecified error in a callback")

    for work in (lost, disguised):
        with pytest.raises(typer.Exit) as left:
            guarded(work)
        told = capsys.readouterr().err
        assert left.value.exit_code == 130 and "interrupted" in told and "Traceback" not in told
    with pytest.raises(RuntimeError):  # a Ctrl-C is not remembered into the next command
        guarded(lambda: (_ for _ in ()).throw(RuntimeError()))


@pytest.mark.lane
def test_ctrl_c_saves_a_training_that_then_goes_on(log: Path, tmp_path: Path) -> None:
    long = to_json(small_config()).replace('"updates": 30', '"updates": 100000', 1)
    (tmp_path / "long.json").write_text(long)
    given = ("train", log, "--out", tmp_path / "run", "--config", tmp_path / "long.json")
    code, text = interrupt(start(*given), tmp_path / "run" / "metrics.jsonl")
    assert code == 130 and "saved; the same command goes on" in text and "Traceback" not in text
    code, text = interrupt(start(*given), tmp_path / "run" / "metrics.jsonl")
    assert code == 130 and "going on after update" in text


# Places that cannot be written.


def test_out_is_a_file(log: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("precious")
    assert str(tmp_path / "run") in call("train", log, "--out", tmp_path / "run", code=1).said
    assert str(tmp_path / "run") in call("data", "show", log, "--out", tmp_path / "run", code=1).said
    assert (tmp_path / "run").read_text() == "precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_out_cannot_be_made(log: Path) -> None:
    for command in (
        ("train", log, "--out", "/proc/run"),
        ("data", "show", log, "--out", "/proc/pictures"),
        ("demo", "--out", "/proc/d"),
    ):
        text = call(*command, "--out", "/proc/new", code=1).said
        assert text.startswith("error: /proc/") and "choose another place" in text


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB, where we may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not mount or not umount:
        pytest.skip("no mount command")
    options = ["-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run([umount, "-l", str(folder)], check=True)


def test_a_full_disk_stops_training_with_one_line(small_disk: Path, log: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(to_json(small_config()))
    done = call("train", log, "--out", small_disk / "run", "--config", tmp_path / "mine.json", code=1)
    assert "No space left on device" in done.said and str(small_disk) in done.said
    assert not list(small_disk.rglob("*.tmp"))
    assert from_json(TrainConfig, (small_disk / "run" / "config.json").read_text()) == small_config()


def test_doctor_names_versions_and_extras_that_differ(tmp_path: Path) -> None:
    import torch

    own = torch.__version__.partition("+")[0]
    (tmp_path / "constraints.txt").write_text(f"torch=={own}\nnumpy==0.0.1\nno-such-package==1.0\n")
    (line,) = about_versions(tmp_path / "constraints.txt")
    assert line.startswith("numpy is ") and "tested was 0.0.1: pip install -c constraints.txt numpy==0.0.1" in line
    assert about_versions(None) == []
    assert {"ogbench", "pusht", "tensorboard", "dev"} <= set(missing_packages())


def test_a_goal_of_another_shape_or_sensor_is_one_clear_error(run: Path) -> None:
    import numpy as np

    from forethought.errors import UsageError
    from forethought.training.bundle import load_agent
    from forethought.types import ReachObservation

    agent = load_agent(run)
    with pytest.raises(UsageError, match=r"sensor 'image' has shape \(32, 32, 3\), expected \(64, 64, 3\); resize it"):
        agent.init(ReachObservation({"image": np.zeros((32, 32, 3), np.uint8)}))
    with pytest.raises(UsageError, match=r"lacks sensor 'image'; got \['camera'\]"):
        agent.init(ReachObservation({"camera": np.zeros((64, 64, 3), np.uint8)}))
