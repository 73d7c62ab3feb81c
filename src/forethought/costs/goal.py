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
    """Squared distance of the state parts; `path_weight` adds the mean over the path to the last step's."""

    path_weight: float = 0.0

    def __call__(self, rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
        if target.z_BD is None:
            raise UsageError("GoalDistance needs a goal with a latent; got a reward goal. Use a reward cost")
        start = rollout.start.scene_size
        gap_BSH = (rollout.z_BSHD[..., start:] - target.z_BD[:, None, None, start:]).square().mean(-1)
        return gap_BSH[..., -1] + self.path_weight * gap_BSH.mean(-1)
