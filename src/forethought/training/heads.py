"""Stage `heads`: the critic and the habit, by regression on imagined graphs. Minutes, on latents alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forethought.agent import meter
from forethought.costs.temporal import Critic
from forethought.dynamics.base import Dynamics
from forethought.habits.policy import Habit
from forethought.training.alike import draw_scenes, episode_scenes
from forethought.training.config import TrainConfig
from forethought.training.graphs import UNREACHED, Graph, imagine_graph
from forethought.training.latents import Latents
from forethought.training.progress import Progress, Watcher
from forethought.training.seeds import generator_for, seed_for
from forethought.training.trainer import Stage
from forethought.types import DiscreteSpace, Space


def candidate_actions(space: Space, frameskip: int, count: int, generator: torch.Generator) -> Tensor:
    """Constant blocks (K, frameskip * A): every discrete action; of a box, spread directions at full and half strength."""
    if isinstance(space, DiscreteSpace):
        return torch.eye(space.count).repeat(1, frameskip)
    if space.size == 2:
        angle = torch.arange(count) * (2 * math.pi / count)
        strength = torch.where(torch.arange(count) % 4 == 3, 0.5, 1.4)
        single = torch.stack([angle.cos(), angle.sin()], -1) * strength[:, None]
    else:
        single = torch.randn(count, space.size, generator=generator)
    return single.clamp(-1, 1).repeat(1, frameskip)


def imagine_graphs(latents: Latents, dynamics: Dynamics, space: Space, config: TrainConfig, watcher: Watcher) -> Graph:
    """Graphs of many scenes of the log, each with states that can be in it."""
    settings, together = config.heads, 16
    device = next(dynamics.parameters()).device
    generator = generator_for(config.seed, "graphs")
    actions = candidate_actions(space, latents.frameskip, settings.candidates, generator).to(device)
    every_scene, parts = episode_scenes(latents), []
    for first in range(0, settings.scenes, together):
        count = min(together, settings.scenes - first)
        scene, state = draw_scenes(latents, dynamics, space, every_scene, (count, settings.nodes), generator)
        parts.append(imagine_graph(dynamics, scene, state, actions, settings.reach))
        watcher.progress(Progress("graphs", first + count, settings.scenes, {}, 0.0, 0.0))
    return Graph(
        torch.cat([p.scene_GC for p in parts]),
        torch.cat([p.state_GNE for p in parts]),
        torch.cat([p.distance_GNN for p in parts]),
    )


@final
class HeadsStage(Stage):
    """Critic: regress the graphs' distances. Habit: the imagined first action after which the critic has least to go."""

    name = "heads"

    def __init__(
        self, latents: Latents, graph: Graph, dynamics: Dynamics, critic: Critic, habit: Habit, config: TrainConfig
    ) -> None:
        self.latents, self.graph, self.dynamics = latents, graph, dynamics.requires_grad_(False)
        self.critic, self.habit, self.config, self.settings = critic, habit, config, config.heads
        self.frames_per_update = self.settings.batch_size
        generator = generator_for(config.seed, "candidates")
        actions = candidate_actions(habit.space, latents.frameskip, self.settings.candidates, generator)
        self.actions = actions.to(graph.state_GNE.device)

    def modules(self) -> Mapping[str, nn.Module]:
        return {"critic": self.critic, "habit": self.habit}

    def trained(self) -> list[nn.Parameter]:
        return [*self.critic.parameters(), *self.habit.parameters()]

    def flops(self) -> int:
        """FLOPs of one update."""
        few = self.settings.batch_size // 8
        learned = meter.work(self.critic).learned(self.settings.batch_size) + meter.work(self.habit).learned(few)
        rows, fused = few * len(self.actions), meter.rolled(self.dynamics)
        return learned + rows * fused.of(2) + meter.of(self.critic, rows)

    def loss(self, update: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        z_BD, goal_BD, distance_B = self._pairs(update)
        guess_B = self.critic(z_BD, goal_BD)
        known_B = (distance_B < UNREACHED).float()  # no way found is not a distance: those pairs are left out
        wanted_B = distance_B.clamp_max(self.settings.limit)
        error_B = functional.smooth_l1_loss(guess_B / 10, wanted_B / 10, reduction="none") * 10
        critic_loss = (error_B * known_B).sum() / known_B.sum().clamp_min(1)
        few = len(z_BD) // 8  # each costs all candidates' imagination
        z, goal = z_BD[:few], goal_BD[:few]
        action, weight = self._best_action(z, goal)
        habit_loss = self.habit.loss(z, goal, action, weight)
        off = ((guess_B.detach() - wanted_B).abs() * known_B).sum() / known_B.sum().clamp_min(1)
        return critic_loss + habit_loss, {"critic": critic_loss.detach(), "habit": habit_loss.detach(), "off": off}

    def _pairs(self, update: int) -> tuple[Tensor, Tensor, Tensor]:
        generator = np.random.default_rng(seed_for(self.config.seed, self.name, update))
        count, (scenes, nodes, _) = self.settings.batch_size, self.graph.state_GNE.shape
        g, i, j = (torch.from_numpy(generator.integers(0, n, count)).to(self.actions.device) for n in (scenes, nodes, nodes))
        j[: count // 32] = i[: count // 32]  # the goal itself is no distance away
        z = torch.cat([self.graph.scene_GC[g], self.graph.state_GNE[g, i]], -1)
        goal = torch.cat([self.graph.scene_GC[g], self.graph.state_GNE[g, j]], -1)
        return z, goal, self.graph.distance_GNN[g, i, j]

    @torch.no_grad()
    def _best_action(self, z_BD: Tensor, goal_BD: Tensor) -> tuple[Tensor, Tensor]:
        count, total = len(self.actions), len(z_BD)
        z = z_BD.repeat_interleave(count, 0)
        imagined = self.dynamics.imagine(
            z, self.dynamics.initial_memory(z), self.actions.repeat(total, 1)[:, None, None].expand(-1, 1, 2, -1)
        )[:, 0]
        goal = goal_BD.repeat_interleave(count, 0)
        left = self.critic(imagined[:, 1], goal).reshape(total, count)
        share = torch.softmax(-(left - left.min(-1, keepdim=True).values) * 6, -1)
        best = share @ self.actions
        if isinstance(self.habit.space, DiscreteSpace):
            best = self.actions[share.argmax(-1)]
        return best, best.new_ones(total)
