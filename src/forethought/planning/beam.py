"""Beam search, for discrete actions: grow the best prefixes one action at a time, judged by the best of random endings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional


@final
@dataclass(frozen=True)
class Beams:
    """prefix_WL: the actions fixed so far (L grows by one an iteration); tail_N: the old plan, one possible ending."""

    prefix_WL: Tensor
    tail_N: Tensor
    horizon: int


@final
@dataclass(frozen=True)
class BeamSearch:
    """Needs an iteration per environment action of the horizon (and as much patience); then it starts again at the root.

    Each iteration spends its samples on `width` beams x `count` actions, with as many endings as that leaves: the old plan's,
    the same action again and again, and random ones.
    """

    count: int
    width: int = 8

    def init(self, mean_HA: Tensor) -> Beams:
        return Beams(torch.zeros(1, 0, dtype=torch.int64), mean_HA.reshape(-1, self.count).argmax(-1), len(mean_HA))

    def sample(self, search: Beams, num_samples: int, generator: torch.Generator) -> Tensor:
        prefix_WL = search.prefix_WL[: max(1, num_samples // self.count)]
        beams, depth = prefix_WL.shape
        length = len(search.tail_N)
        endings = max(1, num_samples // (beams * self.count))
        grown = torch.cat(
            [prefix_WL.repeat_interleave(self.count, 0), torch.arange(self.count).repeat(beams)[:, None]], 1
        ).repeat_interleave(endings, 0)
        rest = torch.randint(self.count, (len(grown), length - depth - 1), generator=generator)
        rest[::endings] = search.tail_N[depth + 1 :]
        if endings > 1:
            rest[1::endings] = grown[1::endings, -1:]
        return functional.one_hot(torch.cat([grown, rest], 1), self.count).float().reshape(len(grown), search.horizon, -1)

    def update(self, search: Beams, actions_SHA: Tensor, cost_S: Tensor) -> Beams:
        rows = actions_SHA.reshape(len(actions_SHA), -1, self.count).argmax(-1)
        order = cost_S.argsort(stable=True)
        depth = search.prefix_WL.shape[1] + 1
        tail = rows[order[0]]
        if depth == rows.shape[1]:
            return Beams(search.prefix_WL[:1, :0], tail, search.horizon)
        return Beams(_first_distinct(rows[order, :depth], self.width), tail, search.horizon)


def _first_distinct(rows_NL: Tensor, count: int) -> Tensor:
    """The first `count` different rows, in order."""
    seen = dict.fromkeys(tuple(row) for row in rows_NL.tolist())
    return torch.tensor(list(seen)[:count])
