"""Record a log from any Gymnasium environment, so that a killed run goes on and ends with the same episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import gymnasium
import numpy as np

from forethought.data.experience import Writer
from forethought.errors import UsageError
from forethought.types import Array, BoxSpace, DiscreteSpace, Episode, ExperienceSpec, Observation, Sensor, SensorKind, Space

Env: TypeAlias = gymnasium.Env[Any, Any]
Act: TypeAlias = Callable[[Observation, Mapping[str, Any]], Any]
"""One episode's behaviour: (observation as sensors, the environment's info) -> what `env.step` takes."""


class Policy(Protocol):
    """Begins an episode, after the reset. All its randomness must come from the generator."""

    def __call__(self, env: Env, generator: np.random.Generator) -> Act:
        """The behaviour for this one episode."""


def random_policy(env: Env, generator: np.random.Generator) -> Act:
    """Uniformly random actions."""
    space = env.action_space
    space.seed(int(generator.integers(2**31)))
    return lambda observation, info: space.sample()


def collect(
    env_factory: Callable[[], Env],
    policy: Policy,
    episodes: int,
    writer: Writer,
    *,
    seed: int,
    max_steps: int | None = None,
    progress: Callable[[int, Episode], None] | None = None,
) -> int:
    """Record until the log holds `episodes` episodes; begins after those it has. Returns how many were added.

    Episode i depends on (seed, i) alone, so an interrupted run and its continuation write what one run would have.
    `progress(i, episode)` is called after episode i is safe.
    """
    env = env_factory()
    first = len(writer)
    try:
        spec = spec_of(env)
        for index in range(first, episodes):
            episode = record_episode(env, policy, seed, index, spec, max_steps)
            writer.append(episode)
            if progress is not None:
                progress(index, episode)
    finally:
        env.close()
    return max(0, episodes - first)


def record_episode(
    env: Env, policy: Policy, seed: int, index: int, spec: ExperienceSpec | None = None, max_steps: int | None = None
) -> Episode:
    """One episode, a function of (seed, index). Numbers in `info` that every step has become metadata."""
    spec = spec or spec_of(env)
    for_env, for_policy = np.random.SeedSequence([seed, index]).spawn(2)
    raw, info = env.reset(seed=int(for_env.generate_state(1)[0] >> 1))
    act = policy(env, np.random.Generator(np.random.PCG64(for_policy)))
    observation = to_sensors(raw, env.observation_space)
    seen, infos, actions, rewards = [observation], [named(info)], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        action = act(observation, info)
        raw, reward, terminated, truncated, info = env.step(action)
        observation = to_sensors(raw, env.observation_space)
        seen.append(observation)
        infos.append(named(info))
        actions.append(to_logged(action, env.action_space))
        rewards.append(float(reward))
        truncated = truncated or (max_steps is not None and len(actions) >= max_steps)
    return Episode(
        id=f"{seed}-{index:06d}",
        observations={s.name: np.stack([one[s.name] for one in seen]) for s in spec.sensors},
        actions=np.stack(actions),
        rewards=np.asarray(rewards, dtype=np.float32),
        terminated=bool(terminated),
        truncated=bool(truncated),
        metadata=_metadata(infos),
    )


def spec_of(env: Env) -> ExperienceSpec:
    """The spec of what `collect` records. Raises UsageError for spaces that cannot be logged."""
    sensors = tuple(_sensor(name, space) for name, space in _leaves(env.observation_space))
    rate = env.metadata.get("render_fps")
    return ExperienceSpec(sensors, space_of(env.action_space), True, float(rate) if rate else None)


def space_of(space: gymnasium.Space[Any]) -> Space:
    """A Gymnasium action space as ours. Raises UsageError."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return DiscreteSpace(int(space.n))
    if isinstance(space, gymnasium.spaces.Box) and np.issubdtype(space.dtype, np.floating):
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise UsageError(f"got unbounded actions {space}, expected finite bounds; wrap with gymnasium's RescaleAction")
        return BoxSpace(tuple(map(float, space.low.reshape(-1))), tuple(map(float, space.high.reshape(-1))))
    raise UsageError(f"got the action space {space}, expected Box (floating point) or Discrete; wrap the environment")


