"""States that can be in a scene: what was seen in the episodes whose scenes are most alike, spread evenly and settled.

A log with one layout an episode shows a corner of each. States drawn blindly from other episodes would stand inside this
scene's walls and be stepping stones through them; exploring in imagination finds the places where imagination lies. Episodes
in almost the same scene have seen the rest of it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from forethought.dynamics.base import Dynamics
from forethought.training.latents import Latents
from forethought.types import DiscreteSpace, Space

SEEN = 64  # states taken of each episode


@torch.inference_mode()
def episode_scenes(latents: Latents, frames: int = 8) -> Tensor:
    """Every episode's scene, (E, C): the mean over some of its frames."""
    share = (np.arange(frames) + 0.5) / frames
    rows = latents.starts_E[:, None] + (share * (latents.lengths_E[:, None] + 1)).astype(np.int64)
    return latents.z_ND[torch.from_numpy(rows), : latents.scene_size].mean(1)


@torch.inference_mode()
def draw_scenes(
    latents: Latents, dynamics: Dynamics, space: Space, scene_EC: Tensor, size: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Scenes (G, C) of episodes drawn at random, and states (G, N, E') that can be in each, on the dynamics' device.

    `size` is (G, N). Where there is one scene only (C = 0), that is any logged states, evenly spread.
    """
    device, (scenes, count) = next(dynamics.parameters()).device, size
    episode_G = torch.randint(len(scene_EC), (scenes,), generator=generator)
    scene_GC = scene_EC[episode_G].to(device)
    if latents.scene_size:
        state = states_alike(latents, scene_EC, episode_G, count, generator).to(device)
        return scene_GC, settle(dynamics, scene_GC, state, space)
    drawn = latents.z_ND[torch.randint(len(latents.z_ND), (scenes, 4 * count), generator=generator)].to(device)
    return scene_GC, _picked(drawn, spread(drawn, count))


@torch.inference_mode()
def states_alike(
    latents: Latents, scene_EC: Tensor, episode_G: Tensor, count: int, generator: torch.Generator, *, alike: int = 16
) -> Tensor:
    """`count` states a scene, (G, count, E'), spread evenly over what its episode and the `alike` nearest ones have seen."""
    near_GK = torch.cdist(scene_EC[episode_G], scene_EC).topk(min(alike + 1, len(scene_EC)), largest=False).indices
    seen = draw_rows(latents, near_GK.flatten(), SEEN, generator).reshape(len(episode_G), -1)
    state = latents.z_ND[seen][..., latents.scene_size :]
    return _picked(state, spread(state, count))


@torch.inference_mode()
def settle(dynamics: Dynamics, scene_GC: Tensor, state_GNE: Tensor, space: Space, blocks: int = 8) -> Tensor:
    """The states after some imagined blocks of the middle action: what stands a little inside a wall is led out of it.

    The dynamics was trained from starts moved off a little (`DynamicsConfig.jitter`), so it leads back to where things can be.
    Discrete spaces have no middle: there the states stay as they are.
    """
    if isinstance(space, DiscreteSpace):
        return state_GNE
    size = state_GNE.shape[-1]
    z = torch.cat([scene_GC[:, None].expand(-1, state_GNE.shape[1], -1), state_GNE], -1).flatten(0, 1)
    memory, still = dynamics.initial_memory(z), z.new_zeros(len(z), dynamics.action_size)
    for _ in range(blocks):
        z, memory = dynamics.step(z, memory, still)
    return z[:, -size:].view_as(state_GNE)


@torch.inference_mode()
def spread(pool_GPE: Tensor, count: int) -> Tensor:
    """Indices (G, count) into each pool, every one farthest from those before it, the first as given (Gonzalez 1985)."""
    picked_GN = torch.zeros(len(pool_GPE), min(count, pool_GPE.shape[1]), dtype=torch.long, device=pool_GPE.device)
    gap_GP = torch.full(pool_GPE.shape[:2], torch.inf, device=pool_GPE.device)
    for index in range(1, picked_GN.shape[1]):
        last = _picked(pool_GPE, picked_GN[:, index - 1 : index])
        gap_GP = torch.minimum(gap_GP, (pool_GPE - last).square().sum(-1))
        picked_GN[:, index] = gap_GP.argmax(1)
    return picked_GN


def draw_rows(latents: Latents, episode_G: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Rows (G, count) of the given episodes, drawn at random."""
    episode = episode_G.numpy()[:, None]
    share = torch.rand(len(episode), count, generator=generator, dtype=torch.float64).numpy()
    return torch.from_numpy(latents.starts_E[episode] + (share * (latents.lengths_E[episode] + 1)).astype(np.int64))


def _picked(pool_GPE: Tensor, index_GN: Tensor) -> Tensor:
    return pool_GPE.gather(1, index_GN[..., None].expand(-1, -1, pool_GPE.shape[-1]))
