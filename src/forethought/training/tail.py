"""The tail of the prediction error: contacts are rare and a mean hides them, so the worst transitions are named one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from forethought.dynamics.base import Dynamics
from forethought.training.latents import Latents

CHUNK, MOST = 8192, 200_000
NAMED = 500
"""At most this many of the worst transitions are written down, however long the log."""


@final
@dataclass(frozen=True)
class Transition:
    """One held-out block: its episode and step there, its row in the split, and the mean squared state error."""

    episode: str
    step: int
    row: int
    error: float


@final
@dataclass(frozen=True)
class Tail:
    """One-block errors over `count` held-out transitions; `share` is what the worst 1 % hold of their sum; worst first."""

    count: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    share: float = 0.0
    worst: tuple[Transition, ...] = ()


def measure_tail(latents: Latents, dynamics: Dynamics, episode_ids: Sequence[str]) -> Tail:
    """Every held-out transition (at most 200,000, evenly spaced), and the worst 1 % of them by name."""
    rows = latents.window_starts(1)
    if not len(rows):
        return Tail()
    rows = rows[:: -(-len(rows) // MOST)]
    error_N = torch.cat([one_block_error(latents, dynamics, rows[i : i + CHUNK]) for i in range(0, len(rows), CHUNK)])
    worst = error_N.argsort(descending=True, stable=True)[: max(1, len(rows) // 100)]
    named = rows[worst[:NAMED].numpy()]
    episode = latents.episode_of(named)
    transitions = tuple(
        Transition(episode_ids[e], int(row - latents.starts_E[e]), int(row), float(error))
        for e, row, error in zip(episode, named, error_N[worst], strict=False)
    )
    total = float(error_N.sum())
    return Tail(
        len(rows), float(error_N.mean()), float(error_N.median()), float(error_N.quantile(0.99)),
        float(error_N[worst].sum()) / total if total > 0 else 0.0, transitions,
    )  # fmt: skip


def one_block_error(latents: Latents, dynamics: Dynamics, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
    """Mean squared error (N,) of the state one block after each row."""
    imagined, real = imagine_from(latents, dynamics, rows, 1)
    return (imagined - real)[:, 0, latents.scene_size :].square().mean(-1)


@torch.inference_mode()
def imagine_from(
    latents: Latents, dynamics: Dynamics, rows: np.ndarray[tuple[int], np.dtype[np.int64]], horizon: int
) -> tuple[Tensor, Tensor]:
    """Imagined and real latents, (N, H, D) each, of the `horizon` logged blocks after each row."""
    device = next(dynamics.parameters()).device
    steps = torch.from_numpy(rows[:, None] + np.arange(horizon + 1) * latents.frameskip)
    z = latents.z_ND[steps[:, 0]].to(device)
    actions = latents.action_NA[steps[:, :-1]].to(device).unsqueeze(1)
    imagined = dynamics.imagine(z, dynamics.initial_memory(z), actions)[:, 0].cpu()
    return imagined, latents.z_ND[steps[:, 1:]]
