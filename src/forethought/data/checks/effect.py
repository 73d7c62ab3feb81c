"""Actuators that do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np

from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, Floats, Log, View

LEAST_EPISODES = 10
_ALIVE, _DEAD = 6.0, 2.0  # mean of rows x correlation^2 over the episodes: 1 is what chance gives


@final
class Effect(Check):
    """`dead-actuator`: no sensor answers an action number, while others are answered."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._chance: dict[str, Floats] = {}
        self._episodes = 0

    def see(self, view: View) -> None:
        self._episodes += bool(view.responses)
        for name, response in view.responses.items():
            chance = response.rows * response.partial_AN**2
            self._chance[name] = self._chance.get(name, np.zeros_like(chance)) + chance

    def findings(self) -> Iterator[Finding]:
        if self._episodes < LEAST_EPISODES:
            return
        best_A = np.max([chance.max(1) for chance in self._chance.values()], axis=0) / self._episodes
        dead = np.flatnonzero(best_A < _DEAD)
        if len(dead) and best_A.max() > _ALIVE:
            message = (
                f"no sensor answers actions {dead.tolist()}, others are answered; check the cable and the order of the action "
                "numbers, or leave them out"
            )
            yield Finding(Severity.WARNING, "dead-actuator", message, "actions", len(dead))
