"""Temporal straightening (2603.12231): latent paths with few bends are easier to plan along."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def curvature(state_BTE: Tensor) -> Tensor:
    """1 - cosine between successive latent velocities, averaged; a scalar in [0, 2]. Needs T >= 3."""
    velocity = state_BTE[:, 1:] - state_BTE[:, :-1]
    return (1 - functional.cosine_similarity(velocity[:, 1:], velocity[:, :-1], dim=-1, eps=1e-6)).mean()
