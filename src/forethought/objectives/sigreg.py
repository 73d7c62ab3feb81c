"""SIGReg (2511.08544): every one-dimensional projection of the latents should look like a unit Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor

KNOTS = 17


def sigreg(z_ND: Tensor, generator: torch.Generator, num_directions: int = 256) -> Tensor:
    """Epps-Pulley statistic, averaged over random unit directions; a scalar that grows with N for non-Gaussian latents.

    The integral over t in [0, 3] of ((mean cos tx - e^{-t^2/2})^2 + (mean sin tx)^2) e^{-t^2/2}, times N, by the trapezoid
    rule. The mean runs over all rows given, so data-parallel callers gather the latents first.
    """
    directions = torch.randn(z_ND.shape[-1], num_directions, generator=generator).to(z_ND)
    projected_NM = z_ND @ (directions / directions.norm(dim=0, keepdim=True))
    knots_K = torch.linspace(0, 3, KNOTS, device=z_ND.device, dtype=z_ND.dtype)
    angle_KNM = knots_K.view(-1, 1, 1) * projected_NM
    normal_K1 = torch.exp(-knots_K.square() / 2).unsqueeze(1)
    error_KM = (angle_KNM.cos().mean(1) - normal_K1).square() + angle_KNM.sin().mean(1).square()
    return torch.trapezoid(error_KM * normal_K1, knots_K, dim=0).mean() * z_ND.shape[0]
