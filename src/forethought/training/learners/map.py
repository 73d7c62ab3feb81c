"""Where the critic is a map it is drawn, not learned; the habit follows what the map makes of whole short plans."""

from __future__ import annotations

from typing import final

import torch

from forethought.agent import meter
from forethought.costs.landmarks import LandmarkDistance
from forethought.training.config import HeadsConfig
from forethought.training.graphs import Graph
from forethought.training.landmarks import draw_map
from forethought.training.learners.base import CriticLearner, Example, HabitLearner, Lesson, Material
from forethought.training.learners.habits import SHARPNESS
from forethought.types import DiscreteSpace, Space

SAMPLE = 10_000  # about so many logged states say how far from a landmark the log goes
AHEAD = 2  # blocks that a candidate action is followed
PATH = 0.2  # as the cost reads plans: what lies on the way counts too


@final
class MapCritic(CriticLearner):
    """Fills the map at once; there is nothing left to learn."""

    def __init__(self, critic: LandmarkDistance, graph: Graph, material: Material) -> None:
        self.critic, self.nothing = critic, torch.zeros((), device=material.device)
        z_ND = material.latents.z_ND
        logged = z_ND[:: max(1, len(z_ND) // SAMPLE)].to(material.device)
        draw_map(critic, graph, material.dynamics, material.actions_KA, logged)

    def flops(self) -> int:
        return 0

    def lesson(self, generator: torch.Generator) -> Lesson:
        return Lesson(self.nothing, {})


@final
class MapHabit(HabitLearner):
    """From and to any two places: the candidates' mean by exp(-6 x cost of two blocks of each), the best alone if discrete."""

    def __init__(self, critic: LandmarkDistance, space: Space, material: Material, config: HeadsConfig) -> None:
        self.critic, self.space, self.material, self.count = critic, space, material, config.batch_size // 8

    def flops(self, shown: int) -> tuple[int, int]:
        ways = AHEAD * len(self.material.actions_KA)
        one = meter.rolled(self.material.dynamics).of(ways) + meter.of(self.critic, ways)
        return self.count * one, self.count

    @torch.no_grad()
    def example(self, lesson: Lesson, generator: torch.Generator) -> Example:
        z, goal = self.material.places.pairs(self.count, generator)
        dynamics, actions = self.material.dynamics, self.material.actions_KA
        blocks = actions[None, :, None].expand(len(z), -1, AHEAD, -1)
        way = dynamics.imagine(z, dynamics.initial_memory(z), blocks)
        left_BKH = self.critic.to_goals(way.flatten(1, 2), goal).view(way.shape[:3])
        cost_BK = left_BKH[..., -1] + PATH * left_BKH.sum(-1)
        share = torch.softmax(-(cost_BK - cost_BK.amin(-1, keepdim=True)) * SHARPNESS, -1)
        best = actions[share.argmax(-1)] if isinstance(self.space, DiscreteSpace) else share @ actions
        return Example(z, goal, best, best.new_ones(len(z)))
