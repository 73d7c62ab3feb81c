"""The critic by contrast: tell what followed a state from other states (InfoNCE; successor distances, 2406.17098)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from forethought.agent import meter
from forethought.costs.quasimetric import Quasimetric
from forethought.costs.temporal import mlp
from forethought.training.config import HeadsConfig
from forethought.training.learners.base import CriticLearner, Lesson, Material
from forethought.training.learners.log import LogSampler

EACH = 32
"""Starts of one episode in a batch: they share the scene, and so the other states put into it."""


@final
class ContrastiveCritic(CriticLearner):
    """The log-ratio p(g | z) / p(g) is fitted by potential(g) - d(z, g) * log(1 / near), so that d is in blocks as the log took
    them: a wanderer's, longer than they need be, and alike for whatever it hardly ever reached."""

    def __init__(self, critic: Quasimetric, material: Material, config: HeadsConfig) -> None:
        self.critic, self.log, self.latents, self.settings = (
            critic,
            LogSampler(material.latents, material.device),
            material.latents,
            config.learner,
        )
        self.potential = mlp((self.latents.z_ND.shape[-1], config.width, 1))
        self.distance, self.rate = critic, math.log(1 / self.settings.near)

    def modules(self) -> Mapping[str, nn.Module]:
        return {"critic": self.critic, "potential": self.potential}

    def trained(self) -> list[nn.Parameter]:
        return [*self.critic.parameters(), *self.potential.parameters()]

    def flops(self) -> int:
        episodes = max(1, self.settings.batch_size // (2 * EACH))
        own, others = episodes * EACH, episodes * self.settings.negatives
        embedded = meter.work(self.distance.net).learned(2 * own + others)
        return embedded + meter.work(self.potential).learned(own + others)

    def lesson(self, generator: torch.Generator) -> Lesson:
        """Each start tells its own future from `negatives` states of anywhere, which its episode's starts share."""
        episodes = max(1, self.settings.batch_size // (2 * EACH))
        z_BMD, future_BMD = self.log.futures(episodes, EACH, self.settings.near, generator)
        rows = torch.randint(len(self.latents.z_ND), (episodes, self.settings.negatives), generator=generator)
        start = self.distance.embed(z_BMD)
        own = self._logits(start, future_BMD)
        others = self._in_scene(z_BMD[:, :1], rows)
        logits_BMK = self._logits(start[:, :, None], others[:, None])
        loss = (torch.cat([own[..., None], logits_BMK], -1).logsumexp(-1) - own).mean()
        return Lesson(loss, {"told": (own > logits_BMK.amax(-1)).float().mean()})

    def _in_scene(self, z_B1D: Tensor, rows_BK: Tensor) -> Tensor:
        scene = self.latents.scene_size
        state = self.latents.z_ND[rows_BK][..., scene:].to(z_B1D.device)
        return torch.cat([z_B1D[..., :scene].expand(-1, rows_BK.shape[1], -1), state], -1)

    def _logits(self, start_NE: Tensor, goal_ND: Tensor) -> Tensor:
        apart = self.distance.between(start_NE, self.distance.embed(goal_ND))
        logits: Tensor = self.potential(goal_ND).squeeze(-1) - self.rate * apart
        return logits