def to_env_action(action: Array, space: gymnasium.Space[Any]) -> Any:
    """What `Space.decode` gives, or what a log holds, as what `env.step` takes."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(action) + int(space.start)
    return np.asarray(action, dtype=space.dtype).reshape(space.shape)


def to_logged(action: Any, space: gymnasium.Space[Any]) -> Array:
    """What `env.step` takes, as a log holds it: an integer from 0, or a flat row of numbers."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return np.asarray(int(action) - int(space.start), dtype=np.int64)
    return np.array(action, dtype=space.dtype).reshape(-1)


def to_sensors(observation: Any, space: gymnasium.Space[Any]) -> Observation:
    """An environment's observation as named sensors: images (H, W, C) uint8, vectors (n,), tokens (n,)."""
    return {name: _reading(_dig(observation, name), leaf) for name, leaf in _leaves(space)}


def _leaves(space: gymnasium.Space[Any], prefix: str = "") -> list[tuple[str, gymnasium.Space[Any]]]:
    if isinstance(space, gymnasium.spaces.Dict):
        below = [_leaves(part, f"{prefix}.{name}" if prefix else str(name)) for name, part in space.spaces.items()]
        return [leaf for part in below for leaf in part]
    return [(prefix, space)] if prefix else [(_default_name(space), space)]


def _default_name(space: gymnasium.Space[Any]) -> str:
    return {SensorKind.IMAGE: "pixels", SensorKind.VECTOR: "state", SensorKind.TOKENS: "tokens"}[
        _sensor("observation", space).kind
    ]


def _dig(observation: Any, name: str) -> Any:
    if not isinstance(observation, Mapping):
        return observation
    if name in observation:
        return observation[name]
    head, _, rest = name.partition(".")
    return _dig(observation[head], rest)


def _sensor(name: str, space: gymnasium.Space[Any]) -> Sensor:
    spaces = gymnasium.spaces
    if isinstance(space, spaces.Discrete):
        return Sensor(name, SensorKind.TOKENS, (1,), "int64", int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return Sensor(name, SensorKind.TOKENS, (int(space.nvec.size),), "int64", int(space.nvec.max()))
    if isinstance(space, spaces.MultiBinary):
        return Sensor(name, SensorKind.VECTOR, (int(np.prod(space.shape)),), "float32")
    if isinstance(space, spaces.Box) and _is_image(space):
        return Sensor(name, SensorKind.IMAGE, _channels_last(np.zeros(space.shape, np.uint8)).shape, "uint8")
    if isinstance(space, spaces.Box):
        dtype = str(space.dtype) if np.issubdtype(space.dtype, np.floating) else "float32"
        return Sensor(name, SensorKind.VECTOR, (int(np.prod(space.shape)),), dtype)
    raise UsageError(f"got the observation space {space} for '{name}', expected Dict, Box, Discrete or Multi*; wrap it")


def _is_image(space: gymnasium.spaces.Box) -> bool:
    return space.dtype == np.uint8 and len(space.shape) in (2, 3) and min(space.shape[:2]) > 0


def _channels_last(image: Array) -> Array:
    """(H, W) gets a channel; (C, H, W) with few channels is turned round."""
    if image.ndim == 2:
        return image[..., None]
    return np.moveaxis(image, 0, -1) if image.shape[0] <= 4 < image.shape[2] else image


def _reading(value: Any, space: gymnasium.Space[Any]) -> Array:
    sensor = _sensor("_", space)
    array = np.asarray(value)
    if sensor.kind is SensorKind.IMAGE:
        return np.array(_channels_last(array), dtype=np.uint8)
    if isinstance(space, (gymnasium.spaces.Discrete, gymnasium.spaces.MultiDiscrete)):
        array = array - space.start
    return np.array(array, dtype=sensor.dtype).reshape(-1)


def named(info: Mapping[str, Any]) -> dict[str, Array]:
    """The numbers among an `info`."""
    numbers = {k: np.array(v) for k, v in info.items() if isinstance(v, (np.ndarray, np.generic, float, int, bool))}
    return {name: values for name, values in numbers.items() if values.dtype.kind in "biuf" and "/" not in name}


def _metadata(infos: list[dict[str, Array]]) -> dict[str, Array]:
    names = [name for name in infos[0] if all(name in info and info[name].shape == infos[0][name].shape for info in infos)]
    return {name: np.stack([info[name] for info in infos]) for name in names}
