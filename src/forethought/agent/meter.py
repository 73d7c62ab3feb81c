"""What a decision costs in FLOPs, by formula: from the shapes of the layers, never by a profiler.

A FLOP is one multiplication or one addition of a matrix product, a convolution, an attention or a table of distances;
activations and normalisations are not counted. Most modules use each of their matrices once a row: 2 x their entries. Those
that do not (pictures, windows of tokens, maps) have a formula of their own, registered here, and so can a module of yours:
`forward.register(Mine)(lambda module: Work(row, entry))`. Formulas are worked out once a module, then looked up.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import final
from weakref import WeakKeyDictionary

from torch import nn

from forethought.costs.combine import Guarded, Sum
from forethought.costs.critic import CriticCost
from forethought.costs.landmarks import LandmarkDistance
from forethought.costs.predicate import PredicateCost
from forethought.costs.quasimetric import Quasimetric
from forethought.dynamics.adapted import Adapted
from forethought.dynamics.base import Dynamics
from forethought.dynamics.gru import GRUDynamics
from forethought.dynamics.momentum import MomentumMLP
from forethought.dynamics.residual_mlp import ResidualMLP
from forethought.dynamics.transformer import TransformerDynamics
from forethought.perception.conv import Convolution
from forethought.perception.decoder import Decoder
from forethought.perception.fusion import Frozen, SensorEncoder
from forethought.perception.patches import PatchPyramid
from forethought.perception.vectors import TokenNet
from forethought.perception.vit import VisionTransformer
from forethought.surprise.monitor import Monitor
from forethought.surprise.senses import Nearest
from forethought.types import SearchTrace


@final
@dataclass(frozen=True)
class Work:
    """FLOPs of a module forward: of every row, and what is done `once` a call.

    `entry`: the part of a row whose input is data, and so wants no gradient in training.
    """

    row: int
    entry: int = 0
    once: int = 0

    def of(self, rows: int) -> int:
        """Forward, in one call."""
        return self.once + rows * self.row

    def learned(self, rows: int) -> int:
        """Of an update: forward, and as much again for the gradients by weights and by inputs, each; data want none."""
        return rows * (3 * self.row - self.entry) + 3 * self.once


_KNOWN: WeakKeyDictionary[nn.Module, Work] = WeakKeyDictionary()


def work(module: nn.Module) -> Work:
    """The work of a module, worked out once."""
    found = _KNOWN.get(module)
    if found is None:
        found = _KNOWN[module] = forward(module)
    return found


def of(module: object, rows: int = 1) -> int:
    """FLOPs of a module on so many rows; what is no module (a function of your own) cannot be counted: 0."""
    return work(module).of(rows) if isinstance(module, nn.Module) else 0


def matrices(module: nn.Module) -> int:
    """2 x the entries of all matrices: one row through each of them."""
    return 2 * sum(p.numel() for p in module.parameters() if p.ndim > 1)


@singledispatch
def forward(module: nn.Module) -> Work:
    """The formula; by default each matrix is used once a row."""
    first = next((p.numel() for p in module.parameters() if p.ndim > 1), 0)
    return Work(matrices(module), 2 * first)


@forward.register
def _(module: SensorEncoder) -> Work:
    bodies = [work(body) for body in module.bodies]
    rest = matrices(module.fuse) + matrices(module.heads)
    return Work(sum(b.row for b in bodies) + rest, sum(b.entry for b in bodies), sum(b.once for b in bodies))


@forward.register
def _(module: PatchPyramid) -> Work:
    rows, columns = module.grid
    entry = rows * columns * matrices(module.embed)
    merged = sum(rows * columns // 4 ** (level + 1) * matrices(merge) for level, merge in enumerate(module.merges))
    return Work(entry + merged + matrices(module.last), entry, entry)  # once: the usual picture goes through, too


@forward.register
def _(module: Convolution) -> Work:
    height, width = module.usual_HWC.shape[:2]
    total, entry = 0, 0
    for layer in module.body:
        if isinstance(layer, nn.Conv2d):
            height, width = (height + 1) // 2, (width + 1) // 2
            total += height * width * matrices(layer)
            entry = entry or total
    return Work(total + sum(matrices(layer) for layer in module.body if isinstance(layer, nn.Linear)), entry)


@forward.register
def _(module: VisionTransformer) -> Work:
    tokens, width = module.positions.shape[1:]
    entry = tokens * matrices(module.embed)
    attention = 4 * tokens * tokens * width * len(module.blocks.layers)
    return Work(entry + tokens * matrices(module.blocks) + attention + matrices(module.last), entry)


@forward.register
def _(module: TokenNet) -> Work:  # a table is looked up, not multiplied
    return forward.dispatch(nn.Module)(module.net)


@forward.register
def _(module: Frozen) -> Work:  # what is inside is yours: each matrix once, unless you register its formula
    inside = of(module.module)
    return Work(inside + matrices(module.adapt), inside)


@forward.register
def _(module: Quasimetric) -> Work:  # start and goal go through the same network
    one = forward.dispatch(nn.Module)(module.net)
    return Work(2 * one.row, 2 * one.entry)


@forward.register
def _(module: LandmarkDistance) -> Work:  # of a row; the goal is looked up once
    count, size = module.landmark_NE.shape
    return Work(2 * count * size, once=2 * count * size)


@forward.register
def _(module: Adapted) -> Work:
    base, frames = work(module.base), module.action_size // module.frame
    added = 0 if module.residual is None else matrices(module.residual)
    return replace(base, row=base.row + frames * 2 * module.gain.numel() + added)


@forward.register
def _(module: Decoder) -> Work:
    cells = module.grid[0] * module.grid[1]
    dense = forward.dispatch(nn.Module)(module.coarse)
    return Work(dense.row + cells * (matrices(module.middle) + 4 * matrices(module.fine)), dense.entry)


@forward.register
def _(module: ResidualMLP) -> Work:
    return Work(matrices(module), 2 * module.action_size * module.first.out_features)


@forward.register
def _(module: GRUDynamics) -> Work:
    return Work(matrices(module), 2 * module.action_size * 3 * module.memory_size)


@forward.register
def _(module: MomentumMLP) -> Work:
    return work(module.net)


@forward.register
def _(module: TransformerDynamics) -> Work:  # one step: all tokens of the window anew
    fused = rolled(module)
    return Work(fused.row + fused.once, fused.entry + module.context * fused.entry)


@singledispatch
def rolled(dynamics: Dynamics) -> Work:
    """The work of `imagine`: of a row, and once for all samples from one belief. By default nothing is fused."""
    return work(dynamics)


@rolled.register
def _(dynamics: ResidualMLP) -> Work:
    return _shared(dynamics, 2 * dynamics.scene_size * dynamics.first.out_features)


@rolled.register
def _(dynamics: MomentumMLP) -> Work:
    return rolled(dynamics.net)


@rolled.register
def _(dynamics: GRUDynamics) -> Work:
    return _shared(dynamics, 2 * dynamics.scene_size * 3 * dynamics.memory_size)


@rolled.register
def _(dynamics: TransformerDynamics) -> Work:
    action = matrices(dynamics.embed_action)
    token = matrices(dynamics.embed) + action + matrices(dynamics.modulation)
    window, width = dynamics.context + 1, dynamics.embed.out_features
    blocks = window * matrices(dynamics.blocks) + 4 * window * window * width * len(dynamics.blocks)
    return Work(token + blocks + matrices(dynamics.last), action, dynamics.context * token)


def filtered(dynamics: Dynamics) -> int:
    """FLOPs of `update`: what the memory makes of one new latent."""
    return matrices(dynamics.cell) if isinstance(dynamics, GRUDynamics) else 0


def imagined_learned(dynamics: Dynamics, batch: int, horizon: int) -> int:
    """FLOPs of an update's imagination from `batch` starts, forward and backward."""
    fused = rolled(dynamics)
    return 3 * batch * fused.once + Work(fused.row, fused.entry).learned(batch * horizon)


