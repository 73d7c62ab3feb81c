"""Kinds of fault for `planted_faults`: what each does to a clean log, and the code that `data check` should give it.

`plant` changes the episodes (their own copies) and returns the id of the one with the fault, or None for the whole log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from forethought.data.split import Split, split_of
from forethought.types import BoxSpace, Episode, ExperienceSpec, SensorKind

Episodes = list[Episode]
Rng = np.random.Generator
Change = Callable[[NDArray[Any], Rng], NDArray[Any] | None]
Fits = Callable[[ExperienceSpec], bool]


@final
@dataclass(frozen=True)
class Fault:
    """A kind of fault: the code it should be given, where it can be planted, and how."""

    code: str
    fits: Fits
    plant: Callable[[Episodes, ExperienceSpec, Rng], str | None]


def has(kind: SensorKind, least: int = 1) -> Fits:
    """Logs with such a sensor, of so many numbers."""
    return lambda spec: any(sensor.kind is kind and sensor.shape[-1] >= least for sensor in spec.sensors)


def box(size: int = 1) -> Fits:
    """Logs with so many action numbers."""
    return lambda spec: isinstance(spec.action_space, BoxSpace) and spec.action_space.size >= size


def always(spec: ExperienceSpec) -> bool:
    """Every log."""
    return True


def rewarded(spec: ExperienceSpec) -> bool:
    """Logs with rewards."""
    return spec.has_reward


def _planted(
    code: str, fits: Fits, where: Callable[[Episode, ExperienceSpec], NDArray[Any]], change: Change, every: bool
) -> Fault:
    """A change of one array, in one episode or in all."""

    def plant(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
        chosen = episodes if every else [episodes[int(rng.integers(len(episodes)))]]
        for episode in chosen:
            array = where(episode, spec)
            new = change(array, rng)
            if new is not None:
                array[...] = new
        return None if every else chosen[0].id

    return Fault(code, fits, plant)


def sensor(kind: SensorKind, code: str, change: Change, every: bool = False, least: int = 1) -> Fault:
    """A fault of the first sensor of that kind."""

    def where(episode: Episode, spec: ExperienceSpec) -> NDArray[Any]:
        return episode.observations[next(s.name for s in spec.sensors if s.kind is kind)]

    return _planted(code, has(kind, least), where, change, every)


def vector(code: str, change: Change, every: bool = False, least: int = 1) -> Fault:
    """A fault of numbers."""
    return sensor(SensorKind.VECTOR, code, change, every, least)


def camera(code: str, change: Change, every: bool = False) -> Fault:
    """A fault of pictures."""
    return sensor(SensorKind.IMAGE, code, change, every)


def actions(code: str, change: Change, every: bool = False, least: int = 1) -> Fault:
    """A fault of the actions of a box."""
    return _planted(code, box(least), lambda episode, spec: episode.actions, change, every)


def clock(code: str, change: Change, every: bool = False) -> Fault:
    """A fault of the times."""
    return _planted(code, always, lambda episode, spec: episode.metadata["timestamp"], change, every)


def rewards(code: str, change: Change, every: bool = False) -> Fault:
    """A fault of the rewards."""

    def where(episode: Episode, spec: ExperienceSpec) -> NDArray[Any]:
        assert episode.rewards is not None
        return episode.rewards

    return _planted(code, rewarded, where, change, every)


def bounded(change: Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[Any]]) -> Fault:
    """Actions that a bound changes in every episode: (actions, low, high) -> actions."""

    def plant(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
        assert isinstance(spec.action_space, BoxSpace)
        low, high = np.array(spec.action_space.low), np.array(spec.action_space.high)
        for episode in episodes:
            episode.actions[...] = change(episode.actions, low, high)
        return None

    return Fault("saturated-action", box(), plant)


def middle(values: NDArray[Any], rng: Rng) -> int:
    """A row well inside the episode."""
    return int(rng.integers(len(values) // 4, len(values) // 2))


def at(value: float) -> Change:
    """One row of another value."""

    def change(values: NDArray[Any], rng: Rng) -> None:
        values[middle(values, rng)] = value

    return change


def one_number(change: Callable[[NDArray[Any], Rng], NDArray[Any]]) -> Change:
    """The change in one of the numbers."""

    def changed(values: NDArray[Any], rng: Rng) -> None:
        number = int(rng.integers(values.shape[1]))
        values[:, number] = change(values[:, number], rng)

    return changed


def re_zeroed(values: NDArray[Any], rng: Rng) -> None:
    """A sensor that begins again elsewhere: all later readings are shifted by the width of its range."""
    values[middle(values, rng) :] += 3 * np.ptp(values)


def misread(values: NDArray[Any], rng: Rng) -> None:
    """One wild reading of one number."""
    values[middle(values, rng), int(rng.integers(values.shape[1]))] += 3 * np.ptp(values)


def cut_off(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
    """A sensor whose range ends too early."""
    name = next(s.name for s in spec.sensors if s.kind is SensorKind.VECTOR)
    limits = np.percentile(np.concatenate([episode.observations[name] for episode in episodes]), 70, axis=0)
    for episode in episodes:
        episode.observations[name][...] = np.minimum(episode.observations[name], limits)
    return None


def _path(episode: Episode) -> NDArray[Any]:
    """Where the body truly is, (T+1, n)."""
    return episode.metadata["position"] if "position" in episode.metadata else next(iter(episode.observations.values()))


def _moved(episode: Episode) -> NDArray[np.bool_]:
    """Does each action number move the body its way in most steps? True where the log does not know the body's place."""
    size = episode.actions.shape[1]
    if "position" not in episode.metadata:
        return np.ones(size, dtype=bool)
    steps = np.diff(episode.metadata["position"], axis=0)[:, :size]
    along: NDArray[np.bool_] = ((np.sign(steps) == np.sign(episode.actions)) & (np.abs(steps) > 1e-4)).mean(0) > 0.8
    return along


