"""What comes in: can it be used, and is it like anything that was logged?

The rule. A goal is given by a program: one that cannot be used is an error, at once (`init`, `redirect`). An observation is
given by the world, and a running agent never raises because of it: what is missing, not finite, or of another shape or type is
answered by the safe action for a block (Mode.STOP), with a reason that names the sensor. Meanwhile the belief goes on in
imagination, block by block, as the world does under the safe action; the plan is dropped, as it was made for a world without
that block; of the next good observation nothing was foretold, as at an episode's start; and all evidence so far stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from forethought.agent.ladder import Choice
from forethought.dynamics.base import Dynamics
from forethought.errors import UsageError
from forethought.surprise.monitor import Monitor
from forethought.surprise.senses import Floats
from forethought.surprise.signals import host
from forethought.types import Array, Belief, Expectation, Mode, Observation, Sensor, SensorKind

BEYOND = 1.3
"""A goal is unlike the log if it is that many times as far out as any held-out moment. A small p-value is not enough: goals are
chosen more evenly than a log visits places, and rare is not outside (docs/log/surprise.md).
"""


def readings(sensors: Sequence[Sensor], observation: Observation) -> dict[str, Array]:
    """Each sensor's reading as the log had it. Raises UsageError that names the sensor, and what is wrong with it."""
    if not isinstance(observation, Mapping):
        raise UsageError(f"the observation is a {type(observation).__name__}; give a mapping of sensor names to readings")
    return {sensor.name: _reading(sensor, observation) for sensor in sensors}


def _reading(sensor: Sensor, observation: Observation) -> Array:
    name = sensor.name
    if name not in observation:
        got = sorted(str(key) for key in observation)
        raise UsageError(f"the observation lacks sensor '{name}'; got {got}; give every sensor the model was trained on")
    try:
        value = np.ascontiguousarray(observation[name])
    except (ValueError, TypeError) as error:
        raise UsageError(f"sensor '{name}' holds no array ({error}); give one of shape {sensor.shape}") from None
    if value.shape != sensor.shape:
        raise UsageError(f"sensor '{name}' has shape {value.shape}, expected {sensor.shape}; resize it as the log's was")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        odd = int(value.size - np.isfinite(value).sum())
        raise UsageError(f"sensor '{name}' holds NaN or infinity in {odd} of {value.size} numbers; look after the sensor")
    return _number(sensor, value) if sensor.kind is SensorKind.VECTOR else _whole(sensor, value)


def _number(sensor: Sensor, value: Array) -> Array:
    with np.errstate(over="ignore"):
        single = value.astype(np.float32) if value.dtype.kind in "fiub" else None
    if single is None or not np.isfinite(single).all():
        raise UsageError(f"sensor '{sensor.name}' has dtype {value.dtype} and does not fit float32; give finite numbers")
    return single


def _whole(sensor: Sensor, value: Array) -> Array:
    wanted = np.dtype(sensor.dtype)
    if wanted.kind not in "iu":
        return value.astype(wanted, copy=False)
    if value.dtype.kind not in "iu":
        raise UsageError(f"sensor '{sensor.name}' has dtype {value.dtype}, expected {wanted}; convert it as the log's was")
    most = sensor.vocabulary - 1 if sensor.kind is SensorKind.TOKENS else int(np.iinfo(wanted).max)
    low, high = int(value.min(initial=0)), int(value.max(initial=0))
    if low < 0 or high > most:
        raise UsageError(f"sensor '{sensor.name}' holds {low} to {high}, expected 0 to {most}; convert it as the log's was")
    return value.astype(wanted, copy=False)


def finite(*tensors: Tensor) -> bool:
    """Is every number one?"""
    return all(bool(np.isfinite(host(t)).all()) for t in tensors)  # a third of the time torch takes for a few numbers


def carried(dynamics: Dynamics, belief: Belief, block_A: Tensor) -> Belief:
    """The belief a block later, without looking; the same if the dynamics gives no finite one."""
    z_BD, memory_BM = dynamics.step(belief.z_BD, belief.memory_BM, block_A[None])
    return replace(belief, z_BD=z_BD, memory_BM=memory_BM) if finite(z_BD, memory_BM) else belief


def unforetold(monitor: Monitor, expectation: Expectation, block_A: Tensor) -> Expectation:
    """What is expected after a block that nobody watched: nothing. The evidence, the alarm and the scene so far stay."""
    past_FA = expectation.past_FA
    for taken_A in (expectation.block_A, block_A):
        past_FA = past_FA if taken_A is None else monitor.signals.otherwise.remember(taken_A, past_FA)
    ghosts_GD, memory_GM = expectation.ghosts_GD[:0], expectation.memory_GM[:0]
    return replace(expectation, ghosts_GD=ghosts_GD, memory_GM=memory_GM, past_FA=past_FA, block_A=None, before=None, seen={})


def sound(chosen: Choice) -> Choice:
    """The choice, or the safe action if its way has no finite cost, or no finite actions."""
    way = chosen.plan
    if way is None or (math.isfinite(way.cost) and finite(way.actions_HA)):
        return chosen
    return replace(chosen, plan=None, step=0, mode=Mode.STOP, reason=f"stopped: no way has a finite cost; {chosen.reason}")


def unlike(monitor: Monitor, z_D: Floats, seen: Mapping[str, Array]) -> str:
    """In words, if a goal is unlike anything in the log, by its latent or by a sensor; else nothing.

    p is the smallest p-value of a few, times their number (Bonferroni).
    """
    signals = monitor.signals
    scores = {"latent": signals.nearest.distance((z_D / signals.spread_D).astype(np.float32))}
    for sense in signals.senses:
        name = sense.sensor.name
        scores[f"{name}: place"], scores[f"{name}: rest"] = sense.look(sense.scaled(seen[name]))
    usual = monitor.evidence.usual
    row_K = np.array([scores.get(name, np.nan) for name in signals.names[: len(usual.knots_KJ)]])
    most_K = np.maximum(usual.knots_KJ[:, -1], 1e-9)
    known_K = np.isfinite(most_K) & ~np.isnan(row_K)
    if not known_K.any():
        return ""
    p = min(1.0, float(known_K.sum() * np.exp(-usual.strangeness(row_K)[known_K].max())))
    far = float((row_K / most_K)[known_K].max())
    if far <= BEYOND:
        return ""
    return f"the goal is unlike anything in the log (p {p:.2g}, {far:.2g} times as far out as anything there)"


def of_goal(monitor: Monitor | None, z_BD: Tensor, seen: Mapping[str, Array]) -> str:
    """`unlike` for an encoded goal; without a monitor nobody knows. Raises UsageError if the model makes nothing of it."""
    if not finite(z_BD):
        raise UsageError("the model makes no finite latent of this goal; give a goal as the log's observations are")
    if monitor is None:
        return ""
    with np.errstate(over="ignore", invalid="ignore"):
        return unlike(monitor, host(z_BD[0]), seen)