def _shared(dynamics: Dynamics, scene: int) -> Work:
    whole = work(dynamics)
    return Work(whole.row - scene, whole.entry, scene)


@singledispatch
def judged(cost: object, samples: int, horizon: int) -> int:
    """FLOPs of a cost on imagined futures; of one that is not known here, those of the modules that it holds, on every row."""
    if not dataclasses.is_dataclass(cost):
        return of(cost, samples * horizon)
    return sum(judged(getattr(cost, f.name), samples, horizon) for f in dataclasses.fields(cost))


@judged.register
def _(cost: CriticCost, samples: int, horizon: int) -> int:
    rows = samples * horizon if cost.path_weight or cost.passing else samples
    return of(cost.critic, rows)


@judged.register
def _(cost: Sum, samples: int, horizon: int) -> int:
    return sum(judged(part, samples, horizon) for _, part in cost.parts)


@judged.register
def _(cost: Guarded, samples: int, horizon: int) -> int:
    return sum(judged(part, samples, horizon) for part in (cost.cost, *cost.guardrails))


@judged.register
def _(cost: PredicateCost, samples: int, horizon: int) -> int:
    return of(cost.probe, samples * horizon)


def searched(dynamics: Dynamics, cost: object, trace: SearchTrace, horizon: int, by_gradient: bool = False) -> int:
    """FLOPs of a search, from its trace; `by_gradient`: and as much again, for the gradient by the actions."""
    again, samples = len(trace.best_cost) - 1, trace.predictor_passes // horizon
    total = rolled(dynamics).of(samples * horizon) + judged(cost, samples, horizon)
    total += again * (rolled(dynamics).once + judged(cost, 0, 0))
    return 2 * total if by_gradient else total


def aimed(cost: object, probe: object, options: int) -> int:
    """FLOPs of choosing the nearest of so many options, and of reading how far the predicate is from true."""
    return judged(cost, options, 1) + (options - 1) * judged(cost, 0, 0) + of(probe)


def followed(habit: nn.Module, dynamics: Dynamics, horizon: int) -> int:
    """FLOPs of the habit's own way in imagination, block by block."""
    return horizon * (of(habit) + of(dynamics))


def _near(nearest: Nearest) -> int:
    return 2 * nearest.points_MK.size


def watched(monitor: Monitor) -> int:
    """FLOPs of one look at the signals of surprise, imagination aside: distances to what was seen (numpy, not torch)."""
    signals = monitor.signals
    errors = 2 * int(signals.precision_GEE[0].size)
    return errors + _near(signals.nearest) + sum(2 * s.axes_FK.size + _near(s.nearest) for s in signals.senses)
