"""How many dimensions a latent really uses."""

from __future__ import annotations

import torch
from torch import Tensor


def effective_rank(z_ND: Tensor) -> Tensor:
    """exp(entropy of the normalised singular values) of the centred latents (Roy and Vetterli 2007); a scalar in [1, D]."""
    values = torch.linalg.svdvals(z_ND.detach() - z_ND.detach().mean(0))
    share = values / values.sum().clamp_min(1e-12)
    return torch.exp(-(share * share.clamp_min(1e-12).log()).sum())
