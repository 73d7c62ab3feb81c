"""`forethought bench`: how fast this machine is at what Forethought does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from forethought.cli.output import Debug, Json, emit, guarded


def bench(json: Json = False, debug: Debug = False) -> None:
    """Measure this machine: matrix rate, Two-Room frames a second, milliseconds of one planned decision.

    \b
    Example:
      forethought bench --json
    """
    guarded(lambda: _bench(json), debug)


def _bench(json: bool) -> None:
    measured = figures()
    emit(measured, json, "\n".join(f"{name:<34}{value:,.1f}" for name, value in measured.items()))


def figures() -> dict[str, float]:
    """What `bench` measures, each on one thread and the median of about a second."""
    return {
        "matrix GFLOP/s, 1 thread": matrix_rate() / 1e9,
        "two-room frames/s, 64 px": _two_room_rate(),
        "plan ms (65 x 3 x 6, width 256)": _plan_milliseconds(),
    }


def matrix_rate(seconds: float = 0.5) -> float:
    """FLOP/s of a 1024-cube float32 product on one thread, the median of what fits into `seconds`."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    rate = 2 * 1024**3 / _median_seconds(lambda: left @ right, seconds)
    torch.set_num_threads(threads)
    return rate


def _two_room_rate() -> float:
    import numpy as np

    from forethought.envs.two_room import Painter, fixed_layout, move, random_position, wander

    streams = [np.random.default_rng(index) for index in range(256)]
    layout, painter, memory = fixed_layout(256), Painter(64), np.zeros((256, 2))
    position, background = random_position(layout, streams), painter.background(layout)

    def step() -> None:
        action, _ = wander(streams, memory)
        painter.draw(background, move(layout, position, action))

    return 256 / _median_seconds(step, 1.0)


def _plan_milliseconds() -> float:
    import torch

    from forethought.costs.critic import CriticCost
    from forethought.costs.temporal import TemporalDistance
    from forethought.dynamics.residual_mlp import ResidualMLP
    from forethought.perception.build import EncoderConfig, build_encoder
    from forethought.planning.cem import CEM
    from forethought.planning.loop import SearchConfig, search
    from forethought.types import Belief, BoxSpace, ExperienceSpec, Sensor, SensorKind, Target
    from forethought.world_model import LatentWorldModel

    torch.set_num_threads(1)
    space = BoxSpace((-1.0, -1.0), (1.0, 1.0))
    spec = ExperienceSpec((Sensor("image", SensorKind.IMAGE, (64, 64, 3), "uint8"),), space)
    model = LatentWorldModel(build_encoder(spec, EncoderConfig()), ResidualMLP(32, 16, 2)).eval()
    cost, z = CriticCost(TemporalDistance(32, 16, 256, 3, 60.0)), torch.randn(1, 32)
    belief, target, generator = Belief(z, z[:, :0], 16), Target(torch.randn(1, 32)), torch.Generator().manual_seed(0)

    def plan() -> None:
        search(
            model, cost, target, belief, CEM(), config=SearchConfig(patience=9), space=space, action_size=2, generator=generator
        )

    return 1e3 * _median_seconds(plan, 1.0)


def _median_seconds(work: Callable[[], Any], seconds: float) -> float:
    work()
    times: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]
