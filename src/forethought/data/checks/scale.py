"""Numbers of another size than usual in single episodes: other units, dead numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, Floats, Log, Repair, View
from forethought.types import BoxSpace

_LEAST_EPISODES = 8
_OTHER_UNITS = 6.0  # times the usual spread and step, and as far beyond what the others reach
_BUSY = 0.8  # share of the steps that usually change a number which should never stand still
_UNITS = {57.2958: "degrees for radians", 1000.0: "milli", 100.0: "per cent or centi", 25.4: "inches", 39.37: "inches"}


@final
@dataclass(frozen=True)
class _Size:
    """One episode's numbers (N,): level (95th percentile of the size), spread (5th to 95th), usual step, and `busy`, the share
    of the steps that change it."""

    index: int
    episode: str
    level: Floats
    spread: Floats
    step: Floats
    busy: Floats


@final
class Scale(Check):
    """`unit-jump`, `stuck-number`; the episodes are left out when mended."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._sizes: dict[str, list[_Size]] = {}

    def see(self, view: View) -> None:
        if view.episode.num_steps < 8:
            return
        for name, values in _followed(view).items():
            if np.isfinite(values).any(0).all():
                self._sizes.setdefault(name, []).append(_measure(view, values))

    def findings(self) -> Iterator[Finding]:
        for name, sizes in self._sizes.items():
            if len(sizes) < _LEAST_EPISODES:
                continue
            yield from _units(name, sizes)
            if name != "actions":  # a policy may leave an action out for an episode
                yield from _stuck(name, sizes)

    def repairs(self) -> Iterator[Repair]:
        for code, what in (("unit-jump", "left out episodes in other units"), ("stuck-number", "left out stuck numbers")):
            odd = {finding.episode for finding in self.findings() if finding.code == code}
            indices = {size.index: size.episode for sizes in self._sizes.values() for size in sizes}
            for index, episode in indices.items():
                if episode in odd:
                    yield Repair(code, what, index, lambda episode: [])


def _followed(view: View) -> Mapping[str, Floats]:
    """The sensors' numbers, the actions of a box, and rewards."""
    followed = {**view.numbers}
    if isinstance(view.spec.action_space, BoxSpace):
        followed["actions"] = view.actions_TA
    if view.episode.rewards is not None:
        followed["rewards"] = view.episode.rewards[:, None].astype(np.float64)
    return followed


def _measure(view: View, values_TN: Floats) -> _Size:
    change = np.abs(np.diff(values_TN, axis=0))
    change = np.where(np.isfinite(change), change, 0.0)
    low, high = np.nanpercentile(values_TN, [5, 95], axis=0)
    level = np.nanpercentile(np.abs(values_TN), 95, axis=0)
    step = np.percentile(change, 95, axis=0)  # actions may be held for most of the steps
    return _Size(view.index, view.episode.id, level, high - low, step, (change > 0).mean(0))


def _units(name: str, sizes: list[_Size]) -> Iterator[Finding]:
    """Episodes whose values, spread and step are all many times the usual, or a small part of it, and far from all others."""
    tables = np.stack([[size.level, size.spread, size.step] for size in sizes], axis=1)
    logs_3EN = np.log10(np.maximum(tables, 1e-12))
    ratios = logs_3EN - np.median(logs_3EN, axis=1, keepdims=True)
    ratios[2] = np.where(np.median(tables[2], axis=0) > 1e-9, ratios[2], ratios[1])  # hardly ever a step: it says nothing
    above = ratios - np.maximum(np.percentile(ratios, 90, axis=1, keepdims=True), 0)
    below = ratios + 2 * np.percentile(np.abs(ratios), 75, axis=1).max(0)  # small ones may be rest, and rest has a long tail
    moving = (np.median(tables[1], axis=0) > 1e-9) & (tables[1] > 0)
    odd = moving & ((above.min(0) > np.log10(_OTHER_UNITS)) | (below.max(0) < -np.log10(_OTHER_UNITS)))
    for size, numbers, ratio in zip(sizes, odd, ratios[1], strict=True):
        if numbers.any():
            which = np.flatnonzero(numbers)
            factor = float(10 ** ratio[which[0]])
            message = (
                f"'{name}' numbers {which.tolist()} are {factor:.3g} times the usual size there{_named(factor)}; convert them, "
                "or leave the episode out"
            )
            yield Finding(Severity.WARNING, "unit-jump", message, name, 1, size.episode)


def _named(factor: float) -> str:
    for unit, what in _UNITS.items():
        if 0.8 < max(factor, 1 / factor) / unit < 1.25:
            return f" ({what}, or the other way round?)"
    return ""


def _stuck(name: str, sizes: list[_Size]) -> Iterator[Finding]:
    """Numbers that move all the time in nearly all episodes and not at all in this one; an untouched thing is none of these."""
    busy = np.stack([size.busy for size in sizes])
    still, rare = busy == 0, ((busy == 0).mean(0) < 0.2) & (np.median(busy, axis=0) > _BUSY)
    rare = rare & (~still.all(1, keepdims=True) | (name == "rewards"))  # a whole sensor is `stuck-sensor`
    for size, numbers in zip(sizes, still & rare, strict=True):
        if numbers.any():
            which = np.flatnonzero(numbers).tolist()
            message = f"'{name}' numbers {which} never change there; check the cable, or leave the episode out"
            yield Finding(Severity.WARNING, "stuck-number", message, name, 1, size.episode)
