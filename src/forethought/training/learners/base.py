"""The seam of the heads: how a critic is learned, and where a habit's examples come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar, final

import torch
from torch import Tensor, nn

from forethought.costs.temporal import Critic
from forethought.dynamics.base import Dynamics
from forethought.training.latents import Latents
from forethought.training.learners.places import Places


@final
@dataclass(frozen=True)
class Material:
    """What there is to learn from: the log's latents, the frozen dynamics, candidate blocks (K, A), places to start from."""

    latents: Latents
    dynamics: Dynamics
    actions_KA: Tensor
    places: Places

    @property
    def device(self) -> torch.device:
        return self.actions_KA.device


@final
@dataclass(frozen=True)
class Example:
    """What a habit should do: action blocks (B, A) at z_BD for goal_BD, by weight."""

    z_BD: Tensor
    goal_BD: Tensor
    action_BA: Tensor
    weight_B: Tensor


@final
@dataclass(frozen=True)
class Lesson:
    """One update's loss and figures; `example`, if learning the critic has shown good actions by the way."""

    loss: Tensor
    metrics: Mapping[str, Tensor]
    example: Example | None = None


class CriticLearner(ABC):
    """One way of learning a critic. An update depends on the modules and the generator alone, so that it can be resumed."""

    critic: Critic

    @abstractmethod
    def lesson(self, generator: torch.Generator) -> Lesson:
        """One update's loss."""

    @abstractmethod
    def flops(self) -> int:
        """FLOPs of a lesson, forward and backward."""

    def shown(self) -> int:
        """Rows of the example that every lesson shows by the way."""
        return 0

    def modules(self) -> Mapping[str, nn.Module]:
        """All that a checkpoint holds: the critic, and what it is learned with."""
        return {"critic": self.critic}

    def trained(self) -> list[nn.Parameter]:
        """What the optimizer moves."""
        return list(self.critic.parameters())

    def after_update(self) -> None:  # noqa: B027
        """Targets and multipliers."""


class HabitLearner(ABC):
    """Where a habit's examples come from."""

    @abstractmethod
    def example(self, lesson: Lesson, generator: torch.Generator) -> Example:
        """This update's examples; `lesson` is the critic's of the same update."""

    @abstractmethod
    def flops(self, shown: int) -> tuple[int, int]:
        """FLOPs of making the examples, and how many there are; `shown` of them come with the critic's lesson."""


ModuleT = TypeVar("ModuleT", bound=nn.Module)


def target_of(module: ModuleT) -> ModuleT:
    """A frozen copy, to bootstrap from."""
    return deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow_(target: nn.Module, module: nn.Module, rate: float) -> None:
    """Move a target towards its module by `rate`."""
    for slow, fast in zip(target.parameters(), module.parameters(), strict=True):
        slow.lerp_(fast, rate)


def discounted(blocks: Tensor, discount: float) -> Tensor:
    """Blocks as seen from here, (1 - discount^d) / (1 - discount): near ones count fully, far ones hardly differ."""
    return (1 - discount**blocks) / (1 - discount)
