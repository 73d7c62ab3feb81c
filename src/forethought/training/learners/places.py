"""Places to imagine from: scenes of the log, each with states that can be there, of which any two make a start and a goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.dynamics.base import Dynamics
from forethought.training.alike import draw_scenes, episode_scenes
from forethought.training.config import HeadsConfig
from forethought.training.latents import Latents
from forethought.types import Space

TOGETHER = 16


@final
@dataclass(frozen=True)
class Places:
    """G scenes (G, C) with N states each (G, N, E); `gap` is how far a state's nearest neighbour lies, on the average."""

    scene_GC: Tensor
    state_GNE: Tensor
    gap: float

    def pairs(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Starts and goals (count, D): any two states of a scene, or any two at all where the latent has no scene part."""
        scenes, nodes, _ = self.state_GNE.shape
        g, h = torch.randint(scenes, (2, count), generator=generator)
        i, j = torch.randint(nodes, (2, count), generator=generator)
        scene, h = self.scene_GC[g], g if self.scene_GC.shape[-1] else h
        return torch.cat([scene, self.state_GNE[g, i]], -1), torch.cat([scene, self.state_GNE[h, j]], -1)


@torch.inference_mode()
def imagine_places(
    latents: Latents, dynamics: Dynamics, space: Space, settings: HeadsConfig, generator: torch.Generator
) -> Places:
    """As many scenes and states as the configuration says."""
    every_scene, parts = episode_scenes(latents), []
    for first in range(0, settings.scenes, TOGETHER):
        size = (min(TOGETHER, settings.scenes - first), settings.nodes)
        parts.append(draw_scenes(latents, dynamics, space, every_scene, size, generator))
    return places_of(torch.cat([scene for scene, _ in parts]), torch.cat([state for _, state in parts]))


def places_of(scene_GC: Tensor, state_GNE: Tensor) -> Places:
    """Places from scenes and states; the gap is measured on the first scenes."""
    sample = state_GNE[:TOGETHER]
    apart = torch.cdist(sample, sample)
    apart.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    return Places(scene_GC, state_GNE, float(apart.amin(-1).mean()))
