"""Imagined graphs: exact value iteration on sampled states, with edges from the world model alone.

For one scene, N states (from any episode) are the nodes; candidate actions are imagined for a few blocks from each, and
where they land near another node there is an edge. All shortest paths follow exactly (Floyd 1962), so no bootstrapping:
what a critic would have to learn from its own guesses is computed, and then only regressed.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    dynamics: Dynamics, scene_GC: Tensor, state_GNE: Tensor, actions_KA: Tensor, reach: int, snap: float = 0.6
) -> Graph:
    """Edges from `reach` blocks of each constant candidate action to the node where they land, if it is near and alike.

    Near: within `snap` x the mean gap of nodes, to their second neighbours (near-duplicates would shrink the first). Alike: one
    block more of the same action leads from the landing and from the node to places as near. So no edge steps over a wall
    that is thinner than the nodes lie apart.
    """
    scenes, nodes, size = state_GNE.shape
    count = len(actions_KA)
    z_GNKD = torch.cat([scene_GC[:, None].expand(-1, nodes, -1), state_GNE], -1)[:, :, None].expand(-1, -1, count, -1)
    z, action = z_GNKD.reshape(scenes * nodes * count, -1), actions_KA.repeat(scenes * nodes, 1)
    landed = [s.reshape(scenes, nodes * count, size) for s in _follow(dynamics, z, action, reach + 1, size)]
    move = (landed[0] - state_GNE.repeat_interleave(count, 1)).norm(dim=-1).median()
    distance = torch.full((scenes, nodes, nodes), UNREACHED, device=z.device)
    limit = snap * mean_gap(state_GNE)
    origin = (torch.arange(scenes)[:, None] * nodes + torch.arange(nodes).repeat_interleave(count)[None]) * nodes
    origin, which = origin.to(z.device), torch.arange(count, device=z.device).repeat(nodes)
    for blocks in range(1, reach + 1):
        gap, node = torch.cdist(landed[blocks - 1], state_GNE).min(-1)
        from_node = landed[0].gather(1, (node * count + which)[..., None].expand(-1, -1, size))
        onwards = (landed[blocks] - from_node).norm(dim=-1)
        length = edge_length(blocks, torch.maximum(gap, onwards), limit, move)
        distance.view(-1).scatter_reduce_(0, (origin + node).reshape(-1), length.reshape(-1), "amin")
    distance.diagonal(dim1=1, dim2=2).zero_()
    return Graph(scene_GC, state_GNE, shortest_paths_(distance))


def _follow(dynamics: Dynamics, z_ND: Tensor, action_NA: Tensor, blocks: int, size: int) -> Iterator[Tensor]:
    """The state (N, size) after each block of the same action."""
    memory = dynamics.initial_memory(z_ND)
    for _ in range(blocks):
        z_ND, memory = dynamics.step(z_ND, memory, action_NA)
        yield z_ND[:, -size:]


def edge_length(blocks: int, gap: Tensor, limit: Tensor, move: Tensor) -> Tensor:
    """Blocks to a node, and what is left to it at `move` a block; UNREACHED beyond `limit`.

    Without the rest, shortest paths live off it: each edge would give up to a block's move away for nothing, and the distances
    came out a quarter too short (docs/log.md).
    """
    return torch.where(gap < limit, blocks + gap / move, UNREACHED)


def shortest_paths_(distance_GNN: Tensor) -> Tensor:
    """All shortest paths, in place (Floyd 1962)."""
    for middle in range(distance_GNN.shape[-1]):
        through = distance_GNN[:, :, middle, None] + distance_GNN[:, middle, None, :]
        torch.minimum(distance_GNN, through, out=distance_GNN)
    return distance_GNN


def mean_gap(state_GNE: Tensor) -> Tensor:
    """Mean distance from a node to its second neighbour (near-duplicates would shrink the first), scalar."""
    own = torch.eye(state_GNE.shape[1], device=state_GNE.device) * UNREACHED
    nearest = (torch.cdist(state_GNE, state_GNE) + own).topk(min(2, state_GNE.shape[1] - 1), largest=False).values
    return nearest[..., -1].mean()
