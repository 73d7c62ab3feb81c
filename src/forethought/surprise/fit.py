"""Fit the signals on a log, and trace them over episodes: what was expected, step by step, against what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forethought.surprise.otherwise import Otherwise
from forethought.surprise.scale import Moves, fit_scale
from forethought.surprise.senses import Nearest, Sense
from forethought.surprise.signals import GHOSTS, Signals, begin, expect, foretold_from, sizes
from forethought.types import Array, Belief, ExperienceSpec, Observation
from forethought.world_model import LatentWorldModel

SEEN = 4096


def fit_signals(
    model: LatentWorldModel,
    spec: ExperienceSpec,
    frameskip: int,
    sensors: Mapping[str, Array],
    z_ND: Tensor,
    errors_NGE: Tensor,
    block_MA: Tensor,
    imagined_MSD: Tensor,
    seed: int = 0,
) -> tuple[Signals, Moves]:
    """From readings and latents of training (N rows), errors of imagination by horizon (N, G, E), and M moves of
    training: blocks, and latents before, foretold and after (M, 3, D). With the moves that the scale was fitted on.
    """
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(len(z_ND))[:SEEN])
    z = z_ND[torch.from_numpy(rows)].numpy()
    spread = np.maximum(z.std(0), 1e-3 * float(z.std()) + 1e-9).astype(np.float32)
    precision = np.stack([_precision(errors.double()) for errors in errors_NGE.unbind(1)])
    senses = tuple(Sense.fit(s, sensors[s.name], rows, generator) for s in spec.sensors)
    before, foretold, after = (z.numpy() for z in imagined_MSD.unbind(1))
    scene = model.encoder.scene_size
    moves = Moves(foretold_from(before, block_MA.numpy(), foretold, spread), sizes((after - foretold)[:, scene:], precision[0]))
    otherwise, nearest = Otherwise(spec.action_space, frameskip), Nearest.of(z / spread, generator)
    return Signals(otherwise, scene, precision, fit_scale([moves], seed), nearest, spread, senses), moves


def _precision(errors_NE: Tensor) -> NDArray[np.float32]:
    """Inverse second moment of all but the largest twentieth of errors (contacts would make all else look small), with a
    thousandth of its mean diagonal added: some directions never err.
    """
    size = (errors_NE / errors_NE.std(0).clamp_min(1e-9)).square().sum(1)
    usual = errors_NE[size <= size.quantile(0.95)]
    moment = usual.T @ usual / len(usual)
    ridge = 1e-3 * float(moment.diagonal().mean()) + 1e-12
    inverse: NDArray[np.float32] = torch.linalg.inv(moment + ridge * torch.eye(len(moment))).float().numpy()
    return inverse


def trace(
    model: LatentWorldModel, signals: Signals, readings: Sequence[Observation], z_TD: Tensor, blocks_TA: Tensor
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Signals (T, K) and errors by horizon (T, G) of one episode of T decisions, whose latents are known."""
    device = next(model.parameters()).device
    z_TD, blocks_TA = z_TD.to(device), blocks_TA.to(device)
    expectation, belief, rows, errors = begin(model, signals), None, [], []
    for step, observation in enumerate(readings):
        belief = _filter(model, belief, blocks_TA[step - 1] if step else None, z_TD[step : step + 1])
        seen = {s.sensor.name: s.scaled(observation[s.sensor.name]) for s in signals.senses}
        expectation, row, error = signals.compare(model, expectation, belief, seen)
        rows.append(row)
        errors.append(error)
        if step < len(blocks_TA):
            expectation = expect(model, signals, expectation, belief, blocks_TA[step])
    return np.stack(rows), np.stack(errors).reshape(len(rows), GHOSTS)


def _filter(model: LatentWorldModel, before: Belief | None, block_A: Tensor | None, z_BD: Tensor) -> Belief:
    if before is None or block_A is None:
        return Belief(z_BD, model.dynamics.initial_memory(z_BD), model.encoder.scene_size)
    memory_BM = model.dynamics.update(before.z_BD, before.memory_BM, block_A[None], z_BD)
    return Belief(z_BD, memory_BM, before.scene_size)
