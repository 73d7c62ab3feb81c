"""The success benchmark: from nothing to proof, on a recipe too small to learn anything."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from conftest import small_config

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def success(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.success")


def test_a_part_that_goes_on_adds_to_its_cost(success, tmp_path: Path) -> None:
    for _ in range(2):
        with success.metered(tmp_path, "train"):
            sum(range(200_000))
    first = success.read_costs(tmp_path)["train"]["cpu_seconds"]
    with pytest.raises(KeyError), success.metered(tmp_path, "train"):
        raise KeyError
    assert success.read_costs(tmp_path)["train"]["cpu_seconds"] >= first > 0


@pytest.mark.lane
def test_two_seeds_from_nothing_and_finished_seeds_are_kept(success, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = success.Setting("forethought/TwoRoom-v1", "wander", 30, 24, small_config)
    monkeypatch.setitem(success.SETTINGS, "two-room-fixed-v1", setting)
    folders = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "scores")]
    options = ["two-room-fixed-v1", "--n", "3", "--modes", "habit", *folders]
    success.main([*options, "--seeds", "4"])
    trained = tmp_path / "work/two-room-fixed-v1/seed-4/run/heads.safetensors"
    before = trained.stat().st_mtime_ns
    success.main([*options, "--seeds", "4", "5"])
    assert trained.stat().st_mtime_ns == before
    summary = json.loads((tmp_path / "scores/two-room-fixed-v1.json").read_text())
    assert summary["seeds"] == [4, 5] and summary["log"]["steps"] == 30 * 24
    assert len(summary["training_cpu_seconds"]) == 2 and min(summary["training_cpu_seconds"]) > 0
    one = json.loads((tmp_path / "scores/two-room-fixed-v1/seed-5.json").read_text())
    habit = summary["agents"]["habit"]
    assert habit["n"] == 6 and one["results"][0]["n"] == 3 and habit["by_seed"][1] == one["results"][0]["success"]["share"]
    assert summary["agents"]["oracle"]["success"]["share"] == 1.0
