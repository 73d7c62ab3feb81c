"""Any mix of named sensors: one body each, concatenated, then the two heads. Also the wrapper for a user's frozen module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from forethought.errors import UsageError
from forethought.perception.encoder import Encoder
from forethought.perception.heads import TwoHeads


@final
class SensorEncoder(Encoder):
    """Bodies by sensor name, each (B, ...) -> (B, features); several are fused by one layer before the heads."""

    def __init__(self, bodies: Mapping[str, nn.Module], features: int, scene_size: int, state_size: int) -> None:
        super().__init__()
        self.names = tuple(bodies)
        self.bodies = nn.ModuleList(bodies.values())  # a list: sensor names may hold dots, which module names may not
        self.fuse = nn.Sequential(nn.Linear(len(bodies) * features, features), nn.SiLU()) if len(bodies) > 1 else nn.Identity()
        self.heads = TwoHeads(features, scene_size, state_size)
        self.scene_size, self.latent_size = scene_size, scene_size + state_size

    def features(self, observation: Mapping[str, Tensor]) -> Tensor:
        """What enters the heads, (B, features): each row depends on its own observation alone, so ranks can share the work."""
        parts = [body(observation[name]) for name, body in zip(self.names, self.bodies, strict=True)]
        fused: Tensor = self.fuse(torch.cat(parts, -1))
        return fused

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        z_BD: Tensor = self.heads(self.features(observation))
        return z_BD


@final
class Frozen(nn.Module):
    """A user's own module as a body: never trained, its output (B, n) mapped to features by one trained layer."""

    def __init__(self, module: nn.Module, output_size: int, features: int) -> None:
        super().__init__()
        self.module = module.requires_grad_(False)
        self.output_size = output_size
        self.adapt = nn.Linear(output_size, features)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.module.eval()
        return self

    @staticmethod
    def output_of(module: nn.Module, reading: Tensor) -> int:
        """The n of the (B, n) that a module gives for a reading. Raises UsageError for any other shape."""
        mode = module.training
        with torch.no_grad():
            out: Tensor = module.eval()(_single(reading))
        module.train(mode)
        if out.ndim != 2:
            raise UsageError(f"the frozen module gave {tuple(out.shape)}, expected (batch, n); flatten or pool its output")
        return out.shape[-1]

    def forward(self, reading: Tensor) -> Tensor:
        with torch.no_grad():
            out = self.module(_single(reading))
        if out.ndim != 2 or out.shape[-1] != self.output_size:
            raise UsageError(
                f"the frozen module gave {tuple(out.shape)}, expected (batch, {self.output_size}); pass its true size"
            )
        features: Tensor = self.adapt(out)
        return features


def _single(reading: Tensor) -> Tensor:
    """Floating-point readings as float32, whatever the log's precision."""
    return reading.float() if reading.is_floating_point() else reading
