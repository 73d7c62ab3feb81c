"""Data parallelism that gives the single-process result: every rank encodes its share, then all see the whole batch.

What enters the encoder's heads is gathered (it is small) with its gradients, so that batch statistics and losses that look
at the whole batch (SIGReg, VICReg, InfoNCE) are right by construction, and gradients are averaged.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor


@final
@dataclass(frozen=True)
class Ranks:
    """This process's place among the data-parallel ones."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def join_ranks() -> Ranks:
    """Join the process group that `torchrun` set up, or be alone."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Ranks()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return Ranks(dist.get_rank(), dist.get_world_size())


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        ctx.rank, ctx.rows = dist.get_rank(), local.shape[0]
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        # Every rank holds the same loss; averaging over ranks later divides by their number, hence the factor.
        own: Tensor = gradients[0][ctx.rank * ctx.rows : (ctx.rank + 1) * ctx.rows]
        return own * dist.get_world_size()


def gather_batch(local: Tensor, ranks: Ranks) -> Tensor:
    """The shares (B/R, ...) of all ranks as one batch (B, ...), differentiable; rank order is batch order."""
    if ranks.world_size == 1:
        return local
    gathered: Tensor = _Gather.apply(local)  # type: ignore[no-untyped-call]
    return gathered


def average_gradients(parameters: Iterable[Tensor], ranks: Ranks) -> None:
    """Average `.grad` over all ranks, in one message."""
    if ranks.world_size == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= ranks.world_size
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()
