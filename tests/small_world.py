"""A small world whose distances are known: the fixed Two-Room by its true positions, a log of a wanderer, the true dynamics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from forethought.costs.build import CriticKind
from forethought.dynamics.base import Dynamics
from forethought.envs.two_room import HALF_WALL, RADIUS, fixed_layout, move, random_position, record, shortest_action
from forethought.training.config import HeadsConfig, LearnerConfig, TrainConfig
from forethought.training.latents import Latents
from forethought.types import BoxSpace, DiscreteSpace, Space

COMPASS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
LATENT, SCENE = 10, 0  # the layout never changes


def to_latent(position_N2: np.ndarray) -> Tensor:
    """The position, then waves over the room: what an encoder gives is no map either, and its distances mislead."""
    waves = [wave(2 * np.pi * k * position_N2) for k in (1, 2) for wave in (np.sin, np.cos)]
    return torch.from_numpy(np.concatenate([(position_N2 - 0.5) * 4, *waves], -1)).float()


class TrueDynamics(Dynamics):
    """Two-Room's own physics on such latents; a discrete action is a step of the compass."""

    def __init__(self, space: Space, frameskip: int) -> None:
        super().__init__()
        self.latent_size, self.action_size, self.memory_size = LATENT, space.size * frameskip, 0
        self.space, self.frameskip = space, frameskip
        self.nothing = torch.nn.Parameter(torch.zeros(1))  # physics has no parameters; users ask for its device

    def initial_memory(self, z_BD: Tensor) -> Tensor:
        return z_BD[..., :0]

    def update(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor, next_z_BD: Tensor) -> Tensor:
        return memory_BM

    def step(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor) -> tuple[Tensor, Tensor]:
        position = off_the_wall(z_BD[..., :2].double().numpy() / 4 + 0.5)
        for row in np.moveaxis(action_BA.double().numpy().reshape(len(z_BD), self.frameskip, -1), 1, 0):
            action = COMPASS[row.argmax(-1)] if isinstance(self.space, DiscreteSpace) else row
            position = move(fixed_layout(len(position)), position, action)
        return to_latent(position), memory_BM


def off_the_wall(position_N2: np.ndarray) -> np.ndarray:
    """Rounding to float32 must not push a body that touches the middle wall into it: from inside, physics lets it through."""
    x, y = position_N2.T
    for side in (0.5 - HALF_WALL - RADIUS, 0.5 + HALF_WALL + RADIUS):
        x = np.where(np.abs(x - side) < 1e-5, side, x)
    return np.stack([x, y], 1)


def wandering(space: Space, episodes: int, frameskip: int) -> Latents:
    """A wanderer's log of 64 steps an episode; with discrete actions, steps of the compass held for a while."""
    if isinstance(space, DiscreteSpace):
        positions, actions = compass_walks(episodes, 64)
    else:
        logged = list(record(episodes, 64, 0, random=False, size=8))
        positions = np.stack([episode.metadata["position"] for episode in logged])
        actions = np.stack([episode.actions for episode in logged])
    length = positions.shape[1] - 1
    padded = np.concatenate([actions, np.repeat(actions[:, -1:], frameskip, 1)], 1)
    blocks = np.stack([padded[:, i : i + length + 1] for i in range(frameskip)], 2).reshape(episodes, length + 1, -1)
    starts = np.arange(episodes) * (length + 1)
    return Latents(
        to_latent(positions).flatten(0, 1), torch.from_numpy(blocks).float().flatten(0, 1), starts.astype(np.int64),
        np.full(episodes, length, np.int64), frameskip, SCENE,
    )  # fmt: skip


def compass_walks(episodes: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    rng, layout = np.random.default_rng(0), fixed_layout(episodes)
    position = random_position(layout, [np.random.default_rng([1, i]) for i in range(episodes)])
    heading, path, actions = rng.integers(4, size=episodes), [position], []
    for _ in range(steps):
        heading = np.where(rng.random(episodes) < 0.2, rng.integers(4, size=episodes), heading)
        position = move(layout, position, COMPASS[heading])
        path.append(position)
        actions.append(np.eye(4)[heading])
    return np.stack(path, 1), np.stack(actions, 1)


def known_pairs(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Starts, goals, and environment steps that the oracle takes between them."""
    layout, streams = fixed_layout(count), [np.random.default_rng([2, i]) for i in range(count)]
    start, goal = random_position(layout, streams), random_position(layout, streams)
    position, steps = start, np.zeros(count)
    for _ in range(100):
        away = np.linalg.norm(position - goal, axis=1) > 0.01
        steps += away
        position = move(layout, position, shortest_action(layout, position, goal))
    return to_latent(start), to_latent(goal), torch.from_numpy(steps).float()


KINDS = (CriticKind.GRAPH, CriticKind.IMAGINED, CriticKind.EXPECTILE, CriticKind.QUASIMETRIC, CriticKind.CONTRASTIVE)
"""Critics whose distances hold in any scene."""
BOX, COMPASS_SPACE = BoxSpace((-1.0, -1.0), (1.0, 1.0)), DiscreteSpace(4)


def heads_config(**changes: object) -> TrainConfig:
    """Small heads for this world."""
    heads = HeadsConfig(batch_size=256, scenes=16, nodes=128, width=64, depth=2, learner=LearnerConfig(batch_size=256))
    return replace(TrainConfig(threads=1), heads=replace(heads, **changes))
