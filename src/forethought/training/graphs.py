"""Imagined graphs: exact value iteration on sampled states, with edges from the world model alone.

For one scene, N states (from any episode) are the nodes; candidate actions are imagined for a few blocks from each, and
where they land near another node there is an edge. All shortest paths follow exactly (Floyd 1962), so no bootstrapping:
what a critic would have to learn from its own guesses is computed, and then only regressed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.dynamics.base import Dynamics

UNREACHED = 1e4


@final
@dataclass(frozen=True)
class Graph:
    """G scenes of N nodes: scene_GC, state_GNE, blocks from node to node distance_GNN (>= UNREACHED: no way known)."""

    scene_GC: Tensor
    state_GNE: Tensor
    distance_GNN: Tensor


@torch.inference_mode()
def imagine_graph(
    dynamics: Dynamics, scene_GC: Tensor, state_GNE: Tensor, actions_KA: Tensor, reach: int, snap: float = 1.3
) -> Graph:
    """Edges from `reach` blocks of each constant candidate action; landing within `snap` x the mean gap of nodes counts."""
    scenes, nodes, _ = state_GNE.shape
    count = len(actions_KA)
    z_GNKD = torch.cat([scene_GC[:, None].expand(-1, nodes, -1), state_GNE], -1)[:, :, None].expand(-1, -1, count, -1)
    z, action = z_GNKD.reshape(scenes * nodes * count, -1), actions_KA.repeat(scenes * nodes, 1)
    distance = torch.full((scenes, nodes, nodes), UNREACHED)
    limit = snap * _gap(state_GNE)
    origin = (torch.arange(scenes)[:, None] * nodes + torch.arange(nodes).repeat_interleave(count)[None]) * nodes
    memory = dynamics.initial_memory(z)
    for blocks in range(1, reach + 1):
        z, memory = dynamics.step(z, memory, action)
        landed = z[:, scene_GC.shape[-1] :].reshape(scenes, nodes * count, -1)
        gap, node = torch.cdist(landed, state_GNE).min(-1)
        length = torch.where(gap < limit, float(blocks), UNREACHED)
        distance.view(-1).scatter_reduce_(0, (origin + node).reshape(-1), length.reshape(-1), "amin")
    distance.diagonal(dim1=1, dim2=2).zero_()
    return Graph(scene_GC, state_GNE, shortest_paths_(distance))


def shortest_paths_(distance_GNN: Tensor) -> Tensor:
    """All shortest paths, in place (Floyd 1962)."""
    for middle in range(distance_GNN.shape[-1]):
        through = distance_GNN[:, :, middle, None] + distance_GNN[:, middle, None, :]
        torch.minimum(distance_GNN, through, out=distance_GNN)
    return distance_GNN


def _gap(state_GNE: Tensor) -> Tensor:
    own = torch.eye(state_GNE.shape[1]) * UNREACHED
    return (torch.cdist(state_GNE, state_GNE) + own).min(-1).values.mean()
