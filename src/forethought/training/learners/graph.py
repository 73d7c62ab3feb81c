"""The critic by regression on exact shortest paths of imagined graphs (`training/graphs.py`)."""

from __future__ import annotations

from typing import final

import torch
from torch.nn import functional

from forethought.agent import meter
from forethought.costs.temporal import Critic
from forethought.training.config import HeadsConfig
from forethought.training.graphs import UNREACHED, Graph
from forethought.training.learners.base import CriticLearner, Lesson


@final
class GraphCritic(CriticLearner):
    """Any two nodes of a scene; pairs with no way between them are left out: no way found is not a distance."""

    def __init__(self, critic: Critic, graph: Graph, config: HeadsConfig) -> None:
        self.critic, self.graph, self.config = critic, graph, config

    def flops(self) -> int:
        return meter.work(self.critic).learned(self.config.batch_size)

    def lesson(self, generator: torch.Generator) -> Lesson:
        count, (scenes, nodes, _) = self.config.batch_size, self.graph.state_GNE.shape
        g = torch.randint(scenes, (count,), generator=generator)
        i, j = torch.randint(nodes, (2, count), generator=generator)
        j[: count // 32] = i[: count // 32]  # the goal itself is no distance away
        scene, distance = self.graph.scene_GC[g], self.graph.distance_GNN[g, i, j]
        z, goal = torch.cat([scene, self.graph.state_GNE[g, i]], -1), torch.cat([scene, self.graph.state_GNE[g, j]], -1)
        known, wanted = (distance < UNREACHED).float(), distance.clamp_max(self.config.limit)
        guess = self.critic(z, goal)
        error = functional.smooth_l1_loss(guess / 10, wanted / 10, reduction="none") * 10
        off = (guess.detach() - wanted).abs()
        whole = known.sum().clamp_min(1)
        return Lesson((error * known).sum() / whole, {"off": (off * known).sum() / whole})
