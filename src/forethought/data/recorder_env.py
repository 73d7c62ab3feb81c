"""Any Gymnasium environment, with every episode recorded while somebody else drives it."""

from __future__ import annotations

from typing import Any, final

import gymnasium

from forethought.data.record import Env, named, to_logged, to_sensors
from forethought.data.recorder import Recorder
from forethought.types import Array, Observation


@final
class RecordedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Records what passes through; numbers in `info` that every moment has become metadata. The recorder stays the caller's.

    Make the recorder with `spec_of(env)`. An episode that a reset cuts short is recorded as truncated.
    """

    def __init__(self, env: Env, recorder: Recorder) -> None:
        super().__init__(env)
        self._recorder, self._steps = recorder, 0
        self._last: tuple[Observation, dict[str, Array]] = ({}, {})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment's."""
        self._finish(terminated=False)
        raw, info = self.env.reset(seed=seed, options=options)
        self._last = (to_sensors(raw, self.env.observation_space), named(info))
        return raw, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's."""
        raw, reward, terminated, truncated, info = self.env.step(action)
        seen, quantities = self._last
        logged = to_logged(action, self.env.action_space)
        self._recorder.step(seen, logged, reward=float(reward), quantities=quantities)
        self._last, self._steps = (to_sensors(raw, self.env.observation_space), named(info)), self._steps + 1
        if terminated or truncated:
            self._finish(terminated)
        return raw, reward, terminated, truncated, info

    def close(self) -> None:
        """As the environment's; an episode under way is recorded as truncated."""
        self._finish(terminated=False)
        super().close()

    def _finish(self, terminated: bool) -> None:
        if self._steps:
            self._steps = 0
            seen, quantities = self._last
            self._recorder.end(seen, terminated=terminated, quantities=quantities)
