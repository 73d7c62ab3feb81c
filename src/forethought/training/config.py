"""What a run is: one frozen typed configuration, written into the run folder, enough to run again."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field, replace
from typing import Annotated, final

from forethought.agent.agent import AgentConfig
from forethought.config import Between, Count, Positive, Share, Version, Weight, Whole
from forethought.costs.build import CriticKind
from forethought.dynamics.build import Architecture
from forethought.errors import ConfigError, unknown_name
from forethought.objectives.regulariser import Regulariser
from forethought.perception.build import EncoderConfig
from forethought.training.device import Device, Precision
from forethought.training.schedule import Schedule


class HabitKind(enum.Enum):
    """Where the habit's examples come from: imagined candidate actions, or the log's, weighted by the critic."""

    IMAGINED = "imagined"
    LOGGED = "logged"


@final
@dataclass(frozen=True)
class PredictConfig:
    """Encoder and dynamics together. Weights of the objectives; a batch is `episodes` x `windows` x `num_frames` frames.

    `regulariser` keeps states apart, weighed by `state_sigreg` (both SIGRegs) or `vicreg`; a teacher follows at `teacher_rate`.
    `still`, `scene_moves` and `recombined` are of use, and are paid for, only with a scene half.
    `picture`: the state half also reads a coarse picture of its own moment (`objectives/picture.py`).
    `shift`, `light`: each window's pictures are moved by up to so many pixels, and lit by up to that share more or less.
    """

    schedule: Schedule = field(default_factory=lambda: Schedule(updates=1500, learning_rate=2e-3, decay=0.5))
    episodes: Count = 64
    windows: Annotated[int, Between(2)] = 4
    num_frames: Annotated[int, Between(2)] = 2
    prediction: Weight = 2.0
    inverse: Weight = 3.0
    regulariser: Regulariser = Regulariser.EPISODE_SIGREG
    state_sigreg: Weight = 0.02
    vicreg: Weight = 1.0
    teacher_rate: Share = 0.01
    still: Weight = 320.0
    scene_moves: Weight = 1.0
    recombined: Weight = 2.0
    straighten: Weight = 0.0
    picture: Weight = 0.0
    shift: Whole = 0
    light: Annotated[float, Between(0.0, 0.9)] = 0.0


@final
@dataclass(frozen=True)
class DynamicsConfig:
    """A fresh dynamics on frozen latents; `surprising` of each batch is drawn in proportion to the last prediction error.

    With a scene half, each start is moved off by up to `jitter` of a block's root mean square change.
    `architecture` holds for the dynamics that is trained with the encoder too.
    """

    schedule: Schedule = field(default_factory=lambda: Schedule(updates=3000, learning_rate=3e-3, weight_decay=1e-4, decay=0.5))
    batch_size: Count = 512
    horizon: Count = 2
    architecture: Architecture = field(default_factory=lambda: Architecture(width=192))
    surprising: Share = 0.5
    jitter: Weight = 0.5


@final
@dataclass(frozen=True)
class LearnerConfig:
    """Settings of the critics and habits that are not regressed from graphs; each names who reads it (docs/critics.md).

    All: `batch_size` pairs. Targets move by `target_rate` an update; errors are taken of (1 - discount^d) / (1 - discount).
    IMAGINED: `first_actions` followed `steps` blocks by the habit. EXPECTILE: `expectile`. QUASIMETRIC: pairs nearer than
    `push` blocks are pushed apart, and a block may seem `slack` too long. CONTRASTIVE: the future, 1 / (1 - near) blocks on, is
    told from `negatives` other states. Habit LOGGED: weights exp(eagerness * advantage), at most `max_weight`.
    """

    batch_size: Annotated[int, Between(8)] = 512
    target_rate: Share = 0.05
    discount: Annotated[float, Between(0.5, 0.9999)] = 0.98
    first_actions: Count = 8
    steps: Count = 8
    expectile: Share = 0.9
    push: Positive = 40.0
    slack: Positive = 0.1
    near: Annotated[float, Between(0.5, 0.9999)] = 0.9
    negatives: Count = 64
    eagerness: Weight = 3.0
    max_weight: Positive = 10.0


@final
@dataclass(frozen=True)
class HeadsConfig:
    """Critic and habit on frozen latents: graphs of imagined steps, exact shortest paths on them, then regression.

    `landmarks`: the places that critic MAP holds, for logs of one unchanging scene (scene size 0).
    """

    schedule: Schedule = field(default_factory=lambda: Schedule(updates=3000, learning_rate=1e-3, weight_decay=1e-4, decay=0.5))
    batch_size: Count = 1024
    scenes: Count = 320
    nodes: Annotated[int, Between(2)] = 400
    landmarks: Annotated[int, Between(2)] = 1000
    candidates: Count = 16
    reach: Count = 3
    width: Count = 192
    depth: Count = 3
    limit: Positive = 60.0
    critic: CriticKind = CriticKind.GRAPH
    habit: HabitKind = HabitKind.IMAGINED
    learner: LearnerConfig = field(default_factory=LearnerConfig)


@final
@dataclass(frozen=True)
class ProbeConfig:
    """Named quantities read off frozen latents, to measure and to aim at; left out where the log names none.

    `remembered` latents are kept, among which a predicate goal looks for places where it is true.
    """

    schedule: Schedule = field(default_factory=lambda: Schedule(updates=600, learning_rate=2e-3, weight_decay=1e-4, decay=0.5))
    batch_size: Count = 512
    width: Count = 128
    remembered: Count = 2048


@final
@dataclass(frozen=True)
class DecoderConfig:
    """Small pictures from frozen latents, for people to look at only; `side` is the longer side in pixels."""

    schedule: Schedule = field(default_factory=lambda: Schedule(updates=300, learning_rate=6e-3, weight_decay=1e-4, decay=0.5))
    batch_size: Count = 128
    width: Count = 256
    side: Count = 32


@final
@dataclass(frozen=True)
class PracticeConfig:
    """The habit practises in imagination, after the heads (`training/practice.py`).

    Trials of `horizon` blocks towards goals up to `far` blocks on; `on_the_way` weighs the mean distance against the last one;
    distances below `smooth` count little.
    """

    schedule: Schedule = field(default_factory=lambda: Schedule(updates=1000, learning_rate=1e-3, weight_decay=1e-4, decay=0.5))
    batch_size: Count = 256
    horizon: Count = 8
    far: Count = 8
    on_the_way: Weight = 0.3
    smooth: Positive = 0.02


@final
@dataclass(frozen=True)
class TrainConfig:
    """A whole run. `frameskip` environment actions make one block.

    `seconds`: keep to that much wall clock, all stages and steps together, and fit the schedules to it; with `fit_model` the
    size too. Such a run is resumed, but is not the same to the bit when repeated.
    """

    version: Annotated[int, Version(1)] = 1
    seed: Whole = 0
    frameskip: Count = 1
    threads: Whole = 0
    device: Device = Device.AUTO
    precision: Precision = Precision.AUTO
    seconds: Positive | None = None
    fit_model: bool = False
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    practice: PracticeConfig | None = None
    agent: AgentConfig = field(default_factory=AgentConfig)


SIZES = {"xs": (32, 128, 128), "s": (64, 256, 192), "m": (96, 512, 384), "l": (160, 1024, 768)}
"""Size dial: narrowest encoder layer, encoder features, width of dynamics and heads."""

SHARES = {"predict": 0.5, "dynamics": 0.28, "heads": 0.14, "probe": 0.005, "decoder": 0.015}
"""Time dial: how the stages share what is left of the clock when each begins."""

ENOUGH = {"probe": 10.0, "decoder": 30.0}
"""Seconds beyond which a stage for people to look at is given no more."""


def sized(config: TrainConfig, size: str) -> TrainConfig:
    """The configuration at another size. Raises UsageError for a size that does not exist."""
    if size not in SIZES:
        raise unknown_name("size", size, SIZES)
    narrow, features, width = SIZES[size]
    return replace(
        config,
        encoder=replace(config.encoder, width=narrow, features=features),
        dynamics=replace(config.dynamics, architecture=replace(config.dynamics.architecture, width=width)),
        heads=replace(config.heads, width=width),
    )


def timed(config: TrainConfig, seconds: float, fit_model: bool = False) -> TrainConfig:
    """The configuration of a run that keeps to that many seconds of wall clock; `fit_model`: and takes the size that fits."""
    return replace(config, seconds=seconds, fit_model=fit_model)


def parse_time(text: str) -> float:
    """Seconds from "90s", "5m", "1.5h" or a bare number. Raises ConfigError.

    >>> parse_time("5m")
    300.0
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if not match or float(match[1]) <= 0:
        raise ConfigError(f"got time '{text}', expected a positive number with s, m or h, such as 90s, 5m, 1.5h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
