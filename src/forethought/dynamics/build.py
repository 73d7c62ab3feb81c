"""From a configuration to a dynamics. A new family is one new file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, final

from forethought.config import Count, OneOf
from forethought.dynamics.base import Dynamics
from forethought.dynamics.gru import GRUDynamics
from forethought.dynamics.momentum import MomentumMLP
from forethought.dynamics.residual_mlp import ResidualMLP
from forethought.dynamics.transformer import TransformerDynamics
from forethought.errors import unknown_name

FAMILIES: dict[str, Callable[[int, int, int, int, int], Dynamics]] = {
    "residual_mlp": ResidualMLP,
    "momentum": MomentumMLP,
    "gru": GRUDynamics,
    "transformer": TransformerDynamics,
}


@final
@dataclass(frozen=True)
class Architecture:
    """`family` names the dynamics; `width` of its layers, `depth` how many (the GRU: of its head)."""

    family: Annotated[str, OneOf("dynamics", FAMILIES)] = "residual_mlp"
    width: Count = 256
    depth: Count = 3


def build_dynamics(architecture: Architecture, latent_size: int, scene_size: int, action_size: int) -> Dynamics:
    """A fresh dynamics; action_size is that of one block. Raises UsageError for an unknown family.

    >>> build_dynamics(Architecture("gru", width=32), 16, 4, 2).memory_size
    32
    """
    if architecture.family not in FAMILIES:
        raise unknown_name("dynamics", architecture.family, FAMILIES)
    return FAMILIES[architecture.family](latent_size, scene_size, action_size, architecture.width, architecture.depth)
