"""The proposal contract: where candidate action sequences come from, and how a method learns from their costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import torch
from torch import Tensor

from forethought.types import Belief, Target

SearchT = TypeVar("SearchT")


@runtime_checkable
class Proposal(Protocol):
    """Anything that can propose action sequences: a habit, a memory, noise."""

    def propose(self, belief: Belief, target: Target, num_samples: int, horizon: int, generator: torch.Generator) -> Tensor:
        """Candidate sequences (1, S, H, A) for one episode (the belief's batch is 1)."""


class SearchMethod(Protocol, Generic[SearchT]):
    """A planner method (CEM, iCEM, MPPI ...): a distribution over sequences as a value, sampled and updated by the loop."""

    def init(self, mean_HA: Tensor) -> SearchT:
        """The search state around a warm start."""

    def sample(self, search: SearchT, num_samples: int, generator: torch.Generator) -> Tensor:
        """Candidates (S, H, A) from the search state."""

    def update(self, search: SearchT, actions_SHA: Tensor, cost_S: Tensor) -> SearchT:
        """The search state after seeing the costs (already free of NaN: those are +inf)."""


class GradientMethod(ABC, Generic[SearchT]):
    """A search method that learns from the costs' gradients; the loop then differentiates through `imagine`."""

    @abstractmethod
    def init(self, mean_HA: Tensor) -> SearchT:
        """The search state around a warm start."""

    @abstractmethod
    def sample(self, search: SearchT, num_samples: int, generator: torch.Generator) -> Tensor:
        """Candidates (S, H, A) from the search state."""

    @abstractmethod
    def descend(self, search: SearchT, actions_SHA: Tensor, cost_S: Tensor, gradient_SHA: Tensor) -> SearchT:
        """The search state after seeing costs and gradients; the last rows of `actions_SHA` are what `sample` gave."""


Method: TypeAlias = SearchMethod[Any] | GradientMethod[Any]
"""Whatever `search` can run."""
