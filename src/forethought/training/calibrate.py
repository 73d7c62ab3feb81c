"""Stage `calibrate`: on held-out episodes only, how far off predictions and the critic's distances are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from forethought.costs.temporal import Critic
from forethought.dynamics.base import Dynamics
from forethought.training.latents import Latents
from forethought.training.probes import ProbeQuality
from forethought.training.tail import Tail


@final
@dataclass(frozen=True)
class Calibration:
    """Held-out figures. `horizon_error[h]`, `unchanged_error[h]`: mean squared state error after h+1 blocks, imagined and
    for "nothing changes"; `error_p99[h]`; critic: blocks really taken, and mean, 10th and 90th percentile of the distance.

    `windows`: how many windows, and pairs at each distance, were drawn with replacement from `episodes` episodes.
    `scale` turns a critic's distance into an upper bound on blocks that the log itself shows to be enough. `tail` names the
    worst 1 % of transitions; `probes` say how well named quantities are read off the latent.
    """

    horizon_error: tuple[float, ...] = ()
    error_p99: tuple[float, ...] = ()
    unchanged_error: tuple[float, ...] = ()
    steps_apart: tuple[int, ...] = ()
    distance_mean: tuple[float, ...] = ()
    distance_p10: tuple[float, ...] = ()
    distance_p90: tuple[float, ...] = ()
    scale: float = 1.0
    episodes: int = 0
    windows: int = 0
    tail: Tail = field(default_factory=Tail)
    probes: tuple[ProbeQuality, ...] = ()


@torch.inference_mode()
def calibrate(latents: Latents, dynamics: Dynamics, critic: Critic, horizon: int = 10, count: int = 2000) -> Calibration:
    """Measure on latents of episodes that no training saw. `horizon` shrinks to what the episodes allow."""
    longest = int(latents.lengths_E.max()) // latents.frameskip
    horizon = max(1, min(horizon, longest))
    generator = np.random.default_rng(0)
    starts = generator.choice(latents.window_starts(horizon), count)
    steps = torch.from_numpy(starts[:, None] + np.arange(horizon + 1) * latents.frameskip)
    device = next(dynamics.parameters()).device
    z, real = latents.z_ND[steps[:, 0]].to(device), latents.z_ND[steps[:, 1:]].to(device)
    actions, scene = latents.action_NA[steps[:, :-1]].to(device), latents.scene_size
    imagined = dynamics.imagine(z, dynamics.initial_memory(z), actions.unsqueeze(1))[:, 0]
    error_BH = (imagined - real)[..., scene:].square().mean(-1)
    unchanged = (z[:, None] - real)[..., scene:].square().mean(-1).mean(0)
    apart = tuple(k for k in (1, 2, 4, 8, 16, 32, 64) if k <= longest)
    spans = [_distances(latents, critic, k, generator, count, device) for k in apart]
    ratios = [float(d.mean()) / k for k, d in zip(apart, spans, strict=True)]
    return Calibration(
        _floats(error_BH.mean(0)), _floats(error_BH.quantile(0.99, 0)), _floats(unchanged),
        apart, tuple(float(d.mean()) for d in spans), tuple(float(d.quantile(0.1)) for d in spans),
        tuple(float(d.quantile(0.9)) for d in spans), 1.0 / max(ratios[0], 1e-6), len(latents.lengths_E),
        count,
    )  # fmt: skip


def _distances(
    latents: Latents, critic: Critic, blocks: int, generator: np.random.Generator, count: int, device: torch.device
) -> Tensor:
    rows = generator.choice(latents.window_starts(blocks), count)
    later = torch.from_numpy(rows + blocks * latents.frameskip)
    distance: Tensor = critic(latents.z_ND[torch.from_numpy(rows)].to(device), latents.z_ND[later].to(device))
    return distance


def _floats(values: Tensor) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
