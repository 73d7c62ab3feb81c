"""Where a habit's examples come from: imagined candidate actions, or the log's, weighted by what the critic makes of them."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from forethought.agent import meter
from forethought.costs.temporal import Critic
from forethought.training.config import HeadsConfig
from forethought.training.learners.base import Example, HabitLearner, Lesson, Material
from forethought.training.learners.log import LogSampler
from forethought.types import DiscreteSpace, Space

SHARPNESS = 6.0


@final
class ImaginedHabit(HabitLearner):
    """Each candidate for two blocks in imagination; the example is their mean by exp(-6 x blocks left), the best
    alone if actions are discrete. If the critic's own lesson has shown an action, that is the example."""

    def __init__(self, critic: Critic, space: Space, material: Material, config: HeadsConfig) -> None:
        self.critic, self.space, self.material, self.count = critic, space, material, config.batch_size // 8

    def flops(self, shown: int) -> tuple[int, int]:
        if shown:
            return 0, shown
        actions = len(self.material.actions_KA)
        imagined = self.count * meter.rolled(self.material.dynamics).of(2 * actions)
        return imagined + meter.of(self.critic, self.count * actions), self.count

    @torch.no_grad()
    def example(self, lesson: Lesson, generator: torch.Generator) -> Example:
        if lesson.example is not None:
            return lesson.example
        z, goal = self.material.places.pairs(self.count, generator)
        left_BK, actions = self._left(z, goal), self.material.actions_KA
        share = torch.softmax(-(left_BK - left_BK.amin(-1, keepdim=True)) * SHARPNESS, -1)
        best = actions[share.argmax(-1)] if isinstance(self.space, DiscreteSpace) else share @ actions
        return Example(z, goal, best, best.new_ones(len(z)))

    def _left(self, z_BD: Tensor, goal_BD: Tensor) -> Tensor:
        dynamics, actions = self.material.dynamics, self.material.actions_KA
        blocks = actions[None, :, None].expand(len(z_BD), -1, 2, -1)
        way = dynamics.imagine(z_BD, dynamics.initial_memory(z_BD), blocks)
        goal = goal_BD.repeat_interleave(len(actions), 0)
        left: Tensor = self.critic(way[:, :, -1].flatten(0, 1), goal)
        return left.view(len(z_BD), -1)


@final
class LoggedHabit(HabitLearner):
    """Advantage-weighted regression (1910.00177): logged actions weigh exp(eagerness * (d(z, g) - d(z', g) - 1)), at most
    `max_weight`; a block that brings the goal a block nearer has no disadvantage."""

    def __init__(self, critic: Critic, material: Material, config: HeadsConfig) -> None:
        self.critic, self.log, self.settings = critic, LogSampler(material.latents, material.device), config.learner

    def flops(self, shown: int) -> tuple[int, int]:
        return 2 * meter.of(self.critic, self.settings.batch_size), self.settings.batch_size

    @torch.no_grad()
    def example(self, lesson: Lesson, generator: torch.Generator) -> Example:
        steps = self.log.draw(self.settings.batch_size, generator)
        gained = self.critic(steps.z_BD, steps.goal_BD) - self.critic(steps.next_z_BD, steps.goal_BD)
        weight = torch.exp(self.settings.eagerness * (gained - 1)).clamp_max(self.settings.max_weight)
        return Example(steps.z_BD, steps.goal_BD, steps.action_BA, weight)
