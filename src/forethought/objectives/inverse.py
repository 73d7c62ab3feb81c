"""Inverse dynamics: which action led from here to there? It keeps in the latent what the agent can change."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn


@final
class InverseHead(nn.Module):
    """Two successive states (N, E) to the action block between them (N, A)."""

    def __init__(self, state_size: int, action_size: int, width: int = 128) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2 * state_size, width), nn.SiLU(), nn.Linear(width, action_size))

    def forward(self, before_NE: Tensor, after_NE: Tensor) -> Tensor:
        action: Tensor = self.net(torch.cat([before_NE, after_NE], -1))
        return action


def inverse_error(head: InverseHead, state_BTE: Tensor, actions_BTA: Tensor) -> Tensor:
    """Mean squared error of the recovered action blocks; a scalar."""
    recovered: Tensor = head(state_BTE[:, :-1], state_BTE[:, 1:])
    return (recovered - actions_BTA).square().mean()
