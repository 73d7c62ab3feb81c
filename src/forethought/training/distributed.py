"""Data parallelism that gives the single-process result: every rank encodes its share, then all see the whole batch.

What enters the encoder's heads is gathered (it is small) with its gradients, so that batch statistics and losses that look
at the whole batch (SIGReg, VICReg, InfoNCE) are right by construction, and gradients are averaged.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor

from forethought.errors import TrainingError

PATIENCE = timedelta(days=7)
"""How long ranks wait for the first one, which goes on alone after stage `predict`; a rank that dies is noticed at once."""


@final
@dataclass(frozen=True)
class Ranks:
    """This process's place among the data-parallel ones."""

    rank: int = 0
    world_size: int = 1
    control: Any = None  # the process group for agreeing, always on the CPU

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def agree(self, progress: float, stop: bool) -> tuple[float, bool]:
        """The first rank's progress, and whether any rank is to stop: the same answer everywhere, or one would wait forever."""
        if self.world_size == 1:
            return progress, stop
        said = torch.tensor([progress if self.is_main else -1.0, float(stop)], dtype=torch.float64)
        with together():
            dist.all_reduce(said, dist.ReduceOp.MAX, group=self.control)
        return float(said[0]), bool(said[1] > 0)

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.world_size > 1:
            with together():
                dist.barrier(group=self.control)


@contextmanager
def together() -> Iterator[None]:
    """Around what ranks do together: a rank that is gone becomes one clear error."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            f"another rank stopped ({str(error).splitlines()[0][:120]}); see its own error above. Start all ranks again: "
            "what was saved is kept"
        ) from None


def join_ranks() -> Ranks:
    """Join the process group that `torchrun` set up, or be alone."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Ranks()
    if not dist.is_initialized():
        with together():
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(_leave)
    control = dist.new_group(backend="gloo", timeout=PATIENCE)
    return Ranks(dist.get_rank(), dist.get_world_size(), control)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        with together():
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
    with together():
        dist.all_reduce(flat)
    flat /= ranks.world_size
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()
