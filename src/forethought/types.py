"""The vocabulary: frozen dataclasses that cross the five seams.

Shape letters, project-wide: B batch, S samples, H horizon, T time, K context, A action size (of one block), D latent size.
A block is `frameskip` consecutive environment actions laid end to end, so that no logged action is ever dropped.
Torch is only needed for annotations here: importing this module stays cheap.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array: TypeAlias = NDArray[Any]
Observation: TypeAlias = Mapping[str, Array]
"""Sensor name -> value of one moment (no batch axis). The only dictionary that crosses a seam."""


class SensorKind(enum.Enum):
    """What a sensor's numbers are."""

    IMAGE = "image"  # uint8, (height, width, channels)
    VECTOR = "vector"  # floating point, (n,)
    TOKENS = "tokens"  # integers in [0, vocabulary), (n,)


@final
@dataclass(frozen=True)
class Sensor:
    """One named sensor: its kind, shape of one reading, dtype, and for tokens the vocabulary size."""

    name: str
    kind: SensorKind
    shape: tuple[int, ...]
    dtype: str
    vocabulary: int = 0


class Space(ABC):
    """An action space. Inside, actions are float rows of `size` numbers; discrete ones travel one-hot."""

    @property
    @abstractmethod
    def size(self) -> int:
        """A: numbers per action."""

    @abstractmethod
    def encode(self, actions: Array) -> NDArray[np.float32]:
        """Environment actions (T, ...) -> float32 (T, A), scaled to [-1, 1] or one-hot."""

    @abstractmethod
    def decode(self, action_A: Array) -> Array:
        """One inside action (A,) -> what `env.step` takes, always inside the bounds."""


