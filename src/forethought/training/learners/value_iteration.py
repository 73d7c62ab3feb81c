"""The critic and the habit by n-step value iteration in imagination, each from what the other knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from forethought.agent import meter
from forethought.costs.temporal import Critic
from forethought.habits.policy import Habit
from forethought.training.config import HeadsConfig
from forethought.training.learners.base import CriticLearner, Example, Lesson, Material, discounted, follow_, target_of


@final
class ImaginedCritic(CriticLearner):
    """A few first actions, each followed by the habit for `steps` blocks; the shortest way (blocks walked + what the target
    critic has left at the end) is the critic's target for every state on it, and its first action the habit's.

    A way that passes within the places' gap of the goal ends there. An eighth of the goals are where a random action leads in a
    few blocks, so that distances grow outwards from what is certain.
    """

    def __init__(self, critic: Critic, habit: Habit, material: Material, config: HeadsConfig) -> None:
        self.critic, self.habit, self.material, self.config, self.settings = critic, habit, material, config, config.learner
        self.target = target_of(critic)

    def modules(self) -> Mapping[str, nn.Module]:
        return {"critic": self.critic, "target": self.target}

    def shown(self) -> int:
        return self.settings.batch_size // 8

    def flops(self) -> int:
        count, steps, ways = self.shown(), self.settings.steps, self.shown() * self.settings.first_actions
        dynamics = self.material.dynamics
        near = (count // 8 + 1) * meter.rolled(dynamics).of(steps)
        walked = steps * meter.of(dynamics, ways) + meter.of(self.habit, count + (steps - 1) * ways)
        return near + walked + meter.of(self.target, ways) + meter.work(self.critic).learned(count * (steps + 1))

    def lesson(self, generator: torch.Generator) -> Lesson:
        z, goal, most = self._pairs(generator)
        way_BTD, blocks_BT, first = self._best_way(z, goal, most, generator)
        goals = goal[:, None].expand_as(way_BTD)
        guess = self.critic(way_BTD.flatten(0, 1), goals.flatten(0, 1)).view_as(blocks_BT)
        known = (blocks_BT >= 0).float()  # beyond the goal there is nothing to learn
        discount = self.settings.discount
        off = discounted(guess, discount) - discounted(blocks_BT.clamp(0, self.config.limit), discount)
        error = functional.smooth_l1_loss(off / 10, torch.zeros_like(off), reduction="none") * 10
        loss = (error * known).sum() / known.sum().clamp_min(1)
        example = Example(z, goal, first, (most != 0).float())
        return Lesson(loss, {"off": (off.detach().abs() * known).sum() / known.sum().clamp_min(1)}, example)

    @torch.no_grad()
    def _pairs(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Starts, goals, and the most blocks between them (inf: unknown). Some goals are the start, some a few blocks away."""
        count = self.shown()
        z, goal = self.material.places.pairs(count, generator)
        near, most = count // 8 + 1, z.new_full((count,), torch.inf)
        dynamics, steps = self.material.dynamics, self.settings.steps
        actions = self._any_action(near, generator)[:, None, None].expand(-1, 1, steps, -1)
        way = dynamics.imagine(z[:near], dynamics.initial_memory(z[:near]), actions)[:, 0]
        later = torch.randint(0, steps + 1, (near,), generator=generator).to(z.device)
        reached = torch.cat([z[:near, None], way], 1)[torch.arange(near, device=z.device), later]
        return z, torch.cat([reached, goal[near:]]), torch.cat([later.float(), most[near:]])

    @torch.no_grad()
    def _best_way(
        self, z_BD: Tensor, goal_BD: Tensor, most_B: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """States on the best way (B, T + 1, D), blocks to go from each (below 0: past the goal), and its first action."""
        batch, count, steps = len(z_BD), self.settings.first_actions, self.settings.steps
        first = self._any_action(batch * count, generator).view(batch, count, -1)
        first[:, 0] = self.habit(z_BD, goal_BD)
        way, goal = self._follow(z_BD, goal_BD, first)  # (B * S, T + 1, D)
        left = self.target(way[:, -1], goal) + steps
        scene = goal.shape[-1] - self.material.places.state_GNE.shape[-1]
        there = (way - goal[:, None])[..., scene:].norm(dim=-1) < self.material.places.gap
        walked = torch.arange(steps + 1, device=z_BD.device)
        arrival = torch.where(there, walked, torch.inf).amin(-1)
        total = torch.minimum(left, arrival).view(batch, count)
        best_B, choice = total.min(-1)
        blocks_BT = best_B[:, None] - walked
        blocks_BT[:, 0] = torch.minimum(best_B, most_B)  # the known way is another: it says nothing of the states on this one
        row = torch.arange(batch, device=z_BD.device)
        return way.view(batch, count, steps + 1, -1)[row, choice], blocks_BT, first[row, choice]

    def _follow(self, z_BD: Tensor, goal_BD: Tensor, first_BSA: Tensor) -> tuple[Tensor, Tensor]:
        count, dynamics = first_BSA.shape[1], self.material.dynamics
        z, goal, action = z_BD.repeat_interleave(count, 0), goal_BD.repeat_interleave(count, 0), first_BSA.flatten(0, 1)
        memory, way = dynamics.initial_memory(z), [z]
        for step in range(self.settings.steps):
            z, memory = dynamics.step(z, memory, action if step == 0 else self.habit(z, goal))
            way.append(z)
        return torch.stack(way, 1), goal

    def _any_action(self, count: int, generator: torch.Generator) -> Tensor:
        actions = self.material.actions_KA
        return actions[torch.randint(len(actions), (count,), generator=generator)]

    def after_update(self) -> None:
        follow_(self.target, self.critic, self.settings.target_rate)
