"""The command line: exit codes, one clear line for an error, data on stdout and talk on stderr."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import FORETHOUGHT, call


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["eval", "--help"], ["data", "--help"], ["--version"]])
def test_help_and_import_do_not_load_torch(arguments: list[str]) -> None:
    code = f"""
import sys
sys.argv = ['forethought', *{arguments!r}]
import forethought
assert 'torch' not in sys.modules
from forethought.cli.main import app
try:
    app()
except SystemExit:
    pass
assert 'torch' not in sys.modules and 'gymnasium' not in sys.modules, 'help is slow'
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_front_door_names_what_it_has() -> None:
    import forethought

    with pytest.raises(AttributeError, match="it has Guardrail, ReachObservation, ReachPredicate, TrainConfig, UsageError"):
        forethought.nonsense  # noqa: B018
    assert callable(forethought.plan)
    assert callable(forethought.train)


def test_check_and_show(log: Path, tmp_path: Path) -> None:
    record = json.loads(call("data", "check", log, "--json").stdout)
    assert record["findings"] == [] or all(f["severity"] != "error" for f in record["findings"])
    shown = json.loads(call("data", "show", log, "--out", tmp_path / "page.html", "--json").stdout)
    assert shown["findings"] == record["findings"] and shown["written"] == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_check_says_what_is_there_and_where_a_fault_is(tmp_path: Path) -> None:
    import h5py
    import numpy as np

    from forethought.data import write_log
    from forethought.types import DiscreteSpace, Episode, ExperienceSpec, Sensor, SensorKind

    spec = ExperienceSpec((Sensor("arm", SensorKind.VECTOR, (2,), "float32"),), DiscreteSpace(3), has_reward=False)
    rng = np.random.default_rng(0)
    one = [Episode(f"e{i}", {"arm": rng.normal(size=(21, 2)).astype("f4")}, rng.integers(0, 3, 20)) for i in range(40)]
    log = write_log(tmp_path / "arm.h5", one, spec)
    with h5py.File(log, "r+") as file:
        file["episodes/000004/observations/arm"][7] = np.nan
    done = call("data", "check", log, code=1)
    assert f"{log}: 40 episodes of 20 steps, 800 in all" in done.stdout
    assert "arm       vector 2, float32" in done.stdout and "actions   one of 3" in done.stdout
    assert f"error: not-finite: {log}, episode 'e4', row 7: 'arm' is NaN or infinite; leave the episode out" in done.stdout
    record = json.loads(call("data", "check", log, "--json", code=1).stdout)
    assert record["summary"]["episodes"] == 40 and record["findings"][0]["row"] == 7


def test_collect_from_any_gymnasium_id_and_from_two_room(tmp_path: Path) -> None:
    done = call("collect", "CartPole-v1", "--out", tmp_path / "pole.h5", "--episodes", 4, "--steps", 20, "--json")
    assert json.loads(done.stdout)["added"] == 4
    call("collect", "CartPole-v1", "--out", tmp_path / "pole.h5", "--episodes", 6, "--steps", 20)
    call("data", "check", tmp_path / "pole.h5")
    wander = ("collect", "forethought/TwoRoom-v1", "--policy", "scripted:wander", "--layout", "random", "--steps", 16)
    call(*wander, "--out", tmp_path / "room.h5", "--episodes", 3)
    assert "2 episodes added, 5 in all" in call(*wander, "--out", tmp_path / "room.h5", "--episodes", 5).stdout


