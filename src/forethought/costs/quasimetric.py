"""A critic that cannot break the triangle inequality: a metric residual network on embedded latents (2208.08133)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from forethought.costs.temporal import Critic, mlp


@final
class Quasimetric(Critic):
    """d = |e(x) - e(g)| + max_k relu(a_k(x) - a_k(g)), with e and a read from one network.

    Within a scene d(x, x) = 0 and d(x, y) <= d(x, w) + d(w, y), whatever the weights; the second term may differ by direction.
    """

    def __init__(self, latent_size: int, scene_size: int, width: int, depth: int, size: int = 64) -> None:
        super().__init__()
        self.scene_size = scene_size
        self.net = mlp((latent_size, *[width] * depth, 2 * size))

    def forward(self, z_ND: Tensor, goal_ND: Tensor) -> Tensor:
        return self.between(
            self.embed(z_ND), self.embed(torch.cat([z_ND[..., : self.scene_size], goal_ND[..., self.scene_size :]], -1))
        )

    def embed(self, z_ND: Tensor) -> Tensor:
        """Embeddings (N, 2 * size); distances follow from two of them."""
        embedded: Tensor = self.net(z_ND)
        return embedded

    @staticmethod
    def between(from_NE: Tensor, to_NE: Tensor) -> Tensor:
        """Distances (N,) between embeddings, which may broadcast."""
        even, uneven = (from_NE - to_NE).chunk(2, -1)
        distance: Tensor = torch.linalg.vector_norm(even, dim=-1) + uneven.relu().amax(-1)
        return distance
