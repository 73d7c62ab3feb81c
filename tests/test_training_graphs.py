"""Imagined graphs where the truth is known: Two-Room's own physics as the dynamics, positions as states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from forethought.dynamics.base import Dynamics
from forethought.envs.two_room import Layout, inside_wall, move, random_layout, random_position, shortest_action, wander
from forethought.training.alike import episode_scenes, settle, spread, states_alike
from forethought.training.graphs import UNREACHED, edge_length, imagine_graph
from forethought.training.latents import Latents
from forethought.types import BoxSpace, DiscreteSpace

SCENES = 4


class Physics(Dynamics):
    """Scene: wall x and door y. State: the position. Exact, but for a hair's breadth off the wall that float32 needs."""

    latent_size, action_size, memory_size = 4, 2, 0

    def initial_memory(self, z_BD: Tensor) -> Tensor:
        return z_BD[:, :0]

    def update(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor, next_z_BD: Tensor) -> Tensor:
        return memory_BM

    def step(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor) -> tuple[Tensor, Tensor]:
        layout = Layout(*z_BD[:, :2].double().numpy().T)
        moved = move(layout, z_BD[:, 2:].double().numpy(), action_BA.double().numpy())
        aside = np.sign(moved[:, 0] - layout.wall_x_N) * (np.abs(np.abs(moved[:, 0] - layout.wall_x_N) - 0.045) < 1e-5) * 1e-4
        moved[:, 0] += aside
        return torch.cat([z_BD[:, :2], torch.from_numpy(moved).float()], -1), memory_BM


@pytest.fixture(scope="module")
def world() -> tuple[Layout, Tensor, Tensor]:
    """Layouts, scenes (G, 2), and candidate actions."""
    layout = random_layout([np.random.default_rng([1, i]) for i in range(SCENES)])
    scene = torch.from_numpy(np.stack([layout.wall_x_N, layout.door_y_N], 1)).float()
    angle = torch.arange(12) * torch.pi / 6
    return layout, scene, (1.4 * torch.stack([angle.cos(), angle.sin()], -1)).clamp(-1, 1)


def nodes(layout: Layout, count: int) -> Tensor:
    every = Layout(np.repeat(layout.wall_x_N, count), np.repeat(layout.door_y_N, count))
    streams = [np.random.default_rng([2, i]) for i in range(SCENES * count)]
    return torch.from_numpy(random_position(every, streams)).float().view(SCENES, count, 2)


def wanderings(episodes: int, steps: int) -> Latents:
    """A log of one random layout an episode, with the true latents."""
    streams = [np.random.default_rng([3, i]) for i in range(episodes)]
    layout = random_layout(streams)
    where, heading = random_position(layout, streams), np.zeros((episodes, 2))
    path = [where]
    for _ in range(steps):
        action, heading = wander(streams, heading)
        where = move(layout, where, action)
        path.append(where)
    scene = np.repeat(np.stack([layout.wall_x_N, layout.door_y_N], 1)[:, None], steps + 1, 1)
    z = torch.from_numpy(np.concatenate([scene, np.stack(path, 1)], -1)).float().flatten(0, 1)
    starts = np.arange(episodes) * (steps + 1)
    return Latents(z, torch.zeros(len(z), 2), starts, np.full(episodes, steps), 1, 2)


def test_states_alike_fill_both_rooms_and_stay_out_of_the_wall() -> None:
    log = wanderings(1500, 64)
    scenes, chosen = episode_scenes(log), torch.arange(8)
    found = states_alike(log, scenes, chosen, 200, torch.Generator().manual_seed(2))
    assert torch.equal(settle(Physics(), scenes[chosen], found, DiscreteSpace(2)), found)
    for (wall, door), state in zip(scenes[chosen].double().numpy(), found.double().numpy(), strict=True):
        layout = Layout(np.repeat(wall, 200), np.repeat(door, 200))
        assert 0.1 < (state[:, 0] > wall).mean() < 0.9
        assert (inside_wall(layout, state) & (np.abs(state[:, 0] - wall) < 0.01)).mean() < 0.02
    again = states_alike(log, scenes, chosen, 200, torch.Generator().manual_seed(2))
    assert torch.equal(again, found)


class Repels(Physics):
    """Leads whatever stands inside the wall half of the way out: what a dynamics learns from starts moved off a little."""

    def step(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor) -> tuple[Tensor, Tensor]:
        inside = (z_BD[:, 2] - z_BD[:, 0]).abs() < 0.045
        out = z_BD[:, 0] + (z_BD[:, 2] - z_BD[:, 0]).sign() * 0.046
        x = torch.where(inside, (z_BD[:, 2] + out) / 2, z_BD[:, 2])
        return torch.cat([z_BD[:, :2], x[:, None], z_BD[:, 3:] + action_BA[:, 1:]], -1), memory_BM


def test_settling_leads_out_of_the_wall() -> None:
    scene = torch.tensor([[0.5, 0.9]])
    state = torch.tensor([[[0.47, 0.2], [0.53, 0.3], [0.2, 0.4]]])
    settled = settle(Repels(), scene, state, BoxSpace((-1.0, -1.0), (1.0, 1.0)))
    assert torch.allclose(settled, torch.tensor([[[0.454, 0.2], [0.546, 0.3], [0.2, 0.4]]]), atol=1e-3)


def test_distances_are_the_true_ones(world: tuple[Layout, Tensor, Tensor]) -> None:
    layout, scene, actions = world
    state = nodes(layout, 160)
    graph = imagine_graph(Physics(), scene, state, actions, 3)
    draw = np.random.default_rng(0)
    g, i, j = draw.integers(0, SCENES, 300), draw.integers(0, 160, 300), draw.integers(0, 160, 300)
    said, steps = graph.distance_GNN[g, i, j].numpy(), np.zeros(300)
    where, goal = state[g, i].double().numpy(), state[g, j].double().numpy()
    for _ in range(100):
        there = np.abs(where - goal).max(1) < 1e-3
        steps += ~there
        where = move(layout.take(g), where, shortest_action(layout.take(g), where, goal))
    assert (said < UNREACHED).mean() > 0.98
    known = said < UNREACHED
    assert np.corrcoef(said[known], steps[known])[0, 1] > 0.97
    assert abs(said[known].mean() / steps[known].mean() - 1) < 0.15


def test_what_is_left_to_a_node_is_paid_for() -> None:
    length = edge_length(2, torch.tensor([0.0, 0.5, 3.0]), torch.tensor(1.0), torch.tensor(2.0))
    assert length.tolist() == [2.0, 2.25, UNREACHED]


def test_spread_picks_the_farthest_first() -> None:
    line = torch.tensor([[[0.0], [0.1], [1.0], [0.4]], [[5.0], [5.0], [5.2], [6.0]]])
    assert spread(line, 3).tolist() == [[0, 2, 3], [0, 3, 2]]
