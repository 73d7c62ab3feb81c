"""Why an alarm: one sentence that a person can act on."""

from __future__ import annotations

import math

from forethought.surprise.signals import Signals, gain
from forethought.types import Expectation, SensorKind


def reason(signal: str, expectation: Expectation, signals: Signals) -> str:
    """The loudest signal in words; where actions have less or more effect than learned, by how much."""
    sensor, _, what = signal.partition(": ")
    if what:
        kind = next(s.sensor.kind for s in signals.senses if s.sensor.name == sensor)
        name = f"the camera '{sensor}'" if kind is SensorKind.IMAGE else f"the sensor '{sensor}'"
        return {
            "jump": f"{name} changed at once by more than actions ever changed it",
            "place": f"{name} shows nothing like what was ever seen",
            "rest": f"{name} shows a pattern that was never seen",
        }[what]
    if signal == "scene":
        return "the scene changed, which stays as it is within an episode"
    if signal == "latent":
        return "never been anywhere like this"
    if signal in signals.otherwise.names:
        estimate, error = gain(expectation.moved)
        known = signal.endswith(("less effect", "more effect")) and not math.isnan(estimate)
        return f"{signal} than learned: gain {estimate:.1f} ± {error:.1f}" if known else signal
    return "things go another way than imagined"
