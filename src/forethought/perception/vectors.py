"""Encoders of what is not an image: state vectors and discrete tokens."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn


@final
class VectorNet(nn.Module):
    """Vectors (B, n) to features (B, F): normalised by the log's mean and deviation, lifted to sines, then two layers.

    The sines of a few frequencies let two layers resolve small differences of position in a large range (2006.10739).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int, width: int, features: int, frequencies: int = 4) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.frequencies = frequencies
        lifted = size * (1 + 2 * frequencies)
        self.net = nn.Sequential(nn.Linear(lifted, width), nn.SiLU(), nn.Linear(width, features), nn.SiLU())

    def forward(self, vector_BN: Tensor) -> Tensor:
        x = (vector_BN.float() - self.mean) / self.deviation
        scaled = torch.cat([x * 2.0**k for k in range(self.frequencies)], -1) if self.frequencies else x[..., :0]
        features: Tensor = self.net(torch.cat([x, scaled.sin(), scaled.cos()], -1))
        return features


@final
class TokenNet(nn.Module):
    """Tokens (B, n) to features (B, F): one embedding a position, then two layers."""

    def __init__(self, size: int, vocabulary: int, width: int, features: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.table = nn.Embedding(size * vocabulary, max(4, width // size))
        self.net = nn.Sequential(
            nn.Linear(size * max(4, width // size), width), nn.SiLU(), nn.Linear(width, features), nn.SiLU()
        )

    def forward(self, token_BN: Tensor) -> Tensor:
        offsets = torch.arange(token_BN.shape[-1], device=token_BN.device) * self.vocabulary
        features: Tensor = self.net(self.table(token_BN.long() + offsets).flatten(1))
        return features
