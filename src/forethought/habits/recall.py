"""A habit without a network: do again what worked last time, from nearly here towards nearly there."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor

from forethought.memory.episodic import Episodic, Floats, Worked
from forethought.types import Belief, Plan, Target
from forethought.world_model import LatentWorldModel


@final
class Recall:
    """Looks up `memory`, in latents divided by spread_D. `follow` imagines the way it finds."""

    def __init__(self, memory: Episodic, model: LatentWorldModel, spread_D: Floats) -> None:
        self.memory, self.model, self.spread_D = memory, model, spread_D

    def follow(self, belief: Belief, target: Target, horizon: int, known: int) -> tuple[Tensor, Tensor] | None:
        """The remembered blocks (H, A), at most `horizon`, and where they would lead from here (H, D); None: no memory."""
        if target.z_BD is None:
            return None
        way = self.memory.recall(self._scaled(belief.z_BD), self._scaled(target.z_BD), known)
        if way is None:
            return None
        actions_HA = torch.from_numpy(way.actions_HA[:horizon]).to(belief.z_BD.device)
        return actions_HA, self.model.imagine(belief, actions_HA[None, None]).z_BSHD[0, 0]

    def worked(self, z_BD: Tensor, target: Target, plan: Plan) -> Worked | None:
        """An entry for a plan that was followed from there, and led to success; None for goals without a latent."""
        if target.z_BD is None:
            return None
        here = self._scaled(z_BD)
        stride = float(np.linalg.norm(self._scaled(plan.predicted_HD[:1]) - here))
        return Worked(here, self._scaled(target.z_BD), plan.actions_HA.cpu().numpy(), stride)

    def _scaled(self, z_BD: Tensor) -> Floats:
        scaled: Floats = np.asarray(z_BD[0].cpu().numpy() / self.spread_D, np.float32)
        return scaled