def turned(mirror: bool) -> Callable[[Episodes, ExperienceSpec, Rng], str | None]:
    """An actuator turned round, or the picture mirrored, where the body moves: pressed against a wall nobody could tell."""

    def plant(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
        index = int(rng.choice([i for i, episode in enumerate(episodes) if _moved(episode)[0]]))
        episode = episodes[index]
        if mirror:
            name = next(s.name for s in spec.sensors if s.kind is SensorKind.IMAGE)
            episode.observations[name][...] = episode.observations[name][:, :, ::-1].copy()
        else:
            episode.actions[:, 0] *= -1
        return episode.id

    return plant


def exchanged(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
    """Two actuators exchanged, where the body moves."""
    index = int(rng.choice([i for i, episode in enumerate(episodes) if _moved(episode)[:2].all()]))
    episodes[index].actions[:, :2] = episodes[index].actions[:, 1::-1].copy()
    return episodes[index].id


def unplugged(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
    """An actuator that does nothing: what it was told is anything but what it did."""
    for episode in episodes:
        episode.actions[:, -1] = rng.permutation(episode.actions[:, -1])
    return None


def unused(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
    """An action number that is never used."""
    for episode in episodes:
        episode.actions[:, -1] = 0
    return None


def blank(frames: NDArray[Any], rng: Rng) -> None:
    """Three lost pictures."""
    row = middle(frames, rng)
    frames[row : row + 3] = 0


def half_rate(values: NDArray[Any], rng: Rng) -> NDArray[Any]:
    """A sensor at half the log's rate."""
    return values[np.arange(len(values)) // 2 * 2]


def gap(times: NDArray[Any], rng: Rng) -> None:
    """Five frames lost."""
    times[middle(times, rng) :] += 5 * (times[1] - times[0])


def back(times: NDArray[Any], rng: Rng) -> None:
    """A clock that is set back."""
    row = middle(times, rng)
    times[row:] -= 3.3 * (times[1] - times[0])


def twice(times: NDArray[Any], rng: Rng) -> None:
    """A row with the time of the one before."""
    row = middle(times, rng)
    times[row] = times[row - 1]


def jitter(times: NDArray[Any], rng: Rng) -> NDArray[Any]:
    """Uneven times, in order."""
    return times + np.arange(len(times)) % 2 * 0.3 * (times[1] - times[0])


def repeated_id(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
    """One id for two episodes."""
    one, other = rng.choice(len(episodes), 2, replace=False)
    episodes[max(one, other)] = replace(episodes[max(one, other)], id=episodes[min(one, other)].id)
    return episodes[one].id if one < other else episodes[other].id


def short(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
    """An episode of three steps."""
    index = int(rng.integers(len(episodes)))
    episodes[index] = _rows(episodes[index], 0, 3)
    return episodes[index].id


def no_test(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
    """No episode to test on."""
    episodes[:] = [episode for episode in episodes if split_of(episode.id) is not Split.TEST]
    return None


def joined(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
    """Two episodes written as one: the second begins far from where the first ends, else nobody could tell."""
    one = int(rng.integers(len(episodes)))
    paths = [_path(episode) for episode in episodes]
    away = [float(np.linalg.norm(path[0] - paths[one][-1])) for path in paths]
    far = [index for index in np.argsort(away)[len(away) // 2 :] if index != one]
    first, second = episodes[one], episodes[int(rng.choice(far))]
    last = first.num_steps - 1
    episodes[one] = replace(
        second,
        id=first.id,
        observations={n: np.concatenate([v[: last + 1], second.observations[n]]) for n, v in first.observations.items()},
        actions=np.concatenate([first.actions, second.actions]),
        rewards=None if first.rewards is None or second.rewards is None else np.concatenate([first.rewards, second.rewards]),
        metadata={},
    )
    return first.id


def _pair(episodes: Episodes, rng: Rng) -> tuple[int, int]:
    """A training episode and one that is held out."""
    held_out = [i for i, e in enumerate(episodes) if split_of(e.id) is not Split.TRAIN]
    trained = [i for i, e in enumerate(episodes) if split_of(e.id) is Split.TRAIN]
    return int(rng.choice(trained)), int(rng.choice(held_out))


def copied(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
    """A training episode under a held-out one's name."""
    trained, held_out = _pair(episodes, rng)
    episodes[held_out] = replace(episodes[trained], id=episodes[held_out].id)
    return episodes[held_out].id


def leaked(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
    """Thirty rows of a training episode inside a held-out one."""
    trained, held_out = _pair(episodes, rng)
    for name, values in episodes[trained].observations.items():
        episodes[held_out].observations[name][4:35] = values[6:37]
    episodes[held_out].actions[4:34] = episodes[trained].actions[6:36]
    return episodes[held_out].id


def _rows(episode: Episode, first: int, last: int) -> Episode:
    return replace(
        episode,
        observations={n: v[first : last + 1] for n, v in episode.observations.items()},
        actions=episode.actions[first:last],
        rewards=None if episode.rewards is None else episode.rewards[first:last],
        metadata={n: v[first : last + 1] for n, v in episode.metadata.items()},
    )


def stands_still(kind: SensorKind | None, rows: int) -> Callable[[Episodes, ExperienceSpec, Rng], str | None]:
    """A sensor (None: all, to the end) that stands still while the body goes on and the actions go both ways: a body at a wall
    looks the same otherwise."""

    def plant(episodes: Episodes, spec: ExperienceSpec, rng: Rng) -> str | None:
        for index in rng.permutation(len(episodes)):
            episode = episodes[index]
            first = middle(episode.actions, rng)
            last = min(first + rows, episode.num_steps)
            went = np.abs(np.diff(_path(episode), axis=0))[first:last].max(1) > 1e-4
            both = (np.ptp(np.sign(episode.actions[first:last]), axis=0) == 2).all()
            if went.mean() > 0.8 and both:
                for name in [s.name for s in spec.sensors if kind in (None, s.kind)]:
                    episode.observations[name][first : last + 1] = episode.observations[name][first]
                return episode.id
        raise ValueError("no episode whose body moves all the time")

    return plant


FAULTS: dict[str, Fault] = {
    # numbers that are none or not allowed
    "NaN in a sensor": vector("not-finite", at(np.nan)),
    "infinite action": actions("not-finite", at(np.inf)),
    "NaN reward": rewards("not-finite", at(np.nan)),
    "action beyond its bounds": actions("action-out-of-bounds", at(9.0)),
    # episodes
    "id given twice": Fault("repeated-id", always, repeated_id),
    "episode of three steps": Fault("short-episode", always, short),
    "no test episodes": Fault("empty-split-test", always, no_test),
    "training episode among the tests": Fault("near-duplicate", always, copied),
    "stretch of training in a test": Fault("shared-stretch", always, leaked),
    "two episodes in one": Fault("jump", always, joined),
    # clocks
    "clock set back": clock("time-backwards", back),
    "time logged twice": clock("time-repeats", twice),
    "lost frames": clock("clock-gap", gap),
    "uneven clock": clock("clock-jitter", jitter),
    "milliseconds for seconds": clock("clock-rate", lambda times, rng: times * 1000),
    "clock 5 % fast": clock("clock-drift", lambda times, rng: times * 1.05, every=True),
    # sensors
    "stuck numbers": vector("stuck-sensor", lambda values, rng: values[:1].repeat(len(values), 0)),
    "stuck camera": camera("stuck-sensor", lambda values, rng: values[:1].repeat(len(values), 0)),
    "frozen numbers": Fault("frozen-sensor", has(SensorKind.VECTOR), stands_still(SensorKind.VECTOR, 16)),
    "frozen camera": Fault("frozen-sensor", has(SensorKind.IMAGE), stands_still(SensorKind.IMAGE, 16)),
    "numbers at half the rate": vector("repeated-rows", half_rate, every=True),
    "camera at half the rate": camera("repeated-rows", half_rate, every=True),
    "one number unplugged": vector("stuck-number", one_number(lambda column, rng: np.full_like(column, 0.5)), least=2),
    "degrees for radians": vector("unit-jump", lambda values, rng: values * 57.2958),
    "metres for millimetres": vector("unit-jump", lambda values, rng: values * 0.001),
    "sensor zeroed again": vector("jump", re_zeroed),
    "one misread number": vector("spike", misread),
    "sensor cut off": Fault("saturated-sensor", has(SensorKind.VECTOR), cut_off),
    # pictures
    "BGR for RGB": camera("channel-swap", lambda frames, rng: frames[..., ::-1].copy()),
    "inverted picture": camera("value-range", lambda frames, rng: 255 - frames),
    "picture from 0 to 1": camera("value-range", lambda frames, rng: frames // 200),
    "picture from 0 to 127": camera("value-range", lambda frames, rng: frames // 2),
    "blank frames": camera("blank-frames", blank),
    "mirrored picture": Fault("action-flipped", has(SensorKind.IMAGE), turned(mirror=True)),
    # actions
    "actions two rows late": actions("delay", lambda values, rng: np.roll(values, 2, axis=0), every=True),
    "actions a row early": actions("delay", lambda values, rng: np.roll(values, -1, axis=0), every=True),
    "unplugged actuator": Fault("dead-actuator", box(2), unplugged),
    "actuator turned round": Fault("action-flipped", box(), turned(mirror=False)),
    "actuators exchanged": Fault("action-swapped", box(2), exchanged),
    "actions always at the stop": bounded(lambda values, low, high: np.clip(8 * values, low, high)),
    "actions of one sign": actions("action-untried", lambda values, rng: np.abs(values), every=True),
    "actions in other units": actions("action-range", lambda values, rng: values * 0.01, every=True),
    "one episode's actions in other units": actions("unit-jump", lambda values, rng: values * 0.01),
    "action never used": Fault("constant-action", box(), unused),
    "nothing answers": Fault("idle-action", always, stands_still(None, 1000)),
    "rewards not logged": rewards("stuck-number", lambda values, rng: np.zeros_like(values)),
    "rewards in other units": rewards("unit-jump", lambda values, rng: values * 100),
}  # fmt: skip
"""Kind -> fault."""