@final
@dataclass(frozen=True)
class BoxSpace(Space):
    """Continuous actions between finite bounds; inside they are scaled to [-1, 1].

    >>> BoxSpace(low=(0.0,), high=(2.0,)).decode(np.array([0.5])).tolist()
    [1.5]
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def size(self) -> int:
        return len(self.low)

    def encode(self, actions: Array) -> NDArray[np.float32]:
        low, high = np.asarray(self.low), np.asarray(self.high)
        scaled = (np.asarray(actions, dtype=np.float64) - low) / (high - low) * 2.0 - 1.0
        result: NDArray[np.float32] = scaled.astype(np.float32)
        return result

    def decode(self, action_A: Array) -> Array:
        low, high = np.asarray(self.low), np.asarray(self.high)
        unit = np.clip(np.asarray(action_A, dtype=np.float64), -1.0, 1.0)
        result: Array = (low + (unit + 1.0) / 2.0 * (high - low)).astype(np.float32)
        return result


@final
@dataclass(frozen=True)
class DiscreteSpace(Space):
    """Actions 0..count-1; inside they are one-hot, and the largest entry decides.

    >>> DiscreteSpace(3).decode(np.array([0.1, 0.7, 0.2])).item()
    1
    """

    count: int

    @property
    def size(self) -> int:
        return self.count

    def encode(self, actions: Array) -> NDArray[np.float32]:
        one_hot: NDArray[np.float32] = np.eye(self.count, dtype=np.float32)[np.asarray(actions, dtype=np.int64).reshape(-1)]
        return one_hot

    def decode(self, action_A: Array) -> Array:
        return np.asarray(np.argmax(action_A), dtype=np.int64)


@final
@dataclass(frozen=True)
class ExperienceSpec:
    """What every episode of a log has in common.

    `tasks`: what was asked for, in words; an episode's metadata "task_index", (T+1,) int64, says which held when.
    """

    sensors: tuple[Sensor, ...]
    action_space: Space
    has_reward: bool = False
    steps_per_second: float | None = None
    tasks: tuple[str, ...] = ()

    def sensor(self, name: str) -> Sensor:
        """The sensor of that name. Raises KeyError."""
        return {sensor.name: sensor for sensor in self.sensors}[name]


@final
@dataclass(frozen=True)
class Episode:
    """One logged episode of T actions: observations have T+1 rows (the one after the last action included).

    `id` is stable (it decides the split). `metadata` holds named quantities, (T+1, ...) arrays for probes and checks
    only ("position"), never read by training.
    """

    id: str
    observations: Mapping[str, Array]
    actions: Array
    rewards: NDArray[np.float32] | None = None
    terminated: bool = False
    truncated: bool = True
    metadata: Mapping[str, Array] = field(default_factory=dict)

    @property
    def num_steps(self) -> int:
        return len(self.actions)


@final
@dataclass(frozen=True)
class Belief:
    """What the agent holds to be the case: one latent in two named parts, and the dynamics' own memory.

    z_BD: the latent, scene part first; memory_BM: opaque to all but the dynamics that made it (M may be 0).
    """

    z_BD: Tensor
    memory_BM: Tensor
    scene_size: int = 0

    @property
    def scene(self) -> Tensor:
        """What stays within an episode, (B, scene_size)."""
        return self.z_BD[..., : self.scene_size]

    @property
    def state(self) -> Tensor:
        """What changes within an episode, (B, D - scene_size)."""
        return self.z_BD[..., self.scene_size :]


@final
@dataclass(frozen=True)
class Rollout:
    """Imagined futures: z_BSHD holds the latents after each of H blocks; `start` is where they began."""

    start: Belief
    z_BSHD: Tensor


@final
@dataclass(frozen=True)
class ReachObservation:
    """Goal: be where this observation was made."""

    observation: Observation


@final
@dataclass(frozen=True)
class ReachPredicate:
    """Goal: make a predicate on named quantities true, e.g. "agent.x > 0.8"."""

    predicate: str


@final
@dataclass(frozen=True)
class MaximiseReward:
    """Goal: collect reward."""


Goal: TypeAlias = ReachObservation | ReachPredicate | MaximiseReward


@final
@dataclass(frozen=True)
class Target:
    """A goal as costs and proposals see it: already encoded. z_BD is None for reward goals.

    options_KD: latents from experience that would do (predicate goals); each decision makes for the nearest of them.
    strange: in words, if the goal is unlike anything in the log: no habit is trusted for it.
    """

    z_BD: Tensor | None
    goal: Goal | None = None
    options_KD: Tensor | None = None
    strange: str = ""


@final
@dataclass(frozen=True)
class SearchTrace:
    """How a search went: the best cost after each iteration, and why it ended. `flops`: of a way that was not searched."""

    best_cost: tuple[float, ...]
    stopped: str
    predictor_passes: int
    seconds: float
    flops: int = 0


@final
@dataclass(frozen=True)
class Plan:
    """Blocks to execute, their cost, and how they were found. actions_HA, predicted_HD (latents expected on the way)."""

    actions_HA: Tensor
    predicted_HD: Tensor
    cost: float
    trace: SearchTrace


class Mode(enum.Enum):
    """How a decision came about."""

    HABIT = "habit"
    CONTINUE = "continue"
    PLAN = "plan"
    STOP = "stop"


class Known(enum.Enum):
    """How joules are known: read off the machine's counters, estimated (at least in part) by a stated model, or not at all."""

    READING = "reading"
    ESTIMATE = "estimate"
    UNKNOWN = "unknown"


@final
@dataclass(frozen=True)
class Energy:
    """Joules, and how they are known. A sum is known as well as the worst known of its parts.

    >>> Energy(1.0, Known.READING) + Energy() + Energy(2.0, Known.ESTIMATE)
    Energy(joules=3.0, known=<Known.ESTIMATE: 'estimate'>)
    """

    joules: float = 0.0
    known: Known = Known.UNKNOWN

    def __add__(self, other: Energy) -> Energy:
        parts = [part for part in (self, other) if part != Energy()]  # nothing spent, nothing to know
        return Energy(self.joules + other.joules, max((p.known for p in parts), key=list(Known).index, default=Known.UNKNOWN))


