"""From a kind of critic to its module. How each is learned: `training/learners/`."""

from __future__ import annotations

import enum

from forethought.costs.landmarks import LandmarkDistance
from forethought.costs.quasimetric import Quasimetric
from forethought.costs.temporal import Critic, TemporalDistance


class CriticKind(enum.Enum):
    """How the critic is learned: shortest paths on imagined graphs, n-step value iteration in imagination, an expectile from
    the log, the largest quasimetric that the transitions allow, or the contrast of the future with other states.

    MAP is not learned: where the scene never changes, the graph itself, looked up.
    """

    GRAPH = "graph"
    IMAGINED = "imagined"
    EXPECTILE = "expectile"
    QUASIMETRIC = "quasimetric"
    CONTRASTIVE = "contrastive"
    MAP = "map"


def build_critic(
    kind: CriticKind, latent_size: int, scene_size: int, width: int, depth: int, limit: float, landmarks: int = 1000
) -> Critic:
    """A fresh critic; `limit` is the most blocks that one of a bounded kind can say, `landmarks` how many a map holds."""
    if kind is CriticKind.MAP:
        return LandmarkDistance(latent_size, landmarks)
    if kind in (CriticKind.QUASIMETRIC, CriticKind.CONTRASTIVE):
        return Quasimetric(latent_size, scene_size, width, depth)
    return TemporalDistance(latent_size, scene_size, width, depth, limit)
