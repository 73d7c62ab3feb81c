"""The registry of shifts: ways in which a world stops being the one that was learned. A new one is a class and one line below.

Sizes are relative: of an action's range, of a sensor's deviation in the log, of a picture's side. Each is fixed, so that
figures of different agents and environments can be laid side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from forethought.arena.task import Moment, RunningEpisode
from forethought.errors import unknown_name
from forethought.types import Array, ExperienceSpec, Observation, ReachObservation, SensorKind

Floats = NDArray[np.float64]


@dataclass
class Shift:
    """One episode's shift; a fresh one each episode, as it may remember. The base changes nothing.

    `since`: environment steps since the shift began, 0 at the first. `units`: each vector sensor's deviation in the log.
    """

    rng: np.random.Generator
    spec: ExperienceSpec
    units: Mapping[str, Array] = field(default_factory=dict)
    done: list[Array] = field(default_factory=list)
    seen: list[Observation] = field(default_factory=list)

    needs = ""
    """"image", "vector", or the name of a method that the running episode must have."""
    harmful = True
    abrupt = True

    def world(self, episode: Any) -> None:
        """Change the world itself, once, when the shift begins."""

    def actions(self, action: Array, since: int) -> list[Array]:
        """What the actuators make of an action: what is really done, one environment step each."""
        return [action]

    def sense(self, observation: Observation, since: int) -> Observation:
        """What the sensors make of an observation."""
        return {
            s.name: self.image(np.asarray(observation[s.name]), since) if s.kind is SensorKind.IMAGE
            else self.vector(s.name, np.asarray(observation[s.name]), since)
            for s in self.spec.sensors
        }  # fmt: skip

    def image(self, image: Array, since: int) -> Array:
        """A camera's reading (H, W, C) uint8."""
        return image

    def vector(self, name: str, value: Array, since: int) -> Array:
        """Another sensor's reading."""
        return value


class Friction(Shift):
    """Small actions do nothing, and large ones less: a third of the range goes to friction."""

    def actions(self, action: Array, since: int) -> list[Array]:
        return [np.sign(action) * np.maximum(np.abs(action) - 0.33, 0.0)]


class Mass(Shift):
    """Inertia: seven tenths of what is done is what was done before."""

    def actions(self, action: Array, since: int) -> list[Array]:
        before = self.done[-1] if self.done else np.zeros_like(action)
        self.done.append(0.7 * before + 0.3 * np.asarray(action))
        return self.done[-1:]


class Gain(Shift):
    """Actuators give half."""

    def actions(self, action: Array, since: int) -> list[Array]:
        return [0.5 * np.asarray(action)]


class Drift(Shift):
    """Actuators wear out slowly: down to 0.4 within a hundred steps."""

    abrupt = False

    def actions(self, action: Array, since: int) -> list[Array]:
        return [max(0.4, 1.0 - 0.006 * since) * np.asarray(action)]


class DeadActuator(Shift):
    """The first actuator does nothing."""

    def actions(self, action: Array, since: int) -> list[Array]:
        dead = np.array(action, dtype=np.float64)
        dead[0] = 0.0
        return [dead]


class Reversed(Shift):
    """The last actuator's wires are exchanged."""

    def actions(self, action: Array, since: int) -> list[Array]:
        turned = np.array(action, dtype=np.float64)
        turned[-1] = -turned[-1]
        return [turned]


class ActionDelay(Shift):
    """Actions arrive two steps late; until the first arrives, nothing is done."""

    def actions(self, action: Array, since: int) -> list[Array]:
        self.done.append(np.array(action))
        return [self.done[-3] if len(self.done) > 2 else np.zeros_like(action)]


class TimeStep(Shift):
    """The clock runs at half speed: each action is held for two steps."""

    def actions(self, action: Array, since: int) -> list[Array]:
        return [action, action]


class ObservationDelay(Shift):
    """Sensors show what was two steps ago."""

    def sense(self, observation: Observation, since: int) -> Observation:
        self.seen.append(observation)
        return self.seen[-3] if len(self.seen) > 2 else self.seen[0]


class Frozen(Shift):
    """Sensors stand still."""

    def sense(self, observation: Observation, since: int) -> Observation:
        self.seen = self.seen or [observation]
        return self.seen[0]


class Bias(Shift):
    """Every number is off by half a deviation; a camera's first colour by 25."""

    def image(self, image: Array, since: int) -> Array:
        shifted = image.astype(np.int64)
        shifted[..., 0] += 25
        return np.clip(shifted, 0, 255).astype(np.uint8)

    def vector(self, name: str, value: Array, since: int) -> Array:
        return (value + 0.5 * self.units[name]).astype(value.dtype)


