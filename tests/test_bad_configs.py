"""Broken configurations and damaged run folders: each gives one error that says where and what to do; nothing is changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import small_config

from forethought.config import checked, from_json, read_json, to_json
from forethought.errors import ConfigError, DataError, ForethoughtError, RunError, UsageError
from forethought.training.bundle import load_agent
from forethought.training.config import TrainConfig
from forethought.training.recipes import pusht_pixels, two_room_fixed, two_room_random
from forethought.training.train import train

FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"sede": 1}, "TrainConfig: unknown field 'sede'"),
    "a hint for it": ({"sede": 1}, "Did you mean 'seed'?"),
    "unknown field inside": ({"predict.shedule": {}}, "TrainConfig.predict: unknown field 'shedule'"),
    "text for a number": ({"seed": "one"}, "TrainConfig.seed: got 'one' (str), expected int"),
    "truth for a number": ({"seed": True}, "got True (bool), expected int"),
    "fraction for a count": ({"encoder.width": 1.5}, "TrainConfig.encoder.width: got 1.5 (float), expected int"),
    "text for a weight": ({"predict.inverse": "much"}, "got 'much' (str), expected float"),
    "number for a group": ({"predict": 3}, "TrainConfig.predict: got int, expected an object"),
    "list for a group": ({"agent.search": []}, "TrainConfig.agent.search: got list, expected an object"),
    "null for a count": ({"frameskip": None}, "TrainConfig.frameskip: got None"),
    "frameskip 0": ({"frameskip": 0}, "TrainConfig.frameskip: got 0, expected a number of at least 1"),
    "negative seed": ({"seed": -1}, "got -1, expected a number of at least 0"),
    "negative threads": ({"threads": -2}, "got -2"),
    "zero width": ({"encoder.width": 0}, "TrainConfig.encoder.width: got 0"),
    "zero state": ({"encoder.state_size": 0}, "TrainConfig.encoder.state_size: got 0"),
    "negative scene": ({"encoder.scene_size": -4}, "expected a number of at least 0"),
    "zero batch": ({"dynamics.batch_size": 0}, "TrainConfig.dynamics.batch_size: got 0"),
    "zero depth": ({"heads.depth": 0}, "TrainConfig.heads.depth: got 0"),
    "one frame": ({"predict.num_frames": 1}, "expected a number of at least 2"),
    "one window": ({"predict.windows": 1}, "expected a number of at least 2"),
    "share above one": ({"dynamics.surprising": 1.5}, "at least 0 and at most 1"),
    "negative weight": ({"predict.prediction": -1.0}, "TrainConfig.predict.prediction: got -1.0"),
    "NaN": ({"predict.still": float("nan")}, "TrainConfig.predict.still: got nan, expected a number of at least 0"),
    "infinity": ({"heads.limit": float("inf")}, "TrainConfig.heads.limit: got inf, expected a number of more than 0"),
    "learning rate 0": ({"heads.schedule.learning_rate": 0.0}, "heads.schedule.learning_rate: got 0.0"),
    "no updates": ({"predict.schedule.updates": 0}, "predict.schedule.updates: got 0"),
    "negative seconds": ({"predict.schedule.seconds": -3.0}, "got -3.0, expected a number of more than 0"),
    "decay of three": ({"dynamics.schedule.decay": 3.0}, "got 3.0"),
    "unknown encoder": ({"encoder.image": "patch"}, "unknown image encoder 'patch'; known: conv, patches, vit. Did you mean"),
    "unknown mode": ({"agent.mode": "plam"}, "Did you mean 'plan'?"),
    "unknown cost": ({"agent.cost": "latents"}, "Did you mean 'latent'?"),
    "unknown planner": ({"agent.method": "cemm"}, "Did you mean 'cem'?"),
    "no samples": ({"agent.search.num_samples": 0}, "TrainConfig.agent.search.num_samples: got 0"),
    "deadline 0": ({"agent.search.deadline_seconds": 0.0}, "more than 0"),
    "version of the future": ({"version": 99}, "got version 99, this program reads 1 to 1; install"),
}


def changed(changes: dict[str, Any]) -> str:
    data = json.loads(to_json(small_config()))
    for place, value in changes.items():
        *path, last = place.split(".")
        group = data
        for name in path:
            group = group[name]
        group[last] = value
    return json.dumps(data)


@pytest.mark.parametrize("name", FIELDS)
def test_a_broken_config_names_file_field_value_and_what_fits(tmp_path: Path, name: str) -> None:
    changes, words = FIELDS[name]
    path = tmp_path / "config.json"
    path.write_text(changed(changes))
    with pytest.raises(ConfigError) as caught:
        read_json(TrainConfig, path)
    assert str(path) in str(caught.value) and words in str(caught.value)
    assert len(str(caught.value)) < 600 and caught.value.exit_code == 2


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda path: path.write_text(""), "not JSON (line 1, column 1"),
    "cut": (lambda path: path.write_text(to_json(small_config())[:200]), "not JSON"),
    "a list": (lambda path: path.write_text("[1]"), "expected an object with fields"),
    "not text": (lambda path: path.write_bytes(b"\xff\xfe\x00\x80"), "cannot be read"),
    "a directory": (lambda path: path.mkdir(), "cannot be read (Is a directory)"),
    "missing": (lambda path: None, "cannot be read (No such file or directory)"),
    "a field missing": (lambda path: path.write_text('{"predict": {"schedule": {}}}'), "learning_rate"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_config(tmp_path: Path, name: str) -> None:
    make, words = FILES[name]
    make(tmp_path / "config.json")
    with pytest.raises(ConfigError) as caught:
        read_json(TrainConfig, tmp_path / "config.json")
    assert words in str(caught.value) and str(tmp_path / "config.json") in str(caught.value)


def test_good_configs_pass_unchanged() -> None:
    for config in (TrainConfig(), small_config(), two_room_fixed(3), two_room_random(), pusht_pixels(1)):
        assert checked(config) == config == from_json(TrainConfig, to_json(config))


def test_a_broken_config_stops_training_before_anything_is_written(log: Path, tmp_path: Path) -> None:
    broken = replace(small_config(), frameskip=0)
    with pytest.raises(ConfigError, match=r"TrainConfig\.frameskip: got 0"):
        train(log, tmp_path / "run", broken)
    assert list(tmp_path.iterdir()) == []


# Run folders: a whole one, then one thing wrong with it.


def _swap(name: str, other: str) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes((run / other).read_bytes()) and None


def _cut(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes((run / name).read_bytes()[:100]) and None


def _edit(name: str, before: str, after: str) -> Callable[[Path], None]:
    def edit(run: Path) -> None:
        text = (run / name).read_text()
        assert before in text
        (run / name).write_text(text.replace(before, after))

    return edit


def _directory(name: str) -> Callable[[Path], None]:
    def replace_it(run: Path) -> None:
        (run / name).unlink()
        (run / name).mkdir()

    return replace_it


def _state_spec(run: Path) -> None:
    """The spec of quite another log."""
    sensors = [{"name": "state", "kind": "vector", "shape": [3], "dtype": "float32"}]
    spec = json.loads((run / "spec.json").read_text()) | {"sensors": sensors}
    (run / "spec.json").write_text(json.dumps(spec))


RUNS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "weights cut": (_cut("heads.safetensors"), "heads.safetensors: damaged"),
    "weights of another stage": (_swap("dynamics.safetensors", "heads.safetensors"), "does not fit this configuration"),
    "weights are a directory": (_directory("predict.safetensors"), "no such file"),
    "config missing": (lambda run: (run / "config.json").unlink(), "no run here (no config.json)"),
    "config cut": (_cut("config.json"), "not JSON"),
    "config of other widths": (_edit("config.json", '"features": 64', '"features": 32'), "does not fit this configuration"),
    "config of the future": (_edit("config.json", '"version": 1', '"version": 7'), "got version 7"),
    "spec missing": (lambda run: (run / "spec.json").unlink(), "spec.json: no such file"),
    "spec cut": (_cut("spec.json"), "the spec cannot be read"),
    "spec of another log": (_state_spec, "does not fit this configuration"),
    "spec of bigger actions": (_edit("spec.json", "-1.0,", "-1.0, -1.0,"), "3 low and 2 high"),
    "calibration missing": (lambda run: (run / "calibration.json").unlink(), "calibration.json: no such file"),
    "folder missing": (shutil.rmtree, "no run here"),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_damaged_run_is_one_clear_error(run: Path, tmp_path: Path, name: str) -> None:
    damage, words = RUNS[name]
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    damage(copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(ForethoughtError) as caught:
        load_agent(copy)
    assert isinstance(caught.value, (RunError, ConfigError, DataError, UsageError))
    text = " ".join(str(caught.value).split())
    assert words in text and str(copy) in text
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
