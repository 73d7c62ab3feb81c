"""The critic that is a map: right round a wall, zero at the goal, and aware of its edge; analytic, in a plane."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_config
from torch import Tensor

from forethought.arena.evaluate import evaluate
from forethought.arena.report.page import write_report
from forethought.costs.build import CriticKind
from forethought.costs.landmarks import LandmarkDistance
from forethought.data import write_log
from forethought.dynamics.base import Dynamics
from forethought.envs.ogbench import log_spec, record
from forethought.errors import ConfigError
from forethought.habits.policy import Habit
from forethought.training.alike import spread
from forethought.training.graphs import UNREACHED
from forethought.training.landmarks import draw_map, graph_of_log, landmark_graph
from forethought.training.latents import Latents
from forethought.training.learners.build import learned_heads
from forethought.training.learners.stage import LearnedHeads
from forethought.training.train import train
from forethought.types import BoxSpace

SPACE = BoxSpace((-1.0, -1.0), (1.0, 1.0))


class Plane(Dynamics):
    """A unit square; a block moves 0.1. A wall stands at 0.4 < x < 0.6 up to y = 0.8, and is not entered."""

    memory_size, latent_size, scene_size, action_size = 0, 2, 0, 2

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def initial_memory(self, z_BD: Tensor) -> Tensor:
        return z_BD[..., :0]

    def update(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor, next_z_BD: Tensor) -> Tensor:
        return memory_BM

    def step(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor) -> tuple[Tensor, Tensor]:
        after = (z_BD + 0.1 * action_BA).clamp(0, 1)
        inside = ((after[..., :1] - 0.5).abs() < 0.1) & (after[..., 1:] < 0.8)
        return torch.where(inside, z_BD, after), memory_BM


def plane_log(rows: int = 4000) -> Latents:
    generator = np.random.default_rng(0)
    z = generator.uniform(0, 1, (rows, 2)).astype(np.float32)
    inside = (z[:, 1] < 0.8) & (np.abs(z[:, 0] - 0.5) < 0.1)
    z[:, 0] += np.where(inside, np.sign(z[:, 0] - 0.5) * 0.1, 0)
    starts, lengths = np.arange(0, rows, 40), np.full(rows // 40, 39)
    return Latents(torch.from_numpy(z), torch.zeros(rows, 2), starts, lengths, 1, 0)


@pytest.fixture(scope="module")
def drawn() -> tuple[LandmarkDistance, LearnedHeads]:
    config = small_config()
    config = replace(config, heads=replace(config.heads, critic=CriticKind.MAP, landmarks=300, batch_size=256))
    torch.manual_seed(0)
    latents, dynamics, habit = plane_log(), Plane(), Habit(2, 0, SPACE, 1, 64, 2)
    critic = LandmarkDistance(2, 300)
    return critic, learned_heads(latents, graph_of_log(latents, dynamics, SPACE, config), dynamics, critic, habit, config)


def test_landmarks_are_spread() -> None:
    pool = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0))
    chosen, drawn = pool[spread(pool[None], 60)[0]], pool[:60]
    assert len(chosen.unique(dim=0)) == 60
    assert torch.cdist(pool, chosen).min(-1).values.max() < 0.6 * torch.cdist(pool, drawn).min(-1).values.max()


def test_distances_go_round_the_wall_and_none_live_off_snapping(drawn: tuple[LandmarkDistance, LearnedHeads]) -> None:
    critic, _ = drawn
    d = critic.distance_NN
    state = critic.landmark_NE
    assert (d >= (state[:, None] - state[None]).abs().amax(-1) / 0.1 - 1e-4).all()  # a diagonal block moves 0.1 on both axes
    assert torch.equal(d.diagonal(), torch.zeros(300))
    here, there = torch.tensor([[0.3, 0.2]]), torch.tensor([[0.7, 0.2]])
    assert (
        11.5 < float(critic(here, there)) < 16
    )  # up to 0.8 and down again: 6 + 6 blocks and what corners cost; as the crow flies 4
    assert 2.5 < float(critic(here, torch.tensor([[0.3, 0.5]]))) < 4.2


def test_it_is_zero_at_the_goal_and_the_same_for_one_goal_or_many(drawn: tuple[LandmarkDistance, LearnedHeads]) -> None:
    critic, _ = drawn
    z, goal = torch.rand(50, 2), torch.rand(1, 2).expand(50, 2)
    assert float(critic(goal[:1], goal[:1])) == 0.0
    one_by_one = torch.cat([critic(z[i : i + 1], goal[:1]) for i in range(50)])
    assert torch.allclose(critic(z, goal), one_by_one, atol=1e-5)
    mixed = torch.cat([goal[:49], torch.rand(1, 2)])
    assert torch.allclose(critic(z, mixed)[:49], one_by_one[:49], atol=1e-5)


def test_beyond_what_was_seen_the_way_is_very_long(drawn: tuple[LandmarkDistance, LearnedHeads]) -> None:
    critic, _ = drawn
    goal = torch.tensor([[0.2, 0.2]])
    seen, off = critic(torch.tensor([[0.3, 0.2]]), goal), critic(torch.tensor([[-0.4, 0.2]]), goal)
    assert float(seen) < 3 and float(off) > 1000
    assert float(critic(torch.tensor([[-0.35, 0.2]]), torch.tensor([[-0.4, 0.2]]))) < 20  # unless the goal lies there itself


def test_where_no_way_is_known_it_is_long_but_finite() -> None:
    states = torch.cat([torch.rand(40, 2) * 0.3, torch.rand(40, 2) * 0.3 + 5])
    actions = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    graph, critic = landmark_graph(Plane(), states, actions, 2), LandmarkDistance(2, 80)
    assert (graph.distance_GNN[0, :40, 40:] >= UNREACHED).all()
    draw_map(critic, graph, Plane(), actions, states)
    known = graph.distance_GNN[graph.distance_GNN < UNREACHED].max()
    assert critic.distance_NN.max() == 2 * known


def test_the_habit_learns_the_way_round(drawn: tuple[LandmarkDistance, LearnedHeads]) -> None:
    _, stage = drawn
    optimizer = torch.optim.Adam(stage.trained(), lr=5e-3)
    for update in range(150):
        loss, _ = stage.loss(update)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        action = stage.habit(torch.tensor([[0.3, 0.3], [0.2, 0.9]]), torch.tensor([[0.7, 0.3], [0.8, 0.9]]))
    assert action[0, 1] > 0.4 and action[1, 0] > 0.4  # up, to come round; and straight on above the wall


def test_a_map_of_many_scenes_is_refused() -> None:
    config = small_config()
    config = replace(config, heads=replace(config.heads, critic=CriticKind.MAP, landmarks=10))
    latents = replace(plane_log(80), scene_size=1)
    with pytest.raises(ConfigError, match=r"encoder\.scene_size is 1; set it to 0"):
        graph_of_log(latents, Plane(), SPACE, config)


@pytest.mark.lane
def test_from_the_packages_maze_to_figures(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.h5", record("medium", 0, 40, 300, 0), log_spec())
    small = small_config()
    config = replace(
        small, frameskip=5, encoder=replace(small.encoder, scene_size=0),
        heads=replace(small.heads, critic=CriticKind.MAP, landmarks=100),
        agent=replace(small.agent, hold_noise=True),
    )  # fmt: skip
    run = train(log, tmp_path / "run", config)
    found = evaluate(run.path, "ogbench-pointmaze-medium-v1", count=2, modes=("plan",))
    assert [o.legal for o in found.agent.outcomes] == [True, True]
    assert {r.agent for r in found.results} == {"plan", "random", "idle", "straight", "oracle"}
    page = write_report(run.path, "ogbench-pointmaze-medium-v1", found).read_text()
    assert "How far is it?" in page and "places, cost" in page and page.count("data:image/png") > 6
