"""Fit a run to its clock: measure what an update, the encoding and a graph cost on this machine, then choose."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import nn

from forethought.data.dataset import Dataset
from forethought.data.windows import block_actions
from forethought.errors import ConfigError
from forethought.training.bundle import Parts, build_parts
from forethought.training.calibrate import calibrate
from forethought.training.config import SHARES, SIZES, TrainConfig, sized
from forethought.training.device import Compute
from forethought.training.distributed import Ranks
from forethought.training.heads import imagine_graphs
from forethought.training.latents import CHUNK, Latents, observation_rows
from forethought.training.predict import PredictStage
from forethought.training.progress import Silent
from forethought.training.surprise import DECISIONS, fit_monitor

NEEDED = {"xs": 0, "s": 800, "m": 3000, "l": 8000}
"""Updates of stage `predict` that a size needs to be worth it; with fewer the next smaller one is taken."""
GRAPHS, LEARNING = 0.12, 0.3
"""Largest share of the clock for graphs; smallest share that must be left to learn in."""
TOGETHER = 16


@final
@dataclass(frozen=True)
class Fitted:
    """A configuration that fits its clock, and what its steps of fixed work are expected to take, in seconds by name."""

    config: TrainConfig
    expected: Mapping[str, float]


def fit(
    config: TrainConfig, data: Dataset, rows: int, compute: Compute, modules: Mapping[str, nn.Module], spent: float
) -> Fitted:
    """Size (if `fit_model`), and scenes of the graphs, for a clock of `config.seconds`; `rows` are to be encoded.

    Raises ConfigError for a clock that leaves no time to learn. Disturbs torch's global generator.
    """
    clock, few = config.seconds or 0.0, _first_episodes(data, 64)
    chosen = _largest_size(config, few, compute, modules) if config.fit_model else config
    encode, group = _encode_seconds(chosen, few, compute, modules) * rows / CHUNK, _graph_seconds(chosen, few, compute, modules)
    groups = max(1, min(-(-config.heads.scenes // TOGETHER), int(GRAPHS * clock / group)))
    scenes = min(groups * TOGETHER, config.heads.scenes)
    ending = _calibrate_seconds(chosen, few, compute, modules) + _monitor_seconds(chosen, few, rows, compute, modules)
    expected = {"encode": encode, "graphs": group * groups, "calibrate": ending}
    if clock - spent - sum(expected.values()) < LEARNING * clock:
        least = (spent + sum(expected.values())) / (1 - LEARNING)
        raise ConfigError(
            f"got a clock of {clock:.0f} s, of which reading and encoding this log take about {spent + encode:.0f} s; "
            f"give at least {least:.0f} s, or a smaller log or size"
        )
    return Fitted(replace(chosen, heads=replace(chosen.heads, scenes=scenes)), expected)


def _largest_size(config: TrainConfig, few: Dataset, compute: Compute, modules: Mapping[str, nn.Module]) -> TrainConfig:
    """The largest size that makes enough updates in its share of the clock; the sizes are tried from below."""
    share = (config.seconds or 0.0) * SHARES["predict"]
    chosen, last = sized(config, "xs"), 0.0
    for name in SIZES:
        if last * NEEDED[name] > share:  # a larger model is not faster
            break
        tried = sized(config, name)
        last = _update_seconds(tried, few, compute, modules)
        if last * NEEDED[name] > share:
            break
        chosen = tried
    return chosen


def _update_seconds(config: TrainConfig, few: Dataset, compute: Compute, modules: Mapping[str, nn.Module]) -> float:
    parts = build_parts(few.spec, config, modules)
    compute.place(*parts.trees())
    stage = PredictStage(few, parts.encoder, parts.first_dynamics, config, Ranks(), compute)
    optimizer = torch.optim.AdamW(stage.trained(), 1e-4)

    def update() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = stage.loss(0)[0]
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()  # waits for the device

    return _seconds(update)


def _encode_seconds(config: TrainConfig, few: Dataset, compute: Compute, modules: Mapping[str, nn.Module]) -> float:
    """Of one chunk."""
    model = build_parts(few.spec, config, modules).model.eval()
    compute.place(model)
    rows = slice(0, min(CHUNK, few.num_rows))
    observation = observation_rows(few, rows, torch.device(compute.device))
    with torch.inference_mode(), compute.autocast():
        taken = _seconds(lambda: model.encode(observation).float().cpu())
    return taken * CHUNK / (rows.stop - rows.start)


def _graph_seconds(config: TrainConfig, few: Dataset, compute: Compute, modules: Mapping[str, nn.Module]) -> float:
    """Of one group of scenes, on latents that mean nothing: the work is the same."""
    parts, latents = _stand_in(config, few, compute, modules)
    one = replace(config, heads=replace(config.heads, scenes=TOGETHER))
    space = few.spec.action_space
    return _seconds(lambda: imagine_graphs(latents, parts.model.dynamics, space, one, Silent()), times=1)


def _calibrate_seconds(config: TrainConfig, few: Dataset, compute: Compute, modules: Mapping[str, nn.Module]) -> float:
    """Of calibration; the tail and the examples take about as long again."""
    parts, latents = _stand_in(config, few, compute, modules)
    return 2 * _seconds(lambda: calibrate(latents, parts.model.dynamics, parts.critic), times=1)


def _monitor_seconds(config: TrainConfig, few: Dataset, rows: int, compute: Compute, modules: Mapping[str, nn.Module]) -> float:
    """Of the monitor of surprise: fitting it once, and each of its decisions (a ninth of the rows, at most, are held out)."""
    parts, latents = _stand_in(config, few, compute, modules)
    parts.model.eval()
    began = time.perf_counter()
    monitor = fit_monitor(parts.model, few, latents, few, latents)
    taken = time.perf_counter() - began
    looked = 1 if monitor is None else len(monitor.traces.rows_NK)
    return taken * max(1.0, min(DECISIONS, rows / (9 * config.frameskip)) / looked)


def _stand_in(config: TrainConfig, few: Dataset, compute: Compute, modules: Mapping[str, nn.Module]) -> tuple[Parts, Latents]:
    """Fresh parts, and latents of the right shape."""
    parts = build_parts(few.spec, config, modules)
    compute.place(*parts.trees())
    z_ND = torch.randn(few.num_rows, parts.encoder.latent_size)
    actions = torch.from_numpy(block_actions(few, np.arange(few.num_rows), config.frameskip))
    return parts, Latents(z_ND, actions, few.starts, few.lengths, config.frameskip, config.encoder.scene_size)


def _seconds(work: Callable[[], object], times: int = 3) -> float:
    """Median after a first time that does not count (unless it is the only one)."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return sorted(taken[1:] or taken)[(len(taken) - 1) // 2]


def _first_episodes(data: Dataset, count: int) -> Dataset:
    """The first episodes, nothing copied."""
    kept = min(count, data.num_episodes)
    rows = int(data.starts[kept - 1] + data.lengths[kept - 1]) + 1
    return replace(
        data, episode_ids=data.episode_ids[:kept], starts=data.starts[:kept], lengths=data.lengths[:kept],
        sensors={name: values[:rows] for name, values in data.sensors.items()}, actions_NA=data.actions_NA[:rows],
        terminated=data.terminated[:kept], rewards_N=None, metadata={},
    )  # fmt: skip
