"""Raw latent distance to the goal: what published planners search on, and the weak part (kept as a rival and a floor)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from forethought.errors import UsageError
from forethought.types import Rollout, Target


@final
@dataclass(frozen=True)
class GoalDistance:
    """Squared distance of the state parts at the last step, or, for a goal that need only be passed, where the path comes
    nearest; `path_weight` adds its mean over the path.
    """

    path_weight: float = 0.0
    passing: bool = False

    def __call__(self, rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
        if target.z_BD is None:
            raise UsageError("GoalDistance needs a goal with a latent; got a reward goal. Use a reward cost")
        start = rollout.start.scene_size
        gap_BSH = (rollout.z_BSHD[..., start:] - target.z_BD[:, None, None, start:]).square().mean(-1)
        cost_BS = gap_BSH.amin(-1) if self.passing else gap_BSH[..., -1]
        return cost_BS + self.path_weight * gap_BSH.mean(-1) if self.path_weight else cost_BS
