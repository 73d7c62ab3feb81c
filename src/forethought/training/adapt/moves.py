"""New experience as an agent's own model sees it: through a lens, encoded, cut into moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forethought.dynamics.base import Dynamics
from forethought.errors import DataError
from forethought.perception.image import ImageBody
from forethought.perception.lens import Lens, Patch
from forethought.training.bundle import Parts
from forethought.training.dynamics import remembered
from forethought.training.latents import Latents
from forethought.types import Array, Episode, ExperienceSpec, SensorKind

STRETCH = 10
"""Blocks of one stretch: what is checked is held out by stretches, as neighbours in time tell of each other."""
PICTURES = 256
"""So many are looked at for what a camera usually shows."""


@final
@dataclass(frozen=True)
class Moves:
    """N moves of one block: latent before, memory, block, latent after; and which stretch of an episode each is of."""

    before_ND: Tensor
    memory_NM: Tensor
    block_NA: Tensor
    after_ND: Tensor
    stretch_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.stretch_N)

    def take(self, chosen: NDArray[np.bool_]) -> Moves:
        """Those where it is true."""
        rows = torch.from_numpy(np.flatnonzero(chosen)).to(self.before_ND.device)
        return Moves(
            self.before_ND[rows], self.memory_NM[rows], self.block_NA[rows], self.after_ND[rows], self.stretch_N[chosen]
        )

    @staticmethod
    def of(latents: Latents, dynamics: Dynamics) -> Moves:
        """All moves of encoded episodes, in order."""
        rows = latents.window_starts(1)
        at = torch.from_numpy(rows)
        episode = latents.episode_of(rows)
        part = (rows - latents.starts_E[episode]) // (STRETCH * latents.frameskip)
        _, stretch = np.unique(np.stack([episode, part]), axis=1, return_inverse=True)
        device = next(dynamics.parameters()).device
        z_ND = latents.z_ND[at].to(device)
        with torch.inference_mode():
            memory_NM = remembered(dynamics, latents, rows, z_ND).clone()
        block_NA, after_ND = latents.action_NA[at].to(device), latents.z_ND[at + latents.frameskip].to(device)
        return Moves(z_ND, memory_NM, block_NA, after_ND, stretch.reshape(-1))


def lens_for(parts: Parts, spec: ExperienceSpec, episodes: Sequence[Episode]) -> Lens:
    """What the cameras now always show otherwise than in the log; empty where scenes differ within the log."""
    if parts.encoder.scene_size:
        return Lens()
    bodies = dict(zip(parts.encoder.names, parts.encoder.bodies, strict=True))
    patches: dict[str, Patch] = {}
    for sensor in spec.sensors:
        body = bodies[sensor.name]
        if sensor.kind is SensorKind.IMAGE and isinstance(body, ImageBody):
            pictures = np.concatenate([e.observations[sensor.name] for e in episodes])
            patch = Patch.between(body.usual_HWC.cpu().numpy(), pictures[:: max(1, len(pictures) // PICTURES)])
            patches |= {sensor.name: patch} if patch is not None else {}
    return Lens(patches)


@torch.inference_mode()
def encode_episodes(parts: Parts, spec: ExperienceSpec, frameskip: int, lens: Lens, episodes: Sequence[Episode]) -> Latents:
    """Latents of every row. Raises DataError for episodes of other sensors, or shorter than a block."""
    device = next(parts.model.parameters()).device
    long_enough = [e for e in episodes if e.num_steps >= frameskip]
    if not long_enough:
        raise DataError(f"{len(episodes)} episodes, and none is as long as one block of {frameskip} steps; record longer ones")
    z, blocks = [], []
    for episode in long_enough:
        readings = {s.name: _readings(episode, s.name, s.shape, s.dtype, lens) for s in spec.sensors}
        z.append(parts.model.encode({name: torch.from_numpy(r).to(device) for name, r in readings.items()}).float().cpu())
        blocks.append(_blocks(spec.action_space.encode(episode.actions), frameskip))
    lengths = np.array([e.num_steps for e in long_enough], np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]]).astype(np.int64)
    scene = parts.encoder.scene_size
    return Latents(torch.cat(z).clone(), torch.from_numpy(np.concatenate(blocks)), starts, lengths, frameskip, scene)


def _readings(episode: Episode, name: str, shape: tuple[int, ...], dtype: str, lens: Lens) -> Array:
    if name not in episode.observations or episode.observations[name].shape[1:] != shape:
        found = {n: v.shape[1:] for n, v in episode.observations.items()}
        raise DataError(
            f"episode {episode.id}: got sensors {found}, expected '{name}' of shape {shape}; record what the run reads"
        )
    readings = np.ascontiguousarray(episode.observations[name]).astype(dtype, copy=False)
    if name not in lens.patches:
        return readings
    return np.stack([lens.patches[name].see(reading) for reading in readings])


def _blocks(actions_TA: NDArray[np.float32], frameskip: int) -> NDArray[np.float32]:
    """The block that starts at each row, (T + 1, frameskip * A); zeros where none fits."""
    blocks = np.zeros((len(actions_TA) + 1, frameskip * actions_TA.shape[1]), np.float32)
    for row in range(len(actions_TA) - frameskip + 1):
        blocks[row] = actions_TA[row : row + frameskip].ravel()
    return blocks