class Noise(Shift):
    """White noise: a tenth of a deviation on numbers, 20 on pixels."""

    def image(self, image: Array, since: int) -> Array:
        return np.clip(image + self.rng.normal(0, 20, image.shape), 0, 255).astype(np.uint8)

    def vector(self, name: str, value: Array, since: int) -> Array:
        return (value + 0.1 * self.units[name] * self.rng.normal(size=value.shape)).astype(value.dtype)


class CameraShift(Shift):
    """The camera is knocked: the picture moves by a twentieth of its side."""

    needs = "image"

    def image(self, image: Array, since: int) -> Array:
        by = max(1, image.shape[0] // 20)
        return np.pad(image, ((by, 0), (by, 0), (0, 0)), mode="edge")[: image.shape[0], : image.shape[1]]


class Colour(Shift):
    """Red and blue are exchanged."""

    needs = "image"

    def image(self, image: Array, since: int) -> Array:
        return np.ascontiguousarray(image[..., ::-1])


class Lighting(Shift):
    """The light goes down to seven tenths."""

    needs = "image"

    def image(self, image: Array, since: int) -> Array:
        return (0.7 * image).astype(np.uint8)


class Occlusion(Shift):
    """A grey patch, a quarter of the side, somewhere on the lens."""

    needs = "image"

    def image(self, image: Array, since: int) -> Array:
        side = image.shape[0] // 4
        if not self.done:
            self.done.append(self.rng.integers(0, [image.shape[0] - side, image.shape[1] - side]))
        row, column = self.done[0]
        covered = image.copy()
        covered[row : row + side, column : column + side] = 128
        return covered


class Obstacle(Shift):
    """Something stands in the way that was never there before."""

    needs = "obstruct"

    def world(self, episode: Any) -> None:
        episode.obstruct(self.rng)


class MovedDoor(Shift):
    """The door is elsewhere."""

    needs = "move_door"

    def world(self, episode: Any) -> None:
        episode.move_door(self.rng)


class Distractor(Shift):
    """A small thing that moves about the border of the picture, and matters to nothing."""

    needs, harmful = "image", False

    def image(self, image: Array, since: int) -> Array:
        side = max(2, image.shape[0] // 21)
        place = int((since * 0.7) % (image.shape[1] - side))
        drawn = image.copy()
        drawn[:side, place : place + side] = (60, 90, 200)
        return drawn


SHIFTS: dict[str, type[Shift]] = {
    "friction": Friction, "mass": Mass, "gain": Gain, "drift": Drift, "dead-actuator": DeadActuator, "reversed": Reversed,
    "action-delay": ActionDelay, "time-step": TimeStep, "observation-delay": ObservationDelay, "frozen": Frozen, "bias": Bias,
    "noise": Noise, "camera": CameraShift, "colour": Colour, "lighting": Lighting, "occlusion": Occlusion, "obstacle": Obstacle,
    "moved-door": MovedDoor, "distractor": Distractor,
}  # fmt: skip


def applicable(episode: RunningEpisode, spec: ExperienceSpec) -> tuple[str, ...]:
    """The names of shifts that make sense here."""
    kinds = {sensor.kind.value for sensor in spec.sensors}
    return tuple(n for n, s in SHIFTS.items() if not s.needs or s.needs in kinds or callable(getattr(episode, s.needs, None)))


def shift_named(name: str) -> type[Shift]:
    """The shift of that name. Raises UsageError with the nearest known names."""
    if name not in SHIFTS:
        raise unknown_name("shift", name, SHIFTS)
    return SHIFTS[name]


@final
class Shifted(RunningEpisode):
    """A running episode that a shift strikes at step `begins`; until then, it is as ever. Struck from the start (0), its goal
    and its first observation are of the changed world too.
    """

    def __init__(self, episode: RunningEpisode, shift: Shift | None, begins: int) -> None:
        self.episode, self.shift, self.begins, self.steps = episode, shift, begins, 0
        if shift is not None and not begins:
            shift.world(episode)
        self.goal, self.start = episode.goal, episode.start
        if shift is not None and not begins:
            self.start = Moment(shift.sense(episode.start.observation, 0), episode.start.reached, episode.start.legal)
            if isinstance(self.goal, ReachObservation):
                self.goal = ReachObservation(shift.sense(self.goal.observation, 0))

    def step(self, action: Array) -> Moment:
        since = self.steps - self.begins
        self.steps += 1
        if self.shift is None or since < 0:
            return self.episode.step(action)
        if since == 0 and self.begins:
            self.shift.world(self.episode)
        for part in self.shift.actions(np.asarray(action, dtype=np.float64), since):
            moment = self.episode.step(part)
        return Moment(self.shift.sense(moment.observation, since), moment.reached, moment.legal)

    def picture(self) -> NDArray[np.uint8]:
        return self.episode.picture()
