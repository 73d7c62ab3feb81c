"""README.md, your-own-log.md and the formats of data.md, walked through as a reader would, with a shorter training."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import call
from conftest import small_config
from walk_logs import COUNT, make

import forethought
from forethought.cli.config import Asked, resolve
from forethought.config import to_json
from forethought.data import write_log
from forethought.data.formats import detect_format, formats
from forethought.envs.two_room import log_spec, record

ROOT = Path(__file__).parent.parent
IN_PYTHON = "ft.timed(ft.TrainConfig(), seconds=300, fit_model=True)"
SHORTER = {
    "--time 5m": "--config small.json",
    IN_PYTHON: "small_config()",
    "--episodes 600 --steps 64": "--episodes 40 --steps 24",
    "--episodes 20": "--episodes 2",
    "--n 300": "--n 3",
    "-v1 --episodes 40": "-v1 --episodes 1 --calibrate 2 --shifts camera,gain",
    "--n 200": "--n 20 --patrols 2",
}


def walk(page: Path, names: dict[str, Any]) -> list[str]:
    """Run the page's bash and Python blocks in order; returns the commands that ran."""
    text, commands = page.read_text(encoding="utf-8"), []
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    for language, block in re.findall(r"```(bash|python)\n(.*?)```", text, re.DOTALL):
        if language == "python":
            exec(compile(block, str(page), "exec"), names)
            continue
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "forethought", line
            call(*words[1:])
            commands.append(" ".join(words[1:3]))
    return commands


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.json").write_text(to_json(small_config()))


@pytest.mark.lane
def test_the_readme_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"small_config": small_config}
    commands = walk(ROOT / "README.md", names)
    assert len(commands) == 5 and {"data check", "train rooms.h5", "eval runs/rooms"} <= set(commands)
    assert names["decision"].action.shape == (2,)
    assert "plan searched" in capsys.readouterr().out
    assert (tmp_path / "runs" / "rooms" / "report.html").is_file()
    python = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in "".join(python).splitlines() if line.strip()]) == 6


def test_the_readme_configures_the_same_run_in_python_as_on_the_command_line() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert IN_PYTHON in text and "--time 5m" in text
    assert eval(IN_PYTHON, {"ft": forethought}) == resolve(Asked(time="5m"))


def test_your_own_log_runs(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    commands = walk(ROOT / "docs" / "your-own-log.md", names)
    assert "train mine.h5" in commands
    assert len(names["ft"].open_log("from-npz.h5")) == 2
    assert names["decision"].action.shape == (1,)
    assert "Where it has been" in (tmp_path / "mine.html").read_text()


DATA = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
LOGS = re.findall(r"^\| `([^`]+)` \| `([\w-]+)` \|", DATA, re.MULTILINE)


def test_the_data_page_names_every_format() -> None:
    assert sorted(format for _, format in LOGS) == sorted(format.name for format in formats())


@pytest.mark.lane
@pytest.mark.parametrize(("name", "format"), LOGS, ids=[format for _, format in LOGS])
def test_from_ls_to_training_in_two_commands(tmp_path: Path, name: str, format: str) -> None:
    listed, check, train = (
        re.findall(r"```bash\n(.*?)```", DATA, re.DOTALL)[0].replace("logs/arm.h5", f"logs/{name}").splitlines()
    )
    make(format, tmp_path / "logs" / name)
    assert listed == "ls logs/" and name.split("/")[0] in {entry.name for entry in (tmp_path / "logs").iterdir()}
    assert detect_format(Path("logs") / name).name == format
    assert f"logs/{name}: {COUNT} episodes" in call(*shlex.split(check)[1:]).stdout
    call(*shlex.split(train)[1:], "--config", "small.json")
    assert list((tmp_path / "runs" / "arm").glob("*.safetensors"))


@pytest.mark.parametrize("name", ["report.md", "goals.md"])
def test_pages_about_a_finished_run_run(name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, tmp_path / "runs" / "demo" / "run-0")
    walk(ROOT / "docs" / name, {})
    told = capsys.readouterr().out
    assert "position[0]" in told
    assert ("got '=' at character 12" in told) is (name == "goals.md")


@pytest.mark.lane
def test_the_page_about_surprise_runs(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, tmp_path / "runs" / "rooms")
    write_log(tmp_path / "rooms.h5", record(1, 20, 7, random=False), log_spec())
    assert walk(ROOT / "docs" / "surprise.md", {}) == ["surprise runs/rooms", "trust runs/rooms", "probe runs/rooms"]
    told = capsys.readouterr().out
    assert re.search(r"[1-9][\d.]* the camera 'image' ", told), told
    assert "held-out stretches promise at most" in told  # a run of so few episodes cannot be that sure


@pytest.mark.lane
def test_the_page_about_learning_runs(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, tmp_path / "runs" / "rooms")
    write_log(tmp_path / "rooms.h5", record(1, 20, 7, random=False), log_spec())
    assert walk(ROOT / "docs" / "learning.md", {}) == ["agent learn", "agent history", "agent rollback"]
    assert "False 20 moves" in capsys.readouterr().out
