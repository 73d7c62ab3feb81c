"""An exponential moving average of a module: a teacher that lags behind, or a slow target."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, rate: float) -> None:
    """teacher += rate * (student - teacher), for parameters; buffers are copied."""
    for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
        slow.lerp_(fast, rate)
    for kept, given in zip(teacher.buffers(), student.buffers(), strict=True):
        kept.copy_(given)
