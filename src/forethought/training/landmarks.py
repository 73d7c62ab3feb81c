"""Where the scene never changes, all of the log is one place: a map of landmarks spread evenly over it.

The landmarks are logged states, each as far as can be from those before it, so narrow ways and rarely seen corners have
theirs. Edges are imagined from every landmark, and all shortest paths follow exactly, as in `graphs`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from forethought.costs.landmarks import LandmarkDistance
from forethought.dynamics.base import Dynamics
from forethought.errors import ConfigError
from forethought.training.alike import spread
from forethought.training.config import TrainConfig
from forethought.training.graphs import UNREACHED, Graph, edge_length, shortest_paths_
from forethought.training.heads import candidate_actions
from forethought.training.latents import Latents
from forethought.training.seeds import generator_for
from forethought.types import Space

CHUNK = 64  # landmarks imagined from at a time
CANDIDATES = 20  # logged states looked at for each landmark
SNAP = 1.3  # of the mean gap: how near a landmark an imagined block must end
SEEN = 0.999  # the share of logged states that counts as on the map


def graph_of_log(latents: Latents, dynamics: Dynamics, space: Space, config: TrainConfig) -> Graph:
    """The graph of landmarks all over the log. Raises ConfigError where the latent has a scene part."""
    if latents.scene_size:
        raise ConfigError(
            f"heads.critic = map draws one map of one scene, but encoder.scene_size is {latents.scene_size}; set it to 0, "
            "or use critic 'graph'"
        )
    device, generator = next(dynamics.parameters()).device, generator_for(config.seed, "candidates")
    actions = candidate_actions(space, latents.frameskip, config.heads.candidates, generator).to(device)
    looked_at = (CANDIDATES * config.heads.landmarks,)
    pool = latents.z_ND[torch.randint(len(latents.z_ND), looked_at, generator=generator_for(config.seed, "graphs"))].to(device)
    return landmark_graph(dynamics, pool[spread(pool[None], config.heads.landmarks)[0]], actions, config.heads.reach)


@torch.inference_mode()
def landmark_graph(dynamics: Dynamics, state_NE: Tensor, actions_KA: Tensor, reach: int) -> Graph:
    """One graph (G = 1): an edge where up to `reach` blocks of one candidate action end near another landmark.

    Its length is the blocks, and what the rest of the way would take at the mean speed: snapping is not a free ride.
    """
    nodes, count = len(state_NE), len(actions_KA)
    distance_NN = torch.full((nodes, nodes), UNREACHED, device=state_NE.device)
    limit, move = SNAP * mean_gap(state_NE), mean_move(dynamics, state_NE, actions_KA)
    for first in range(0, nodes, CHUNK):
        z = state_NE[first : first + CHUNK].repeat_interleave(count, 0)
        origin = torch.arange(first, first + len(z) // count, device=z.device).repeat_interleave(count)
        action, memory = actions_KA.repeat(len(z) // count, 1), dynamics.initial_memory(z)
        for blocks in range(1, reach + 1):
            z, memory = dynamics.step(z, memory, action)
            gap, node = torch.cdist(z, state_NE).min(-1)
            length = edge_length(blocks, gap, limit, move)
            distance_NN.view(-1).scatter_reduce_(0, origin * nodes + node, length, "amin")
    distance_NN.fill_diagonal_(0)
    return Graph(state_NE[None, 0, :0], state_NE[None], shortest_paths_(distance_NN[None]))


@torch.inference_mode()
def draw_map(critic: LandmarkDistance, graph: Graph, dynamics: Dynamics, actions_KA: Tensor, seen_PE: Tensor) -> None:
    """Fill the critic from the graph; `seen_PE` are logged states, which say how far from a landmark the log goes."""
    state_NE = graph.state_GNE[0]
    reach = torch.cdist(seen_PE, state_NE).min(-1).values.quantile(SEEN)
    distance_NN, move = graph.distance_GNN[0], mean_move(dynamics, state_NE, actions_KA)
    farthest = distance_NN[distance_NN < UNREACHED].max()  # where no way is known, it is long, but weights still mix
    critic.draw(state_NE, distance_NN.clamp_max(2 * farthest), mean_gap(state_NE), move, reach)


def mean_gap(state_NE: Tensor) -> Tensor:
    """Mean distance from a landmark to its second neighbour, scalar."""
    apart = torch.cdist(state_NE, state_NE).fill_diagonal_(torch.inf)
    return apart.topk(min(2, len(apart) - 1), largest=False).values[:, -1].mean()


def mean_move(dynamics: Dynamics, state_NE: Tensor, actions_KA: Tensor) -> Tensor:
    """Mean latent distance that a block covers, scalar."""
    action = actions_KA.repeat(len(state_NE) // len(actions_KA) + 1, 1)[: len(state_NE)]
    after, _ = dynamics.step(state_NE, dynamics.initial_memory(state_NE), action)
    moved: Tensor = (after - state_NE).norm(dim=-1).mean()
    return moved
