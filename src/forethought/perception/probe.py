"""A probe: what a latent knows of quantities that have names. It reads frozen latents and trains nothing but itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn


@final
@dataclass(frozen=True)
class PathErrors:
    """How far quantities of held-out episodes strayed from what the probe read off the imagined path; what guardrails widen by.

    score_EHQ2: the most that any frame of block h + 1 lay below (0) or above (1) the straight line between the probe's
    readings at that block's two ends, over all imagined paths of a stretch, E stretches of `stretch` steps (an episode, or a
    piece of one); scale_HQ2: what is usual of it in training; `frames`: steps of a block.
    """

    score_EHQ2: Tensor
    scale_HQ2: Tensor
    frames: int
    stretch: int


@final
class Probe(nn.Module):
    """Latents (..., D) to named quantities (..., Q), in the log's own units.

    `remembered_MD` are latents of the log: a goal that is a predicate looks among them for places where it is true.
    `errors`: its errors along imagined paths, for guardrails; None where nobody has measured them.
    """

    mean_Q: Tensor
    deviation_Q: Tensor
    remembered_MD: Tensor
    errors: PathErrors | None

    def __init__(self, latent_size: int, names: tuple[str, ...], width: int = 128, remembered: int = 0) -> None:
        super().__init__()
        self.names, self.errors = names, None
        self.register_buffer("mean_Q", torch.zeros(len(names)))
        self.register_buffer("deviation_Q", torch.ones(len(names)))
        self.register_buffer("remembered_MD", torch.zeros(remembered, latent_size))
        self.net = nn.Sequential(
            nn.Linear(latent_size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, len(names))
        )

    def standard(self, z_ND: Tensor) -> Tensor:
        """The quantities in deviations from their mean: what training compares."""
        scaled: Tensor = self.net(z_ND)
        return scaled

    def forward(self, z_ND: Tensor) -> Tensor:
        return self.mean_Q + self.deviation_Q * self.standard(z_ND)
