"""Objectives that know which latents come from one episode: the two halves of the latent, scene and state.

Rows come in groups of W from one episode each, groups end to end.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from forethought.objectives.sigreg import sigreg


def within_episode_sigreg(state_NE: Tensor, group: int, generator: torch.Generator) -> Tensor:
    """SIGReg on states minus their episode's mean: what must spread is what changes within an episode; a scalar."""
    grouped = state_NE.reshape(-1, group, state_NE.shape[-1])
    return sigreg((grouped - grouped.mean(1, keepdim=True)).flatten(0, 1), generator)


def scene_spread(scene_NC: Tensor, group: int, generator: torch.Generator, sigreg_weight: float = 0.05) -> Tensor:
    """Slow features: scenes of one episode agree, their means spread like a Gaussian over episodes; a scalar.

    3 x the variance within episodes + weight x SIGReg of the episode means. Unlike InfoNCE, whose codes told training episodes
    apart like a hash, these vary smoothly with the scene, so that unseen scenes are read too (docs/log.md).
    """
    grouped = scene_NC.reshape(-1, group, scene_NC.shape[-1])
    mean = grouped.mean(1)
    return 3.0 * (grouped - mean.unsqueeze(1)).square().mean() + sigreg_weight * sigreg(mean, generator)


def scene_contrast(scene_NC: Tensor, group: int, temperature: float = 0.1) -> Tensor:
    """InfoNCE (1807.03748) with all frames of the same episode as positives, others as negatives; a scalar."""
    unit = functional.normalize(scene_NC, dim=-1)
    count = len(unit)
    itself = torch.eye(count, dtype=torch.bool, device=unit.device)
    score = (unit @ unit.T / temperature).masked_fill(itself, -1e9)
    episode = torch.arange(count, device=unit.device) // group
    positive = (episode[:, None] == episode[None]) & ~itself
    return -(score.log_softmax(-1) * positive).sum(-1).div(positive.sum(-1).clamp_min(1)).mean()
