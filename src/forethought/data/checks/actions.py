"""How the actions were used: never changed, never tried, always at the stop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np

from forethought.data.checks.bounds import LITTLE
from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, Log, Mask, View
from forethought.types import BoxSpace

_AT_STOP = 0.6  # share of rows at a bound
_NEVER = 0.001  # share of rows
_BINS = 60
_ENOUGH = 200  # rows, before a missing third says anything


@final
class Actions(Check):
    """`constant-action`, `saturated-action`, `action-untried`, over the whole log."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        size = log.spec.action_space.size
        self._box = isinstance(log.spec.action_space, BoxSpace)
        self._low, self._high = np.full(size, np.inf), np.full(size, -np.inf)
        self._counts = np.zeros((size, _BINS if self._box else 1), dtype=np.int64)
        self._stops, self._rows = np.zeros(size, dtype=np.int64), 0

    def see(self, view: View) -> None:
        if not view.episode.num_steps:
            return
        self._rows += view.episode.num_steps
        actions = view.episode.actions
        if not self._box:
            inside = actions[(actions >= 0) & (actions < len(self._counts))]
            self._counts[:, 0] += np.bincount(inside.astype(np.int64), minlength=len(self._counts))
            return
        self._low, self._high = np.fmin(self._low, actions.min(0)), np.fmax(self._high, actions.max(0))
        unit = np.clip(np.nan_to_num(self.log.spec.action_space.encode(actions)), -1, 1)
        self._stops += (np.abs(unit) >= 1 - 1e-5).sum(0)
        bins = np.minimum((unit + 1) / 2 * _BINS, _BINS - 1).astype(np.int64)
        for number, column in enumerate(bins.T):
            self._counts[number] += np.bincount(column, minlength=_BINS)

    def findings(self) -> Iterator[Finding]:
        still = self._low >= self._high if self._box else self._counts[:, 0] == 0
        never = np.flatnonzero(still)
        if len(never):
            what = "never change" if self._box else "are never taken"
            message = f"actions {never.tolist()} {what}; their effect cannot be learned. Leave them out, or explore them"
            yield Finding(Severity.WARNING, "constant-action", message, "actions", len(never))
        if self._box and self._rows:
            yield from self._saturated(still)
            yield from self._untried(still)

    def _saturated(self, still: Mask) -> Iterator[Finding]:
        share = self._stops / self._rows
        between = self._counts[:, 1:-1].sum(1) / self._rows
        stuck = np.flatnonzero(~still & (share > _AT_STOP) & (between > 0.01))
        if len(stuck):
            message = (
                f"actions {stuck.tolist()} stand at a bound {100 * share[stuck].max():.0f} % of the time: clipped, or a stuck "
                "actuator; check the scale of what was logged"
            )
            yield Finding(Severity.WARNING, "saturated-action", message, "actions", len(stuck))

    def _untried(self, still: Mask) -> Iterator[Finding]:
        wide = ~still & ((self._counts > 0).sum(1) > LITTLE * _BINS)  # else the bounds are wrong, which is another finding
        thirds = self._counts.reshape(len(self._counts), 3, _BINS // 3).sum(2) / self._rows
        for third, part in enumerate(("lowest", "middle", "highest")):
            never = np.flatnonzero((thirds[:, third] < _NEVER) & wide & (self._rows >= _ENOUGH))
            if len(never):
                message = (
                    f"actions {never.tolist()} never take the {part} third of their range; what that does cannot be learned. "
                    "Explore it, or narrow the spec's bounds"
                )
                yield Finding(Severity.WARNING, "action-untried", message, "actions", len(never))
