"""Episodes in which actions work the other way round, or for each other; and pictures that are mirrored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import final

import numpy as np

from forethought.data.checks.effect import LEAST_EPISODES
from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, Floats, Log, Repair, View
from forethought.types import BoxSpace, Episode, SensorKind

_MOST = 8  # action numbers and sensor numbers whose pairs are followed
_CLEAR = 0.3  # usual correlation of an action number with the sensor number that answers it best
_TURNED, _AS_STRONG = -0.5, 0.35  # cosine with the usual answers, and strength as a share of them: a body pressed against a
_SURE = 10.0  # wall answers weakly and any way. rows x correlation^2; of 5,754 clean answers turned ones reached 7.6


@final
@dataclass(frozen=True)
class _Answer:
    """One episode's correlations of action numbers with one sensor's numbers (A, N), from so many rows."""

    index: int
    episode: str
    pairs_AN: Floats
    rows: int


@final
@dataclass(frozen=True)
class _Odd:
    """What is wrong: action `one` is turned round in those sensors (all that answer it, or not), or exchanged with `other`."""

    index: int
    episode: str
    one: int
    other: int | None = None
    mirrored: str | None = None  # the sensor, where others answer as usual
    axis: int = 0  # which of its numbers answers

    def told(self) -> tuple[str, str, str]:
        """Code, message, sensor."""
        if self.other is not None:
            message = f"actions {self.one} and {self.other} work for each other there; exchange them back"
            return "action-swapped", message, "actions"
        if self.mirrored is not None:
            message = (
                f"'{self.mirrored}' answers action {self.one} the other way round there, other sensors do not; mirror it back"
            )
            return "mirrored-sensor", message, self.mirrored
        message = f"action {self.one} works the other way round there, or the picture is mirrored; turn one of them back"
        return "action-flipped", message, "actions"


@final
class Crossed(Check):
    """`action-flipped`, `action-swapped`, `mirrored-sensor`; turned back when mended."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._answers: dict[str, list[_Answer]] = {}

    def see(self, view: View) -> None:
        if isinstance(self.log.spec.action_space, BoxSpace):
            for name, response in view.responses.items():
                pairs = response.partial_AN[:_MOST, :_MOST]
                self._answers.setdefault(name, []).append(_Answer(view.index, view.episode.id, pairs, response.rows))

    def findings(self) -> Iterator[Finding]:
        for odd in self._odd():
            code, message, sensor = odd.told()
            yield Finding(Severity.WARNING, code, message, sensor, 1, odd.episode)

    def repairs(self) -> Iterator[Repair]:
        for odd in self._odd():
            code = odd.told()[0]
            what = (
                "mirrored pictures back"
                if odd.mirrored
                else f"{'exchanged' if odd.other is not None else 'turned'} actions back"
            )
            if odd.mirrored is None or self.log.spec.sensor(odd.mirrored).kind is SensorKind.IMAGE:
                yield Repair(code, what, odd.index, lambda episode, odd=odd: [self._mended(episode, odd)])  # type: ignore[misc]

    def _mended(self, episode: Episode, odd: _Odd) -> Episode:
        if odd.mirrored is not None:
            frames = np.flip(episode.observations[odd.mirrored], 2 - odd.axis)  # its numbers are x and y
            return replace(episode, observations={**episode.observations, odd.mirrored: np.ascontiguousarray(frames)})
        space, actions = self.log.spec.action_space, episode.actions.copy()
        assert isinstance(space, BoxSpace)
        if odd.other is None:
            actions[:, odd.one] = space.low[odd.one] + space.high[odd.one] - actions[:, odd.one]
        else:
            actions[:, [odd.one, odd.other]] = actions[:, [odd.other, odd.one]]
        return replace(episode, actions=actions)

    def _odd(self) -> Iterator[_Odd]:
        turned: dict[tuple[int, str, int], dict[str, int]] = {}
        upright: set[tuple[int, str, int]] = set()
        swapped: set[_Odd] = set()
        for name, answers in self._answers.items():
            usual = np.median([answer.pairs_AN for answer in answers], axis=0)
            for answer in answers if len(answers) >= LEAST_EPISODES else ():
                back, forth, exchanged = _how(answer, usual)
                for one in back:
                    axis = int(np.abs(usual[one]).argmax())
                    turned.setdefault((answer.index, answer.episode, one), {})[name] = axis
                upright |= {(answer.index, answer.episode, one) for one in forth}
                swapped |= {_Odd(answer.index, answer.episode, *pair) for pair in exchanged}
        for key, sensors in turned.items():
            if key in upright:
                yield from (_Odd(*key, mirrored=name, axis=axis) for name, axis in sensors.items())
            else:
                yield _Odd(*key)
        yield from sorted(swapped, key=lambda odd: odd.index)


def _how(answer: _Answer, usual_AN: Floats) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Action numbers that are clearly turned round, those clearly not, and pairs that are exchanged."""
    along, sizes = answer.pairs_AN @ usual_AN.T, np.linalg.norm(usual_AN, axis=1)
    like = along / np.maximum(np.linalg.norm(answer.pairs_AN, axis=1)[:, None] * sizes, 1e-9)
    strong = np.abs(np.diag(along)) > _AS_STRONG * sizes**2
    sure = answer.rows * np.abs(answer.pairs_AN).max(1) ** 2 > _SURE
    clear = (np.abs(usual_AN).max(1) > _CLEAR) & sure
    turned, upright = (np.flatnonzero(clear & strong & where) for where in (np.diag(like) < _TURNED, np.diag(like) > -_TURNED))
    exchanged = [
        (int(one), int(other))
        for one, other in combinations(np.flatnonzero(clear), 2)
        if min(like[one, other], like[other, one]) > 0.8 and max(like[one, one], like[other, other]) < 0.4
    ]
    return turned.tolist(), upright.tolist(), exchanged
