"""Numbers that are none: NaN and infinity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np

from forethought.data.checks.cuts import keep_stretches
from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import EpisodeCheck, Mask, Repair, View
from forethought.data.schema import flat_rows
from forethought.types import Array, Episode


@final
class Finite(EpisodeCheck):
    """`not-finite`; mended by cutting the episode there."""

    def look(self, view: View) -> Iterator[Finding]:
        for name, values in _arrays(view.episode):
            bad = _bad_rows(values)
            if bad.any():
                message = f"'{name}' is NaN or infinite; leave the episode out, or repair the sensor's values"
                yield view.at(Severity.ERROR, "not-finite", message, name, bad)

    def repairs(self) -> Iterator[Repair]:
        return self.mend("not-finite", "cut at rows that are not finite", _cut)


def _arrays(episode: Episode) -> list[tuple[str, Array]]:
    rewards = [("rewards", episode.rewards)] if episode.rewards is not None else []
    return [("actions", episode.actions), *episode.observations.items(), *rewards]


def _bad_rows(values: Array) -> Mask:
    if values.dtype.kind != "f":
        return np.zeros(len(values), dtype=bool)
    return np.asarray(np.logical_not(np.isfinite(flat_rows(values))).any(axis=1), dtype=bool)


def _cut(episode: Episode) -> list[Episode]:
    bad = np.zeros(episode.num_steps + 1, dtype=bool)
    links = np.zeros(episode.num_steps, dtype=bool)
    for _, values in _arrays(episode):
        rows = _bad_rows(values)
        (links if len(rows) == episode.num_steps else bad)[: len(rows)] |= rows
    return keep_stretches(episode, bad, links)
