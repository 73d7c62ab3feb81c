"""How long an error of one block is, in the largest that is ordinary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from forethought.dynamics.base import Dynamics
from forethought.surprise.monitor import Monitor


@final
@dataclass(frozen=True)
class Ruler:
    """Errors of one block in the errors that held-out imagination makes. `ordinary`: what 95 % of those do not exceed."""

    root_EE: Tensor
    ordinary: float
    scene_size: int

    @staticmethod
    def of(monitor: Monitor, device: torch.device) -> Ruler:
        """The monitor's own."""
        precision = torch.from_numpy(monitor.signals.precision_GEE[0]).double()
        root = torch.linalg.cholesky(precision).float().to(device)
        return Ruler(root, monitor.horizons[0].quantile(0.95), monitor.signals.scene_size)

    def length(self, off_ND: Tensor) -> Tensor:
        """Of differences of latents, (N,)."""
        length: Tensor = (off_ND[:, self.scene_size :] @ self.root_EE).norm(dim=1)
        return length

    def errors(self, dynamics: Dynamics, before_ND: Tensor, memory_NM: Tensor, block_NA: Tensor, after_ND: Tensor) -> Tensor:
        """Of moves, (N,); 1: the largest ordinary one."""
        imagined, _ = dynamics.step(before_ND, memory_NM, block_NA)
        return self.length(imagined - after_ND) / self.ordinary
