"""Guardrails: what must hold on the whole way, whatever the goal, and how surely. `Guarded` puts them before a cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor

from forethought.config import Between
from forethought.costs.predicate import Predicate, read_predicate
from forethought.errors import UsageError
from forethought.perception.probe import PathErrors, Probe
from forethought.surprise.conformal import Calibrated
from forethought.types import Rollout, Target


@final
@dataclass(frozen=True)
class Guardrail:
    """A predicate on named quantities that must hold all along, and how sure of that the agent has to be.

    >>> str(Guardrail("agent.x < 0.8 or agent.y > 0.5", confidence=0.995))
    "'agent.x < 0.8 or agent.y > 0.5' at 99.5 %"
    """

    holds: str
    confidence: Annotated[float, Between(0.5, 0.9999)] = 0.99

    def __str__(self) -> str:
        return f"'{self.holds}' at {100 * self.confidence:g} %"


@final
@dataclass(frozen=True)
class Rail:
    """A guardrail ready to be asked: a cost, satisfied at <= 0, in deviations of the quantities.

    Every frame of an imagined block is taken to lie on the line between the probe's readings at the block's ends, widened by
    margin_HQ2 below and above; the predicate has to hold in the whole box, at all frames of all blocks.
    """

    guardrail: Guardrail
    predicate: Predicate
    probe: Probe
    margin_HQ2: Tensor
    frames: int

    def __call__(self, rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
        return self.by_block(rollout.start.z_BD, rollout.z_BSHD).amax(-1)

    def by_block(self, start_BD: Tensor, z_BSHD: Tensor) -> Tensor:
        """The excess of each imagined block, (B, S, H).

        Where the predicate holds, and yet so little that standing still would exceed (the last block ended nearer than was
        foretold), ways may exceed by as much as standing still, and by half of that in the end: they lead out of it.
        """
        start_BSHD = start_BD[:, None, None].expand(-1, z_BSHD.shape[1], 1, -1)
        margin = self.margin_HQ2[: z_BSHD.shape[2], None]
        still = self._excess(start_BD[:, None, None].expand(-1, 1, z_BSHD.shape[2] + 1, -1), margin)
        holds = self.predicate.shortfall(self.probe(start_BD)) <= 0
        close = (still[..., :1] > 0) & holds[:, None, None]
        leave = torch.where(close, still, 0.0)
        leave[..., -1] /= 2
        return self._excess(torch.cat([start_BSHD, z_BSHD], 2), margin) - leave

    def looking(self, start_KD: Tensor, z_KLD: Tensor, horizon: int) -> Tensor:
        """The excess (K, L) of ways on which the agent will look again: all blocks as wide as the one `horizon` ahead."""
        return self._excess(torch.cat([start_KD[:, None], z_KLD], 1), self.margin_HQ2[horizon - 1])

    def _excess(self, z: Tensor, margin: Tensor) -> Tensor:
        line = along(self.probe(z), self.frames)
        low, high = line - margin[..., 0], line + margin[..., 1]
        excess = self.predicate.shortfall_within(low.flatten(0, -2), high.flatten(0, -2))
        return excess.reshape(line.shape[:-1]).amax(-1)

    def at(self, z_ND: Tensor) -> Tensor:
        """The excess (N,) of staying at each latent for a block."""
        return self.by_block(z_ND, z_ND[:, None, None])[:, 0, 0]

    def here(self, z_BD: Tensor) -> bool:
        """Does it hold at this latent, as the probe reads it?"""
        return float(self.predicate.shortfall(self.probe(z_BD)).max()) <= 0


def along(ends: Tensor, frames: int) -> Tensor:
    """Where the frames (..., H, F, Q) of blocks lie on the straight lines between their ends (..., H + 1, Q).

    >>> along(torch.tensor([[0.0], [1.0]]), 2).flatten().tolist()
    [0.5, 1.0]
    """
    share_F1 = torch.arange(1, frames + 1, device=ends.device)[:, None] / frames
    before, after = ends[..., :-1, None, :], ends[..., 1:, None, :]
    return before + share_F1 * (after - before)


def rails_for(guardrails: Sequence[Guardrail], probe: Probe | None, horizon: int) -> tuple[Rail, ...]:
    """Guardrails over `horizon` imagined blocks. Raises UsageError for unknown names, for a confidence that the held-out
    stretches cannot give, and where no remembered latent satisfies all of them together.
    """
    if not guardrails:
        return ()
    if probe is None or probe.errors is None:
        lacks = "no probe of named quantities" if probe is None else "a probe, but not how far it errs along imagined paths"
        raise UsageError(
            f"guardrail {guardrails[0]}: this run has {lacks}; `forethought probe RUN --log LOG` measures what the log names"
        )
    if horizon > probe.errors.score_EHQ2.shape[1]:
        raise UsageError(
            f"guardrails are calibrated for {probe.errors.score_EHQ2.shape[1]} imagined blocks, and the search's horizon is "
            f"{horizon}; lower agent.search.horizon"
        )
    rails = tuple(_rail(guardrail, probe, probe.errors) for guardrail in guardrails)
    with torch.inference_mode():
        excess_RM = torch.stack([rail.at(probe.remembered_MD) for rail in rails])
    if not bool((excess_RM <= 0).all(0).any()):
        raise UsageError(
            f"guardrails {' and '.join(map(str, guardrails))}: none of {excess_RM.shape[1]} places that the run remembers "
            f"satisfies {'them together' if len(rails) > 1 else 'it'}; loosen one, or ask for less confidence"
        )
    return rails


def _rail(guardrail: Guardrail, probe: Probe, errors: PathErrors) -> Rail:
    predicate = read_predicate(guardrail.holds, probe.names, tuple(probe.deviation_Q.tolist()))
    margin_HQ2 = margins(errors, predicate.leans_on(), guardrail.confidence)
    if not bool(margin_HQ2.isfinite().all()):
        count = len(errors.score_EHQ2)
        raise UsageError(
            f"guardrail {guardrail}: {count} held-out stretches promise at most {100 * count / (count + 1):.4g} %; ask for "
            "less confidence, or train on more episodes"
        )
    return Rail(guardrail, predicate, probe, margin_HQ2.to(probe.mean_Q.device), errors.frames)


def margins(errors: PathErrors, ends: Sequence[tuple[int, int]], confidence: float) -> Tensor:
    """margin_HQ2: at each horizon, a stretch like those held out stays inside all these ends at once with that probability.

    Split conformal over stretches of the largest score among the ends, each in its usual size; infinite if too few were kept.
    """
    if not ends:
        return torch.zeros_like(errors.scale_HQ2)
    columns, sides = (list(part) for part in zip(*ends, strict=True))
    scaled_EHK = errors.score_EHQ2[:, :, columns, sides] / errors.scale_HQ2[:, columns, sides]
    worst_EH = scaled_EHK.amax(-1).double().numpy()
    factor_H = [Calibrated.of(worst_E).quantile(confidence) for worst_E in worst_EH.T]
    margin_HQ2 = torch.zeros_like(errors.scale_HQ2)
    for horizon, factor in enumerate(factor_H):
        margin_HQ2[horizon, columns, sides] = (
            factor * errors.scale_HQ2[horizon, columns, sides] if factor < math.inf else factor
        )
    return margin_HQ2
