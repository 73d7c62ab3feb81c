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
    """Edges from `reach` blocks of each constant candidate action; landing within `snap` x the mean gap of nodes counts.

    The gap is to the second neighbour: near-duplicates would shrink the first, and leave neighbours without an edge.
    """
    scenes, nodes, _ = state_GNE.shape
    count = len(actions_KA)
    z_GNKD = torch.cat([scene_GC[:, None].expand(-1, nodes, -1), state_GNE], -1)[:, :, None].expand(-1, -1, count, -1)
    z, action = z_GNKD.reshape(scenes * nodes * count, -1), actions_KA.repeat(scenes * nodes, 1)
    distance = torch.full((scenes, nodes, nodes), UNREACHED, device=z.device)
    limit = snap * _gap(state_GNE)
    origin = (torch.arange(scenes)[:, None] * nodes + torch.arange(nodes).repeat_interleave(count)[None]) * nodes
    origin, memory = origin.to(z.device), dynamics.initial_memory(z)
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
    own = torch.eye(state_GNE.shape[1], device=state_GNE.device) * UNREACHED
    nearest = (torch.cdist(state_GNE, state_GNE) + own).topk(2, largest=False).values
    return nearest[..., -1].mean()


@torch.inference_mode()
def reachable_states(
    dynamics: Dynamics,
    scene_GC: Tensor,
    own_GTE: Tensor,
    pool_PE: Tensor,
    count: int,
    actions_KA: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """`count` states a scene that can be there, (G, count, E): seen in that episode, then wandered on in imagination.

    Up to 8 legs of 4 blocks of one action each, snapped to a real state after every leg, which removes drift. States drawn
    blindly from other episodes would stand inside this scene's walls and be stepping stones through them.
    """
    scenes, size = len(scene_GC), own_GTE.shape[-1]
    device = own_GTE.device  # the random stream stays on the CPU, the same for every device
    picked = torch.randint(own_GTE.shape[1], (scenes, count, 1), generator=generator).expand(-1, -1, size).to(device)
    state, scene = own_GTE.gather(1, picked), scene_GC[:, None].expand(-1, count, -1)
    legs = torch.randint(0, 9, (scenes, count), generator=generator).to(device)
    for leg in range(8):
        action = actions_KA[torch.randint(len(actions_KA), (scenes * count,), generator=generator).to(device)]
        z = torch.cat([scene, state], -1).flatten(0, 1)
        memory = dynamics.initial_memory(z)
        for _ in range(4):
            z, memory = dynamics.step(z, memory, action)
        landed = pool_PE[torch.cdist(z[:, -size:], pool_PE).argmin(-1)].view_as(state)
        state = torch.where((leg < legs)[..., None], landed, state)
    return state
