"""What the agent may not do: ways are checked against its guardrails before they are taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.costs.combine import Guarded
from forethought.costs.cost import Cost
from forethought.costs.guardrail import Rail
from forethought.types import Belief
from forethought.world_model import LatentWorldModel


@final
@dataclass(frozen=True)
class Guard:
    """The guardrails of an agent; without any, everything is allowed and nothing is computed."""

    rails: tuple[Rail, ...] = ()

    def over(self, cost: Cost) -> Cost:
        """The cost with every guardrail before it."""
        return Guarded(cost, self.rails) if self.rails else cost

    def breach(self, belief: Belief, path_HD: Tensor) -> str:
        """Which guardrail an imagined path breaks first, and when; "" if it keeps them all."""
        found = [(self._first(rail, belief, path_HD), index) for index, rail in enumerate(self.rails)]
        block, index = min((f for f in found if f[0]), default=(0, 0))
        if not block:
            return ""
        rail = self.rails[index]
        if not rail.here(belief.z_BD):
            return f"'{rail.guardrail.holds}' does not hold here, as the probe reads it"
        within = "1 block" if block == 1 else f"{block} blocks"
        return f"'{rail.guardrail.holds}' would be broken within {within} at {100 * rail.guardrail.confidence:g} %"

    def ahead(self, model: LatentWorldModel, belief: Belief, actions_HA: Tensor) -> tuple[str, int]:
        """The breach of a plan in hand, imagined anew from what is believed now, and passes through the predictor."""
        if not self.rails:
            return "", 0
        return self.breach(belief, model.imagine(belief, actions_HA[None, None]).z_BSHD[0, 0]), len(actions_HA)

    def allowed(self, z_ND: Tensor) -> Tensor:
        """Where all guardrails can be kept for a block, (N,)."""
        kept = [rail.at(z_ND) <= 0 for rail in self.rails]
        return torch.stack(kept).all(0) if kept else torch.ones(len(z_ND), dtype=torch.bool, device=z_ND.device)

    def outside(self, goal_BD: Tensor | None) -> str:
        """The first guardrail that being at the goal would break, "" for none."""
        if goal_BD is None:
            return ""
        return next((rail.guardrail.holds for rail in self.rails if not float(rail.at(goal_BD).max()) <= 0), "")

    @staticmethod
    def _first(rail: Rail, belief: Belief, path_HD: Tensor) -> int:
        """The first block (from 1) whose excess is not at most 0, NaN included; 0 for none."""
        bad_H = ~(rail.by_block(belief.z_BD, path_HD[None, None])[0, 0] <= 0)
        return int(bad_H.int().argmax()) + 1 if bool(bad_H.any()) else 0
