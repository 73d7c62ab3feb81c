"""A critic that is a map: landmarks, the exact distances between them, and interpolation. Nothing is regressed."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from forethought.costs.temporal import Critic

NEIGHBOURS = 4
OFF_THE_MAP = 1000.0  # blocks that one block's move beyond anything seen counts for


@final
class LandmarkDistance(Critic):
    """d(z, g) = sum_ij w_i(z) w_j(g) D_ij over the four landmarks nearest to each, with w a softmax of squared distance.

    Within one block's move of the goal the latent distance itself is the measure, so that d(g, g) = 0. A network smooths a
    distance across walls that are thin beside the maze; a map does not. And it knows its edge: farther from every landmark
    than logged states are (and than the goal is), imagination is not to be trusted, and the way counts as very long.
    For latents without a scene part.
    """

    landmark_NE: Tensor
    distance_NN: Tensor
    width: Tensor
    move: Tensor
    reach: Tensor

    def __init__(self, latent_size: int, count: int) -> None:
        super().__init__()
        self.register_buffer("landmark_NE", torch.zeros(count, latent_size))
        self.register_buffer("distance_NN", torch.zeros(count, count))
        self.register_buffer("width", torch.ones(()))
        self.register_buffer("move", torch.ones(()))
        self.register_buffer("reach", torch.ones(()))

    @torch.no_grad()
    def draw(self, landmark_NE: Tensor, distance_NN: Tensor, width: Tensor, move: Tensor, reach: Tensor) -> None:
        """Fill the map: landmarks, blocks between them, their mean gap, the latent distance that a block covers, and how far
        from a landmark the log goes."""
        self.landmark_NE.copy_(landmark_NE)
        self.distance_NN.copy_(distance_NN)
        self.width.copy_(width)
        self.move.copy_(move)
        self.reach.copy_(reach)

    def forward(self, z_ND: Tensor, goal_ND: Tensor) -> Tensor:
        """Distances (N,) from latents (N, D) to goals (N, D), in blocks."""
        if len(goal_ND) > 1 and bool((goal_ND == goal_ND[:1]).all()):  # a plan's: the goal is looked up once
            return self.to_goals(z_ND[None], goal_ND[:1])[0]
        return self.to_goals(z_ND[:, None], goal_ND)[:, 0]

    def to_goals(self, z_BMD: Tensor, goal_BD: Tensor) -> Tensor:
        """Distances (B, M) from M latents to each of B goals."""
        near_BM, weight_BMK, index_BMK = self._place(z_BMD)
        goal_near_B, weight_BL, index_BL = self._place(goal_BD)
        table_BMKL = self.distance_NN[index_BMK[..., None], index_BL[:, None, None]]
        mapped_BM = ((table_BMKL * weight_BL[:, None, None]).sum(-1) * weight_BMK).sum(-1)
        direct_BM = (z_BMD - goal_BD[:, None]).norm(dim=-1) / self.move
        off_BM = (near_BM - torch.maximum(self.reach, goal_near_B)[:, None]).clamp_min(0) / self.move
        return torch.where(direct_BM < 1, torch.minimum(direct_BM, mapped_BM), mapped_BM) + OFF_THE_MAP * off_BM

    def _place(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How near the nearest landmark is (...), weights and indices (..., K) of the nearest ones, of latents (..., D)."""
        apart = torch.cdist(z.flatten(0, -2), self.landmark_NE)
        gap, index = apart.topk(min(NEIGHBOURS, len(self.landmark_NE)), largest=False)
        shape = (*z.shape[:-1], gap.shape[-1])
        return gap[:, 0].view(shape[:-1]), torch.softmax(-(gap / self.width).square(), -1).view(shape), index.view(shape)
