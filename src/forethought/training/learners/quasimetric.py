"""The critic as the largest quasimetric under which no step is longer than a block (QRL, 2304.01203)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from forethought.agent import meter
from forethought.costs.temporal import Critic
from forethought.training.config import HeadsConfig
from forethought.training.learners.base import CriticLearner, Lesson, Material
from forethought.training.learners.log import LogSampler

SOFTNESS, MULTIPLIER_RATE, MULTIPLIER_MOST = 0.1, 0.05, 1e4


@final
class Multiplier(nn.Module):
    """The price of a step that seems too long; a module so that checkpoints hold it."""

    log_price: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_price", torch.zeros(()))


@final
class QuasimetricCritic(CriticLearner):
    """Any two places are pushed apart (softly, up to `push` blocks), while steps, logged and imagined, hold them together.

    The price of breaking d(z, z') <= 1 rises as long as the mean square excess is above slack^2, and falls below it.
    """

    def __init__(self, critic: Critic, material: Material, config: HeadsConfig) -> None:
        self.critic, self.material, self.settings = critic, material, config.learner
        self.log, self.multiplier = LogSampler(material.latents, material.device), Multiplier()
        self.excess = torch.zeros(())

    def modules(self) -> Mapping[str, nn.Module]:
        return {"critic": self.critic, "multiplier": self.multiplier}

    def flops(self) -> int:
        batch = self.settings.batch_size
        return meter.work(self.critic).learned(2 * batch) + meter.of(self.material.dynamics, batch // 2)

    def lesson(self, generator: torch.Generator) -> Lesson:
        start, goal = self.material.places.pairs(self.settings.batch_size, generator)
        push = functional.softplus(self.settings.push - self.critic(start, goal), SOFTNESS).mean()
        before, after = self._steps(generator)
        excess = (self.critic(before, after) - 1).relu().square().mean()
        self.excess = excess.detach()
        price = self.multiplier.log_price.exp()
        loss = (push + price * excess) / (1 + price)  # the price decides the balance, not the size of the step
        return Lesson(loss, {"push": push.detach(), "excess": self.excess, "price": price})

    @torch.no_grad()
    def _steps(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Half logged, half imagined from places: the log of a scene is seen in one corner only."""
        half, dynamics = self.settings.batch_size // 2, self.material.dynamics
        logged = self.log.draw(half, generator)
        z, _ = self.material.places.pairs(half, generator)
        action = self.material.actions_KA[torch.randint(len(self.material.actions_KA), (half,), generator=generator)]
        landed, _ = dynamics.step(z, dynamics.initial_memory(z), action)
        return torch.cat([logged.z_BD, z]), torch.cat([logged.next_z_BD, landed])

    def after_update(self) -> None:
        step = MULTIPLIER_RATE * torch.sign(self.excess - self.settings.slack**2)
        self.multiplier.log_price.add_(step).clamp_(-5.0, 9.0)
