"""Recipes: Python functions that return a configuration. A recipe says what log it was measured on."""

from __future__ import annotations

from dataclasses import replace

from forethought.agent.agent import AgentConfig
from forethought.costs.build import CriticKind
from forethought.dynamics.build import Architecture
from forethought.objectives.regulariser import Regulariser
from forethought.perception.build import EncoderConfig
from forethought.planning.loop import SearchConfig
from forethought.training.config import DynamicsConfig, HeadsConfig, PracticeConfig, PredictConfig, TrainConfig
from forethought.training.schedule import Schedule


def two_room_fixed(seed: int = 0) -> TrainConfig:
    """The demo: 600 wandering episodes of 64 steps, 64 px, two threads, about two minutes."""
    base = TrainConfig(seed=seed)
    return replace(
        base,
        encoder=EncoderConfig(scene_size=0, state_size=16),
        predict=PredictConfig(schedule=Schedule(updates=800, learning_rate=2e-3), state_sigreg=0.02, inverse=3.0),
        dynamics=DynamicsConfig(schedule=Schedule(updates=2500, learning_rate=3e-3, weight_decay=1e-4, decay=0.5)),
        heads=HeadsConfig(schedule=Schedule(updates=2000, learning_rate=1e-3, weight_decay=1e-4, decay=0.5), scenes=48),
        agent=replace(base.agent, warm_start=True),
    )


def pointmaze(seed: int = 0) -> TrainConfig:
    """OGBench's point mazes from states: 300 navigating episodes of 1,000 steps (240 to train on), one thread, one minute."""
    base = TrainConfig(seed=seed, threads=1, frameskip=5)
    return replace(
        base,
        encoder=EncoderConfig(scene_size=0, state_size=16, features=128),
        predict=replace(base.predict, schedule=Schedule(updates=800, learning_rate=2e-3, decay=0.5)),
        dynamics=replace(base.dynamics, schedule=replace(base.dynamics.schedule, updates=2500)),
        heads=replace(
            base.heads, critic=CriticKind.MAP, schedule=replace(base.heads.schedule, updates=400, learning_rate=2e-3)
        ),
        agent=replace(
            base.agent, warm_start=True, hold_noise=True, search=SearchConfig(num_samples=32, iterations=1, horizon=3)
        ),
    )


def two_room_random(seed: int = 0) -> TrainConfig:
    """Random wall and door: 3,700 wandering episodes of 64 steps (3,000 of them for training), 64 px, one thread.

    No warm starts: the habit's way past a door's edge wins the same search again and again (docs/log/two-room.md).
    """
    base = TrainConfig(seed=seed, threads=1)
    return replace(
        base,
        predict=replace(base.predict, schedule=replace(base.predict.schedule, updates=1700)),
        dynamics=replace(
            base.dynamics, architecture=Architecture(width=256), schedule=replace(base.dynamics.schedule, updates=8000)
        ),
        heads=replace(base.heads, width=256, schedule=replace(base.heads.schedule, updates=4000)),
        agent=replace(base.agent, search=replace(base.agent.search, horizon=4)),
    )


def pusht_pixels(seed: int = 0) -> TrainConfig:
    """Push-T: 1,500 weakly pushing episodes of 100 steps (1,190 of them for training), 64 px, one thread.

    The T moves rarely and is most of what matters, so the latent is large, spreads over the whole log, and reads the picture;
    what the T does depends on how fast the agent comes, so the dynamics remembers the last block. A goal counts when passed.
    """
    base, falling = TrainConfig(seed=seed, threads=1, frameskip=3), Schedule(1, 1e-3, weight_decay=1e-4, decay=0.5)
    return replace(
        base,
        encoder=EncoderConfig(scene_size=0, state_size=64),
        predict=PredictConfig(
            schedule=Schedule(updates=2500, learning_rate=3e-3, decay=0.5),
            regulariser=Regulariser.SIGREG, state_sigreg=0.05, inverse=2.0, picture=2.0,
        ),
        dynamics=DynamicsConfig(
            schedule=replace(falling, updates=6000, learning_rate=3e-3),
            horizon=4, architecture=Architecture("momentum", 256, 3),
        ),
        heads=HeadsConfig(schedule=replace(falling, updates=20), scenes=16, nodes=64, width=256),
        practice=PracticeConfig(schedule=replace(falling, updates=1200), horizon=8, far=9),
        agent=AgentConfig(
            cost="latent", passing=True, warm_start=True, hold_noise=True,
            search=SearchConfig(num_samples=256, iterations=5, horizon=7),
        ),
    )  # fmt: skip


def pusht_states(seed: int = 0) -> TrainConfig:
    """Push-T from six numbers: 2,000 weakly pushing episodes of 100 steps, one thread."""
    base = pusht_pixels(seed)
    return replace(
        base,
        encoder=EncoderConfig(scene_size=0, state_size=16, features=128),
        predict=replace(base.predict, picture=0.0),
        dynamics=replace(base.dynamics, schedule=replace(base.dynamics.schedule, updates=10000)),
    )
