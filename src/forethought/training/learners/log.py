"""Logged steps with goals in hindsight: what came later in the episode, or a state from anywhere in the log."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.training.latents import Latents


@final
@dataclass(frozen=True)
class Steps:
    """B logged blocks: z_BD, action_BA, next_z_BD, a goal, and how many blocks later the log was there (inf: unknown)."""

    z_BD: Tensor
    action_BA: Tensor
    next_z_BD: Tensor
    goal_BD: Tensor
    blocks_B: Tensor


@final
class LogSampler:
    """Draws logged steps. Goals carry the start's scene: a scene is where one is, never what one wants."""

    def __init__(self, latents: Latents, device: torch.device) -> None:
        self.latents, self.device = latents, device
        rows = latents.window_starts(1)
        episode = latents.episode_of(rows)
        left = (latents.starts_E[episode] + latents.lengths_E[episode] - rows) // latents.frameskip
        self.rows_N, self.left_N, self.episode_N = (torch.from_numpy(a) for a in (rows, left, episode))
        self.count_E = torch.bincount(self.episode_N, minlength=len(latents.starts_E))
        self.first_E = self.count_E.cumsum(0) - self.count_E

    def draw(self, count: int, generator: torch.Generator, ahead: float = 0.5) -> Steps:
        """`ahead` of the goals lie in the step's own future, evenly spread over it (the start itself included)."""
        index = torch.randint(len(self.rows_N), (count,), generator=generator)
        later = (torch.rand(count, generator=generator) * (self.left_N[index] + 1)).long()
        anywhere = torch.randint(len(self.latents.z_ND), (count,), generator=generator)
        own = torch.rand(count, generator=generator) < ahead
        rows, skip = self.rows_N[index], self.latents.frameskip
        goal = self._in_scene(rows, torch.where(own, rows + later * skip, anywhere))
        blocks = torch.where(own, later.float(), math.inf)
        z_ND = self.latents.z_ND
        parts = z_ND[rows], self.latents.action_NA[rows], z_ND[rows + skip], goal, blocks
        return Steps(*(part.to(self.device) for part in parts))

    def futures(self, episodes: int, each: int, near: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents (episodes, each, D) and what followed k >= 1 blocks later, P(k) ~ near^k, as far as the episode goes."""
        episode = self.episode_N[torch.randint(len(self.rows_N), (episodes, 1), generator=generator)]
        share = torch.rand(2, episodes, each, generator=generator, dtype=torch.float64)
        index = self.first_E[episode] + (share[0] * self.count_E[episode]).long()
        rows, left = self.rows_N[index], self.left_N[index].double()
        # the inverse of the distribution, cut at the episode's end
        k = torch.log1p(-(1 - share[1]) * (1 - near**left)).div(math.log(near)).ceil().clamp_min(1).minimum(left).long()
        future = self._in_scene(rows, rows + k * self.latents.frameskip)
        return self.latents.z_ND[rows].to(self.device), future.to(self.device)

    def _in_scene(self, rows: Tensor, goal_rows: Tensor) -> Tensor:
        scene = self.latents.scene_size
        return torch.cat([self.latents.z_ND[rows][..., :scene], self.latents.z_ND[goal_rows][..., scene:]], -1)
