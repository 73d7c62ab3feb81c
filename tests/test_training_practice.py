"""Practice in imagination: in a world of exact dynamics a habit that knew nothing learns to reach what the log reached."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_config
from torch import Tensor

from forethought.dynamics.base import Dynamics
from forethought.dynamics.momentum import MomentumMLP
from forethought.habits.policy import Habit
from forethought.training.bundle import load_parts
from forethought.training.config import PracticeConfig
from forethought.training.dynamics import remembered
from forethought.training.latents import Latents
from forethought.training.practice import PracticeStage
from forethought.training.schedule import Schedule
from forethought.training.train import train
from forethought.types import BoxSpace


class Drift(Dynamics):
    """A point that moves by 0.3 x action; what it did before goes on by half."""

    latent_size, action_size, memory_size = 2, 2, 2

    def initial_memory(self, z_BD: Tensor) -> Tensor:
        return torch.zeros_like(z_BD)

    def update(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor, next_z_BD: Tensor) -> Tensor:
        return action_BA

    def step(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor) -> tuple[Tensor, Tensor]:
        return z_BD + 0.3 * action_BA + 0.15 * memory_BM, action_BA


def wandering(episodes: int = 40, steps: int = 20) -> Latents:
    """Random walks, rows end to end."""
    generator = torch.Generator().manual_seed(0)
    action = torch.rand(episodes, steps + 1, 2, generator=generator) * 2 - 1
    action[:, -1] = 0
    moved = 0.3 * action[:, :-1] + 0.15 * torch.cat([torch.zeros(episodes, 1, 2), action[:, :-2]], 1)
    z = torch.cat([torch.zeros(episodes, 1, 2), moved.cumsum(1)], 1)
    starts = np.arange(episodes) * (steps + 1)
    return Latents(z.flatten(0, 1), action.flatten(0, 1), starts, np.full(episodes, steps), 1, 0)


def test_a_habit_that_practises_reaches_what_the_log_reached() -> None:
    torch.manual_seed(0)
    schedule = Schedule(updates=150, learning_rate=3e-3)
    settings = PracticeConfig(schedule=schedule, batch_size=64, horizon=6, far=6)
    habit, latents = Habit(2, 0, BoxSpace((-1.0, -1.0), (1.0, 1.0)), 1, 32, 2), wandering()
    stage = PracticeStage(latents, Drift(), habit, small_config(), settings)
    optimizer = torch.optim.Adam(stage.trained(), 3e-3)
    ends = []
    for update in range(150):
        loss, metrics = stage.loss(update)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ends.append(metrics["end"].item())
    assert ends[0] > 0.3 and np.mean(ends[-20:]) < 0.08
    assert torch.equal(stage.loss(7)[0], stage.loss(7)[0])  # a batch is a function of (seed, update): it resumes


def test_what_is_remembered_is_the_block_before_and_nothing_at_an_episodes_start() -> None:
    latents = wandering(2, 5)
    dynamics = MomentumMLP(2, 0, 2, 8, 1)
    rows = np.array([0, 3, 6, 7])  # 6 begins the second episode
    memory = remembered(dynamics, latents, rows, latents.z_ND[torch.from_numpy(rows)])
    assert torch.equal(memory, torch.stack([torch.zeros(2), latents.action_NA[2], torch.zeros(2), latents.action_NA[6]]))


@pytest.mark.lane
def test_a_run_that_practises_is_loaded_with_the_practised_habit(log: Path, tmp_path: Path) -> None:
    base = small_config()
    quick = replace(base.heads.schedule, updates=5)
    parts = {}
    practice = PracticeConfig(schedule=quick, batch_size=16, horizon=2, far=2)
    for name, config in (("without", base), ("with", replace(base, practice=practice))):
        parts[name] = load_parts(train(log, tmp_path / name, config).path)[2]
    before, after = (parts[name].habit.net[0].weight for name in ("without", "with"))
    assert not torch.equal(before, after)
    assert torch.equal(*(next(parts[name].model.dynamics.parameters()) for name in ("without", "with")))
