"""A scene half is for scenes that differ: found in the log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import small_config

from forethought.data import open_log, write_log
from forethought.data.dataset import Dataset
from forethought.data.scenery import scenery_differs
from forethought.envs import ogbench, two_room
from forethought.training.bundle import load_parts
from forethought.training.train import train
from forethought.types import BoxSpace, Episode, ExperienceSpec, Sensor, SensorKind


def dataset(path: Path, episodes: list[Episode], spec: ExperienceSpec) -> Dataset:
    return Dataset.load(open_log(write_log(path, episodes, spec)))


@pytest.mark.parametrize("random", [False, True])
def test_rooms_differ_only_if_their_walls_do(random: bool, tmp_path: Path) -> None:
    episodes = list(two_room.record(60, 40, 0, random=random))
    assert scenery_differs(dataset(tmp_path / "log.h5", episodes, two_room.log_spec())) is random


def test_a_position_in_one_maze_is_no_scenery(tmp_path: Path) -> None:
    episodes = list(ogbench.record("medium", 0, 12, 150, 0))
    assert not scenery_differs(dataset(tmp_path / "log.h5", episodes, ogbench.log_spec()))


@pytest.mark.parametrize(("constants", "differs"), [("own", True), ("same", False)])
def test_a_number_that_each_episode_has_for_itself_is_scenery(constants: str, differs: bool, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    spec = ExperienceSpec((Sensor("state", SensorKind.VECTOR, (2,), "float32"),), BoxSpace((-1.0,), (1.0,)))

    def episode(index: int) -> Episode:
        constant = generator.normal() if constants == "own" else 3.0
        state = np.column_stack([generator.normal(size=21), np.full(21, constant)]).astype(np.float32)
        return Episode(f"e{index}", {"state": state}, generator.uniform(-1, 1, (20, 1)).astype(np.float32))

    assert scenery_differs(dataset(tmp_path / "log.h5", [episode(i) for i in range(20)], spec)) is differs


@pytest.mark.lane
def test_training_keeps_no_scene_half_for_one_scene(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.h5", two_room.record(30, 24, 0, random=False), two_room.log_spec())
    run = train(log, tmp_path / "run", small_config())
    _, config, parts = load_parts(run.path)
    assert config.encoder.scene_size == 0 and parts.model.encoder.latent_size == small_config().encoder.state_size
    assert train(log, tmp_path / "run", small_config()).path == run.path  # asked again the same, it is the same run
