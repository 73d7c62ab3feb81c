"""VICReg's variance and covariance terms (2105.04906), the other way to keep a latent from collapsing."""

from __future__ import annotations

import torch
from torch import Tensor


def vicreg(z_ND: Tensor, covariance_weight: float = 0.04) -> Tensor:
    """Hinge on each dimension's deviation at 1, plus the weighted squared off-diagonal covariance; a scalar."""
    centred = z_ND - z_ND.mean(0)
    deviation = (centred.square().mean(0) + 1e-4).sqrt()
    covariance = centred.T @ centred / max(1, len(z_ND) - 1)
    off_diagonal = covariance - torch.diag(torch.diagonal(covariance))
    return (1 - deviation).clamp_min(0).mean() + covariance_weight * off_diagonal.square().sum() / z_ND.shape[1]
