"""Shared by the tests: one thread, and a small real log and run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


def small_config(seed: int = 0):
    from forethought.agent.agent import AgentConfig
    from forethought.dynamics.build import Architecture
    from forethought.perception.build import EncoderConfig
    from forethought.planning.loop import SearchConfig
    from forethought.training.config import DecoderConfig, DynamicsConfig, HeadsConfig, PredictConfig, ProbeConfig, TrainConfig
    from forethought.training.schedule import Schedule

    quick = Schedule(updates=30, learning_rate=1e-3, log_every=10, checkpoint_seconds=0.0)
    return TrainConfig(
        seed=seed,
        threads=1,
        encoder=EncoderConfig(width=16, features=64, scene_size=4, state_size=8),
        predict=PredictConfig(schedule=quick, episodes=8, windows=2),
        dynamics=DynamicsConfig(schedule=quick, batch_size=64, architecture=Architecture(width=32, depth=2)),
        heads=HeadsConfig(schedule=replace(quick), batch_size=128, scenes=4, nodes=32, width=32, depth=2),
        probe=ProbeConfig(schedule=quick, batch_size=64, width=32),
        decoder=DecoderConfig(schedule=quick, batch_size=32, width=32),
        agent=AgentConfig(search=SearchConfig(num_samples=16, iterations=2, horizon=3)),
    )


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from forethought.data import write_log
    from forethought.envs.two_room import log_spec, record

    return write_log(tmp_path_factory.mktemp("log") / "log.h5", record(40, 24, 0, random=True), log_spec())


@pytest.fixture(scope="session")
def run(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from forethought.training.train import train

    return train(log, tmp_path_factory.mktemp("run") / "run", small_config()).path
