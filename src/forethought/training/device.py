"""Where the numbers are crunched: chosen from what the machine has, never assumed."""

from __future__ import annotations

import enum
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from forethought.errors import UsageError


class Device(enum.Enum):
    """What to run on; AUTO takes the fastest there is."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Precision(enum.Enum):
    """Of the encoder's matrix products; AUTO is bfloat16 where the device has it in hardware, float32 on every CPU."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@final
@dataclass(frozen=True)
class Facts:
    """What this machine has: CUDA devices, whether they multiply bfloat16, Apple's MPS."""

    cuda_devices: int = 0
    cuda_bfloat16: bool = False
    mps: bool = False


@final
@dataclass(frozen=True)
class Compute:
    """The choice: a torch device, whether the encoder runs under bfloat16 autocast, and with channels-last images."""

    device: str = "cpu"
    bfloat16: bool = False
    channels_last: bool = False

    def autocast(self) -> AbstractContextManager[object]:
        """What the encoder's forward pass runs under; does nothing where bfloat16 was not chosen."""
        return torch.autocast(self.device.partition(":")[0], torch.bfloat16) if self.bfloat16 else nullcontext()

    def place(self, *modules: nn.Module) -> None:
        """Move modules to the device, convolutions into its layout."""
        for module in modules:
            module.to(self.device)
            if self.channels_last:
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def look() -> Facts:
    """The facts of this machine."""
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Facts(cuda, bool(cuda) and torch.cuda.is_bf16_supported(), torch.backends.mps.is_available())


def choose(
    wanted: Device = Device.AUTO,
    precision: Precision = Precision.AUTO,
    facts: Facts | None = None,
    local_rank: int | None = None,
) -> Compute:
    """CUDA before MPS before the CPU; each local rank of `torchrun` takes its own CUDA device. Raises UsageError.

    A CPU keeps float32 and torch's layout unless told otherwise: emulated bfloat16 is slower there, silently.
    """
    facts = facts or look()
    has = {Device.CUDA: facts.cuda_devices > 0, Device.MPS: facts.mps, Device.CPU: True}
    kind = next(d for d in has if has[d]) if wanted is Device.AUTO else wanted
    if not has[kind]:
        there = ", ".join(d.value for d in has if has[d])
        raise UsageError(f"got device '{kind.value}', this machine has: {there}; use one of these, or 'auto'")
    rank = int(os.environ.get("LOCAL_RANK", "0")) if local_rank is None else local_rank
    name = f"cuda:{rank % facts.cuda_devices}" if kind is Device.CUDA else kind.value
    in_hardware = kind is Device.CUDA and facts.cuda_bfloat16
    half = in_hardware if precision is Precision.AUTO else precision is Precision.BFLOAT16
    return Compute(name, half, kind is Device.CUDA)
