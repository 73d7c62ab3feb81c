"""The critic from the log alone: an expectile of one step more than from the next state (IQL, 2110.06169, with hindsight)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import nn

from forethought.agent import meter
from forethought.costs.temporal import Critic
from forethought.training.config import HeadsConfig
from forethought.training.learners.base import CriticLearner, Lesson, Material, discounted, follow_, target_of
from forethought.training.learners.log import LogSampler


@final
class ExpectileCritic(CriticLearner):
    """d(z, g) follows the `expectile` on the short side of 1 + d_target(z', g): the better of the logged actions."""

    def __init__(self, critic: Critic, material: Material, config: HeadsConfig) -> None:
        self.critic, self.target = critic, target_of(critic)
        self.log, self.config, self.settings = LogSampler(material.latents, material.device), config, config.learner

    def modules(self) -> Mapping[str, nn.Module]:
        return {"critic": self.critic, "target": self.target}

    def flops(self) -> int:
        batch = self.settings.batch_size
        return meter.of(self.target, batch) + meter.work(self.critic).learned(batch)

    def lesson(self, generator: torch.Generator) -> Lesson:
        steps, discount = self.log.draw(self.settings.batch_size, generator), self.settings.discount
        onward = 1 + self.target(steps.next_z_BD, steps.goal_BD)
        wanted = torch.where(steps.blocks_B == 0, 0.0, onward.clamp_max(self.config.limit))
        guess = self.critic(steps.z_BD, steps.goal_BD)
        off = discounted(guess, discount) - discounted(wanted, discount)
        weight = torch.where(off > 0, self.settings.expectile, 1 - self.settings.expectile)
        return Lesson((weight * off.square()).mean() / 10, {"off": off.detach().abs().mean()})

    def after_update(self) -> None:
        follow_(self.target, self.critic, self.settings.target_rate)
