"""Random streams by name: the stream of an update depends on the run's seed, the stage and the update, on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_for(seed: int, name: str, number: int = 0) -> int:
    """A 63-bit seed.

    >>> seed_for(0, "predict", 1) == seed_for(0, "predict", 1) != seed_for(0, "predict", 2)
    True
    """
    digest = hashlib.blake2b(f"{seed}/{name}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator_for(seed: int, name: str, number: int = 0) -> torch.Generator:
    """A torch generator on the CPU with `seed_for` of the same arguments."""
    return torch.Generator().manual_seed(seed_for(seed, name, number))


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Torch's global generator on the CPU set to `seed_for`, and put back afterwards: for modules' first weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, name))
        yield
