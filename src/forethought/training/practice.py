"""Stage `practice`: the habit tries goals of the log in imagination, and follows the gradient through the frozen dynamics.

What a search would find again at every decision is found once, for all goals, by back-propagation through the imagined future
(as in 1510.09142 and 1912.01603, with hindsight goals instead of rewards). No critic, no reward, and no action of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from forethought.agent import meter
from forethought.dynamics.base import Dynamics
from forethought.habits.policy import Habit
from forethought.training.config import PracticeConfig, TrainConfig
from forethought.training.dynamics import remembered
from forethought.training.latents import Latents
from forethought.training.seeds import seed_for
from forethought.training.trainer import Stage


@final
class PracticeStage(Stage):
    """Loss: distance to the goal at the end of `horizon` blocks, and by `on_the_way` its mean over them.

    The distance is a root mean square, not a mean square: the last bit of the way counts as much as the first. Goals are up to
    `far` blocks later in the start's own episode.
    """

    name = "practice"

    def __init__(
        self, latents: Latents, dynamics: Dynamics, habit: Habit, config: TrainConfig, settings: PracticeConfig
    ) -> None:
        self.latents, self.dynamics, self.habit = latents, dynamics.requires_grad_(False), habit
        self.config, self.settings = config, settings
        self.starts_N = latents.window_starts(1)
        self.frames_per_update = self.settings.batch_size * self.settings.horizon

    def modules(self) -> Mapping[str, nn.Module]:
        return {"habit": self.habit}

    def trained(self) -> list[nn.Parameter]:
        return list(self.habit.parameters())

    def flops(self) -> int:
        """FLOPs of one update; the frozen dynamics passes gradients on."""
        blocks = self.settings.batch_size * self.settings.horizon
        before = self.settings.batch_size * meter.filtered(self.dynamics)
        return before + 2 * meter.of(self.dynamics, blocks) + 3 * meter.of(self.habit, blocks)

    def loss(self, update: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        z_BD, goal_BD, memory_BM = self._trials(update)
        start, gaps = goal_BD[..., self.latents.scene_size :], []
        for _ in range(self.settings.horizon):
            z_BD, memory_BM = self.dynamics.step(z_BD, memory_BM, self.habit(z_BD, goal_BD))
            off = z_BD[..., self.latents.scene_size :] - start
            gaps.append((off.square().mean(-1) + self.settings.smooth**2).sqrt())
        gap_HB = torch.stack(gaps)
        end, way = gap_HB[-1].mean(), gap_HB.mean()
        return end + self.settings.on_the_way * way, {"end": end.detach(), "first": gap_HB[0].mean().detach()}

    def _trials(self, update: int) -> tuple[Tensor, Tensor, Tensor]:
        generator = np.random.default_rng(seed_for(self.config.seed, self.name, update))
        rows = self.starts_N[generator.integers(0, len(self.starts_N), self.settings.batch_size)]
        episode = self.latents.episode_of(rows)
        ahead = generator.integers(1, self.settings.far * self.latents.frameskip + 1, len(rows))
        goals = np.minimum(rows + ahead, (self.latents.starts_E + self.latents.lengths_E)[episode])
        device = next(self.habit.parameters()).device
        z_BD, goal_BD = (self.latents.z_ND[torch.from_numpy(at)].to(device) for at in (rows, goals))
        with torch.no_grad():
            memory_BM = remembered(self.dynamics, self.latents, rows, z_BD)
        return z_BD, goal_BD, memory_BM
