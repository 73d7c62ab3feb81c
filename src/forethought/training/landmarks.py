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
from forethought.training.graphs import UNREACHED, Graph, imagine_graph, mean_gap
from forethought.training.heads import candidate_actions
from forethought.training.latents import Latents
from forethought.training.seeds import generator_for
from forethought.types import Space

CANDIDATES = 20  # logged states looked at for each landmark
SNAP = 0.8  # of the mean gap: how near a landmark an imagined block must end; landmarks lie evenly, so few are missed
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


def landmark_graph(dynamics: Dynamics, state_NE: Tensor, actions_KA: Tensor, reach: int) -> Graph:
    """One graph (G = 1) of the landmarks, with edges as everywhere (`graphs.imagine_graph`)."""
    return imagine_graph(dynamics, state_NE[None, 0, :0], state_NE[None], actions_KA, reach, SNAP)


@torch.inference_mode()
def draw_map(critic: LandmarkDistance, graph: Graph, dynamics: Dynamics, actions_KA: Tensor, seen_PE: Tensor) -> None:
    """Fill the critic from the graph; `seen_PE` are logged states, which say how far from a landmark the log goes."""
    state_NE = graph.state_GNE[0]
    reach = torch.cdist(seen_PE, state_NE).min(-1).values.quantile(SEEN)
    distance_NN, move = graph.distance_GNN[0], mean_move(dynamics, state_NE, actions_KA)
    farthest = distance_NN[distance_NN < UNREACHED].max()  # where no way is known, it is long, but weights still mix
    critic.draw(state_NE, distance_NN.clamp_max(2 * farthest), mean_gap(state_NE[None]), move, reach)


def mean_move(dynamics: Dynamics, state_NE: Tensor, actions_KA: Tensor) -> Tensor:
    """Mean latent distance that a block covers, scalar."""
    action = actions_KA.repeat(len(state_NE) // len(actions_KA) + 1, 1)[: len(state_NE)]
    after, _ = dynamics.step(state_NE, dynamics.initial_memory(state_NE), action)
    moved: Tensor = (after - state_NE).norm(dim=-1).mean()
    return moved