@final
@dataclass(frozen=True)
class Effort:
    """What a decision cost. `flops` by formula (`agent/meter.py`); `accelerator_seconds`: how long it held one (0 on a CPU)."""

    predictor_passes: int = 0
    planner_calls: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    flops: int = 0
    accelerator_seconds: float = 0.0
    energy: Energy = Energy()

    def __add__(self, other: Effort) -> Effort:
        return Effort(
            self.predictor_passes + other.predictor_passes,
            self.planner_calls + other.planner_calls,
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.flops + other.flops,
            self.accelerator_seconds + other.accelerator_seconds,
            self.energy + other.energy,
        )


@final
@dataclass(frozen=True)
class Surprise:
    """How surprising what came is. `p_value`: of the last block's error, against `level` (below: it was not as predicted; NaN
    at an episode's start); `height`: all evidence against the alarm's threshold (1: alarm); `reason`: why, if there is one.

    errors_G: the error by horizon, G blocks back; row_K: all signals (`surprise/signals.py`); `passes` through the predictor.
    """

    p_value: float
    level: float
    height: float
    errors_G: Array
    row_K: Array
    reason: str = ""
    passes: int = 0


@final
@dataclass(frozen=True)
class Decision:
    """One decision: the environment action, the mode and why, what surprised it, and what it cost."""

    action: Array
    mode: Mode
    reason: str
    effort: Effort
    surprise: Surprise | None = None
    plan: Plan | None = None


@final
@dataclass(frozen=True)
class Expectation:
    """What is expected of the next observation, and the evidence so far that expectations fail (`surprise/`).

    ghosts_GD: where the model thought, g + 1 blocks ago, that the agent would be at the next decision; memory_GM: their memory.
    before, block_A: the last belief and the block that followed; past_FA: the frames taken before that.
    seen: sensors' features at the last decision; scene_C: the sum of `count` scene parts; moved: how blocks went (W, 2).
    evidence: each signal's (K, L); `level`: the online level of one decision's test; `raised`: decisions since the alarm.
    """

    ghosts_GD: Tensor
    memory_GM: Tensor
    past_FA: Tensor
    block_A: Tensor | None = None
    before: Belief | None = None
    seen: Mapping[str, Array] = field(default_factory=dict)
    scene_C: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    count: int = 0
    moved: Array = field(default_factory=lambda: np.zeros((0, 2)))
    evidence: Array = field(default_factory=lambda: np.zeros(0))
    level: float = 0.0
    raised: int = 0
    alarm: str = ""


@final
@dataclass(frozen=True)
class Mismatch:
    """How badly each of V versions of what was learned foretells this world (`agent/worlds.py`), and which one is acted by.

    score_V: leaky sums; beliefs: each version's at the last decision; known: its memories at the episode's start.
    """

    score_V: Array
    known: tuple[int, ...]
    version: int = 0
    beliefs: tuple[Belief, ...] = ()


@final
@dataclass(frozen=True)
class Roadmap:
    """Places that guardrails allow, places_KD, and blocks_K from each to `goal` (1, D) by ways that keep them (infinite: none).

    `heading`: which of the places the agent makes for.
    """

    goal: Tensor
    places_KD: Tensor
    blocks_K: Tensor
    heading: int | None = None


@final
@dataclass(frozen=True)
class State:
    """Everything an agent carries from one decision to the next. A value: `act` returns a new one.

    `key` seeds this episode's random stream; `pending_FA` are the rest of the block under way (F frames of A numbers).
    `block_FA` are the actions taken since the last belief update; `known`: memories that were there at the episode's start.
    `roadmap`: ways round what guardrails bar, once they barred one.
    """

    goal: Goal
    target: Target
    key: int
    step: int = 0
    belief: Belief | None = None
    plan: Plan | None = None
    plan_step: int = 0
    pending: tuple[Array, ...] = ()
    taken: tuple[Array, ...] = ()
    known: int = 0
    expectation: Expectation | None = None
    mismatch: Mismatch | None = None
    roadmap: Roadmap | None = None
