"""What keeps a latent from collapsing: a choice of four, by name."""

from __future__ import annotations

import enum

import torch
from torch import Tensor

from forethought.objectives.episode import within_episode_sigreg
from forethought.objectives.sigreg import DIRECTIONS, sigreg
from forethought.objectives.vicreg import vicreg


class Regulariser(enum.Enum):
    """How states are kept apart. A teacher spreads nothing: its targets get no gradient and only lag behind (2006.07733)."""

    EPISODE_SIGREG = "episode-sigreg"  # states minus their episode's mean look Gaussian
    SIGREG = "sigreg"  # all states look Gaussian
    VICREG = "vicreg"  # variance of each number, covariance of each pair
    TEACHER = "teacher"  # predict the latent of a slowly following copy of the encoder


def spread(kind: Regulariser, state_NE: Tensor, group: int, generator: torch.Generator) -> Tensor:
    """The regulariser's loss on states, rows in groups of `group` from one episode each; a scalar, 0 for a teacher."""
    if kind is Regulariser.EPISODE_SIGREG:
        return within_episode_sigreg(state_NE, group, generator)
    if kind is Regulariser.SIGREG:
        return sigreg(state_NE, generator)
    if kind is Regulariser.VICREG:
        return vicreg(state_NE)
    return state_NE.new_zeros(())


def spread_flops(kind: Regulariser, rows: int, size: int) -> int:
    """FLOPs of the regulariser's matrix products, forward and backward."""
    if kind is Regulariser.VICREG:
        return 6 * rows * size * size
    return 0 if kind is Regulariser.TEACHER else 4 * rows * size * DIRECTIONS  # the directions want no gradient
