"""Pictures of another kind than the others': channels exchanged, inverted, in another range, empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.data.checks.cuts import keep_stretches
from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, EpisodeCheck, Floats, Log, Mask, Repair, View
from forethought.types import Array, Episode, SensorKind

_BINS = 16
_LEAST_EPISODES = 5
_CLEARLY = 0.4  # times nearer to the usual colours after the change
_NARROW = 0.6  # of the usual brightest value


@final
@dataclass(frozen=True)
class _Look:
    """Colours of one episode: histograms (C, bins) of each channel and of what sets it apart from the pixel's grey (greys,
    which say nothing of the order of channels, do not count there), each channel's sum 1; and the brightest value."""

    index: int
    episode: str
    histogram: Floats
    tint: Floats
    brightest: int


@final
@dataclass(frozen=True)
class _Odd:
    """An episode whose pictures are of another kind: what to say, and how to mend its frames (None: leave it out)."""

    look: _Look
    sensor: str
    code: str
    message: str
    mend: Callable[[Array], Array] | None


@final
class Colours(Check):
    """`channel-swap` (mended by exchanging them back), `value-range` (inverted ones are mended, others left out)."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._looks: dict[str, list[_Look]] = {s.name: [] for s in log.spec.sensors if s.kind is SensorKind.IMAGE}

    def see(self, view: View) -> None:
        for name, looks in self._looks.items():
            frames = view.episode.observations[name]
            some = frames[np.unique(np.linspace(0, len(frames) - 1, 16).astype(int))]
            looks.append(_Look(view.index, view.episode.id, *_histograms(some), int(some.max(initial=0))))

    def findings(self) -> Iterator[Finding]:
        for name, looks in self._looks.items():
            if looks and max(look.brightest for look in looks) <= 1:
                message = (
                    f"no value of '{name}' is above 1: written as 0 to 1 and cut to integers? Scale to 255 before you record"
                )
                yield Finding(Severity.WARNING, "value-range", message, name)
        for odd in self._odd():
            yield Finding(Severity.WARNING, odd.code, odd.message, odd.sensor, 1, odd.look.episode)

    def repairs(self) -> Iterator[Repair]:
        for odd in self._odd():
            if odd.mend is None:
                yield Repair(odd.code, "left out pictures of another range", odd.look.index, lambda episode: [])
            else:
                yield Repair(odd.code, "turned pictures back", odd.look.index, _mender(odd.sensor, odd.mend))

    def _odd(self) -> Iterator[_Odd]:
        for name, looks in self._looks.items():
            if len(looks) < _LEAST_EPISODES:
                continue
            usual = _Usual(
                np.median([look.histogram for look in looks], axis=0),
                np.median([look.tint for look in looks], axis=0),
                float(np.median([look.brightest for look in looks])),
            )
            noise = [float(np.median(each)) for each in zip(*(usual.apart(look) for look in looks), strict=True)]
            for look in looks:
                odd = _judged(look, name, usual, noise)
                if odd is not None:
                    yield odd


@final
@dataclass(frozen=True)
class _Usual:
    """What most episodes look like."""

    histogram: Floats
    tint: Floats
    brightest: float

    def apart(self, look: _Look) -> tuple[float, float]:
        """How far an episode is from that: in its channels, in its tints."""
        return _apart(look.histogram, self.histogram), _apart(look.tint, self.tint)


def _judged(look: _Look, name: str, usual: _Usual, noise: list[float]) -> _Odd | None:
    if look.brightest < _NARROW * usual.brightest:
        message = (
            f"'{name}' reaches {look.brightest} there, {usual.brightest:.0f} elsewhere; scale it, or leave the episode out"
        )
        return _Odd(look, name, "value-range", message, None)
    apart, tinted = usual.apart(look)
    if apart > max(4 * noise[0], 0.004) and _apart(look.histogram[:, ::-1], usual.histogram) < _CLEARLY * apart:
        return _Odd(look, name, "value-range", f"'{name}' is inverted there, black for white; turn it back", _inverted)
    if tinted <= max(4 * noise[1], 0.05):
        return None
    order = min(map(list, permutations(range(len(usual.tint)))), key=lambda o: _apart(look.tint[o], usual.tint))
    if _apart(look.tint[order], usual.tint) < _CLEARLY * tinted:
        message = f"the channels of '{name}' are exchanged there (BGR for RGB?); put them in the order {order}"
        return _Odd(look, name, "channel-swap", message, lambda frames: frames[..., order])
    return None


def _histograms(frames_THWC: Array) -> tuple[Floats, Floats]:
    """Histograms (C, bins) of the channels, and of their distances from grey, each pixel by how colourful it is."""
    pixels = np.moveaxis(frames_THWC, -1, 0).reshape(frames_THWC.shape[-1], -1).astype(np.float32)
    off = pixels - pixels.mean(0)
    colourful = np.ptp(pixels, 0) ** 2  # squared, so that a few bright spots weigh as much as a tinted floor
    channels = [np.bincount((channel * (_BINS / 256)).astype(int), minlength=_BINS) for channel in pixels]
    tints = [np.bincount(((each + 256) * (_BINS / 512)).astype(int), colourful, _BINS) for each in off]
    return np.array(channels) / max(1, pixels.shape[1]), np.array(tints) / max(1.0, float(colourful.sum()))


def _apart(one: Floats, other: Floats) -> float:
    """Share of the pixels that would have to change, over the channels."""
    return float(np.abs(one - other).sum(1).mean() / 2)


def _inverted(frames: Array) -> Array:
    return 255 - frames


def _mender(sensor: str, mend: Callable[[Array], Array]) -> Callable[[Episode], list[Episode]]:
    def apply(episode: Episode) -> list[Episode]:
        turned = np.ascontiguousarray(mend(episode.observations[sensor]))
        return [replace(episode, observations={**episode.observations, sensor: turned})]

    return apply


@final
class Blank(EpisodeCheck):
    """`blank-frames`: frames of one colour among others that are not. Cut out."""

    def look(self, view: View) -> Iterator[Finding]:
        for name, blank in _blank(view.episode, self._cameras()):
            if blank.any() and blank.mean() < 0.5:
                message = f"frames of '{name}' hold one colour and nothing else: lost pictures; cut them out"
                yield view.at(Severity.WARNING, "blank-frames", message, name, blank)

    def repairs(self) -> Iterator[Repair]:
        return self.mend("blank-frames", "cut out blank frames", self._cut)

    def _cameras(self) -> list[str]:
        return [sensor.name for sensor in self.log.spec.sensors if sensor.kind is SensorKind.IMAGE]

    def _cut(self, episode: Episode) -> list[Episode]:
        bad = np.any([blank for _, blank in _blank(episode, self._cameras())], axis=0)
        return keep_stretches(episode, bad, np.zeros(episode.num_steps, dtype=bool))


def _blank(episode: Episode, cameras: list[str]) -> Iterator[tuple[str, Mask]]:
    for name in cameras:
        frames: NDArray[np.uint8] = episode.observations[name]
        blank: Mask = (frames[:, ::4, ::4] == frames[:, :1, :1]).all((1, 2, 3))  # a first look, at few pixels
        some = frames[blank]
        blank[blank] = (some == some[:, :1, :1]).all((1, 2, 3))
        yield name, blank
