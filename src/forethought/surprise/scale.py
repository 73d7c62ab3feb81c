"""How large the error of one block usually is, here: at contacts a model errs ten times as much as in the open.

Errors divided by what was to be expected at the place (normalised conformal prediction, Papadopoulos and others 2002) have
light tails: a weak actuator in an open field is then told from a wall after one block, and not after ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float32]
LAYERS, WIDTH, BATCH, LEARNING_RATE, DECAY = 3, 64, 256, 3e-3, 1e-2
UPDATES, LOOKS = 2500, 32
"""Updates at most, and how often each move is looked at where they are few: more, and it learns single moves by heart."""
TAMEST, WILDEST = -3.0, 2.0
"""Bounds of the logarithm's log deviation."""
LARGEST = 50.0


@final
@dataclass(frozen=True)
class Moves:
    """Blocks that were taken: what was foretold of each (N, X), as `foretold_from` says it, and the errors' sizes (N,)."""

    foretold_NX: Floats
    sizes_N: Floats


@final
@dataclass(frozen=True)
class ErrorScale:
    """A small network from what was foretold (X,) to the mean and the log deviation of the logarithm of the error's size.

    layers: weights (I, O) and biases (O,) of each in turn; `floor`: added to every size, as some errors are nought.
    """

    layers: tuple[tuple[Floats, Floats], ...]
    floor: float

    def standard(self, foretold_X: Floats, sizes_R: Floats) -> Floats:
        """The logarithms of sizes (R,) in deviations from the mean expected here, (R,): normal, where the fit is good."""
        rows = foretold_X
        for weight, bias in self.layers[:-1]:
            rows = np.maximum(rows @ weight + bias, 0.0)
        mean, deviation = (rows @ self.layers[-1][0] + self.layers[-1][1]).tolist()
        standard: Floats = (np.log(sizes_R + self.floor) - mean) / np.exp(min(max(deviation, TAMEST), WILDEST))
        return np.minimum(standard, LARGEST)


def fit_scale(groups: Sequence[Moves], seed: int = 0) -> ErrorScale:
    """From groups of moves that count alike however large they are: a log's, and the agent's own. Maximum likelihood, with
    errors that are log-normal.
    """
    parts = [(torch.from_numpy(g.foretold_NX), torch.from_numpy(g.sizes_N)) for g in groups]
    updates = max(min(UPDATES, LOOKS * sum(len(sizes) for _, sizes in parts) // BATCH), 20)
    floor = 1e-3 * float(parts[0][1].median()) + 1e-12
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Linear(parts[0][0].shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2)
        )
    optimiser = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=updates)
    for _ in range(updates):
        rows = [torch.randint(len(sizes), (BATCH // len(parts),), generator=generator) for _, sizes in parts]
        x, sizes = (torch.cat([part[i][r] for part, r in zip(parts, rows, strict=True)]) for i in (0, 1))
        optimiser.zero_grad()
        _loss(net(x), sizes, floor).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    layers = [m for m in net if isinstance(m, nn.Linear)]
    return ErrorScale(tuple((_numbers(m.weight.T), _numbers(m.bias)) for m in layers), floor)


def _loss(told_N2: Tensor, sizes_N: Tensor, floor: float) -> Tensor:
    deviation = told_N2[:, 1].clamp(TAMEST, WILDEST)
    off = (sizes_N + floor).log() - told_N2[:, 0]
    return (0.5 * (off / deviation.exp()).square() + deviation).mean()


def _numbers(values: Tensor) -> Floats:
    numbers: Floats = np.ascontiguousarray(values.detach().numpy())
    return numbers