@pytest.mark.lane
def test_a_killed_collect_goes_on_where_it_was(tmp_path: Path) -> None:
    from forethought.data import open_log

    command = [
        *FORETHOUGHT,
        "collect",
        "forethought/TwoRoom-v1",
        "--policy",
        "scripted:wander",
        "--steps",
        "32",
        "--episodes",
        "400",
    ]
    process = subprocess.Popen([*command, "--out", tmp_path / "a.h5"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "a.h5").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for name in ("a.h5", "b.h5"):
        subprocess.run([*command, "--out", tmp_path / name], check=True, capture_output=True, timeout=120)
    first, second = open_log(tmp_path / "a.h5"), open_log(tmp_path / "b.h5")
    assert len(first) == len(second) == 400
    for index in (0, 57, 399):
        one, two = first.episode(index), second.episode(index)
        assert one.id == two.id
        assert (one.observations["image"] == two.observations["image"]).all()
        assert (one.actions == two.actions).all()


@pytest.mark.lane
def test_doctor_and_bench_say_what_the_machine_can_do() -> None:
    facts = json.loads(call("doctor", "--json").stdout)
    assert facts["cores"] >= 1 and facts["matrix GFLOP/s, 1 thread"] > 0
    assert json.loads(call("bench", "--json").stdout)["two-room frames/s, 64 px"] > 0


def test_eval_prints_the_table_and_writes_the_report(run: Path) -> None:
    done = call("eval", run, "--task", "two-room-fixed-v1", "--n", 3, "--json")
    record = json.loads(done.stdout)
    assert set(record["success"]) >= {"plan", "habit", "latent", "random", "idle", "straight", "oracle"}
    assert Path(record["report"]).is_file()


def test_exit_codes_as_a_shell_sees_them(log: Path, tmp_path: Path) -> None:
    for arguments, code in ((("--version",), 0), (("data", "check", tmp_path / "no.h5"), 1), (("config", "no-such-recipe"), 2)):
        done = subprocess.run([*FORETHOUGHT, *map(str, arguments)], capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr
        assert bool(done.stdout) == (code == 0)
        assert "Traceback" not in done.stderr


ASKED_WRONGLY = [
    (["train", "{log}", "--out", "{tmp}/r", "--size", "xxl"], 2, "unknown size 'xxl'"),
    (["train", "{log}", "--out", "{tmp}/r", "--time", "soon"], 2, "expected a positive number"),
    (["train", "{log}", "--out", "{tmp}/r", "--time", "-5m"], 2, "expected a positive number"),
    (["train", "{log}", "--out", "{tmp}/r", "--frameskip", "0"], 2, "Invalid value"),
    (["train", "{log}", "--out", "{tmp}/r", "--frameskip", "99"], 1, "windows need"),
    (["train", "{tmp}/none.h5", "--out", "{tmp}/r"], 1, "does not exist"),
    (["train", "{tmp}", "--out", "{tmp}/r"], 1, "error:"),
    (["train", "{log}"], 2, "Missing option"),
    (["train", "{log}", "--out", "{tmp}/r", "--sise", "s"], 2, "No such option"),
    (["train", "{log}", "--out", "{run}"], 2, "another configuration"),
    (["eval", "{tmp}/none", "--task", "two-room-fixed-v1"], 1, "no run here"),
    (["eval", "{run}", "--task", "two-room"], 2, "unknown task 'two-room'"),
    (["eval", "{run}", "--task", "two-room-fixed-v1", "--n", "0"], 2, "Invalid value"),
    (["eval", "{run}"], 2, "Missing option"),
    (["collect", "NoSuchEnv-v0", "--out", "{tmp}/x.h5"], 2, "cannot make 'NoSuchEnv-v0'"),
    (["collect", "CartPole-v1", "--out", "{tmp}/x.h5", "--policy", "clever"], 2, "unknown policy"),
    (["collect", "forethought/TwoRoom-v1", "--out", "{tmp}/x.h5", "--policy", "clever"], 2, "unknown policy"),
    (["collect", "forethought/TwoRoom-v1", "--out", "{tmp}/x.h5", "--layout", "square"], 2, "unknown layout"),
    (["collect", "CartPole-v1", "--out", "{tmp}/x.h5", "--episodes", "-1"], 2, "Invalid value"),
    (["collect", "CartPole-v1", "--out", "{tmp}/no/folder/x.h5"], 1, "folder does not exist"),
    (["data", "check", "{tmp}/none.h5"], 1, "does not exist"),
    (["data", "check", "{tmp}"], 1, "error:"),
    (["data", "chek", "{log}"], 2, "No such command"),
    (["nonsense"], 2, "No such command"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "said"), ASKED_WRONGLY, ids=lambda value: " ".join(value) if isinstance(value, list) else None
)
def test_what_is_asked_wrongly_is_one_clear_line(
    arguments: list[str], code: int, said: str, log: Path, run: Path, tmp_path: Path
) -> None:
    filled = [a.format(log=log, run=run, tmp=tmp_path) for a in arguments]
    done = call(*filled, code=code)
    assert said in done.said
    assert done.stdout == ""
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[1]", "expected an object"),
        ('{"sede": 1}', "Did you mean 'seed'"),
        ('{"seed": "one"}', "expected int"),
        ('{"seed": true}', "expected int"),
        ('{"encoder": {"width": 1.5}}', "expected int"),
        ('{"predict": {"inverse": "much"}}', "expected float"),
        ('{"predict": 3}', "expected an object"),
    ],
)
def test_a_damaged_config_names_the_field(run: Path, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.json").write_text(text)
    done = call("eval", tmp_path, "--task", "two-room-fixed-v1", code=2)
    assert said in done.said


def test_scripted_behaviours_are_named(tmp_path: Path) -> None:
    unknown = call("collect", "forethought/TwoRoom-v1", "--policy", "scripted:wonder", "--out", tmp_path / "a.h5", code=2)
    assert "Did you mean 'wander'" in unknown.stderr
    assert (
        "scripted" in call("collect", "CartPole-v1", "--policy", "scripted:wander", "--out", tmp_path / "b.h5", code=2).stderr
    )
