"""Part of `calibrate`: the monitor of surprise, fitted on the log, and calibrated on episodes that no training saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forethought.data.dataset import Dataset
from forethought.errors import RunError
from forethought.surprise.evidence import Evidence
from forethought.surprise.fit import fit_signals, trace
from forethought.surprise.monitor import Monitor, Traces
from forethought.surprise.otherwise import Otherwise
from forethought.surprise.scale import LAYERS, ErrorScale, Moves
from forethought.surprise.senses import Nearest, Sense
from forethought.surprise.signals import GHOSTS, Signals
from forethought.training.checkpoint import read_tensors, save_tensors
from forethought.training.latents import Latents
from forethought.training.run import RunFolder
from forethought.training.tail import imagine_from
from forethought.types import ExperienceSpec
from forethought.world_model import LatentWorldModel

DECISIONS, WINDOWS, MOVES, KEPT = 12000, 4000, 40000, 8000
"""Decisions traced, windows and moves of training that the usual error is fitted on, and of those kept in the run."""


def fit_monitor(
    model: LatentWorldModel, data: Dataset, latents: Latents, held_out: Dataset, held_latents: Latents
) -> Monitor | None:
    """From training rows and held-out episodes; None if no held-out episode is longer than two blocks.

    Held-out episodes calibrate and do nothing else: their own metric of errors would make them look tamer than new ones.
    """
    horizon = min(GHOSTS, *(int(each.lengths_E.max()) // each.frameskip for each in (latents, held_latents)))
    if horizon < 2:
        return None
    starts = latents.window_starts(horizon)
    generator = np.random.default_rng(0)
    rows = generator.choice(starts, min(WINDOWS, len(starts)), replace=False)
    imagined, real = imagine_from(latents, model.dynamics, rows, horizon)
    errors = (real - imagined)[..., latents.scene_size :]
    errors = torch.cat([errors, errors[:, -1:].expand(-1, GHOSTS - horizon, -1)], 1)
    starts = latents.window_starts(1)
    rows = generator.choice(starts, min(MOVES, len(starts)), replace=False)
    imagined, real = imagine_from(latents, model.dynamics, rows, 1)
    moved = torch.stack([latents.z_ND[rows], imagined[:, 0], real[:, 0]], 1)
    signals, moves = fit_signals(
        model, data.spec, latents.frameskip, data.sensors, latents.z_ND, errors, latents.action_NA[rows], moved
    )
    kept = Moves(moves.foretold_NX[:KEPT], moves.sizes_N[:KEPT])
    return Monitor.fit(signals, traces_of(model, signals, held_out, held_latents), kept)


def traces_of(model: LatentWorldModel, signals: Signals, data: Dataset, latents: Latents) -> Traces:
    """Signals of logged episodes, the first as many as make DECISIONS."""
    episodes, count, skip = [], 0, latents.frameskip
    for start, length in zip(latents.starts_E, latents.lengths_E, strict=True):
        rows = int(start) + np.arange(int(length) // skip + 1) * skip
        if len(rows) < 2:
            continue
        readings = [{name: values[row] for name, values in data.sensors.items()} for row in rows]
        episodes.append(trace(model, signals, readings, latents.z_ND[rows].float(), latents.action_NA[rows[:-1]]))
        count += len(rows)
        if count >= DECISIONS:
            break
    return Traces.of(episodes)


def save_monitor(run: RunFolder, monitor: Monitor) -> None:
    """Into `surprise.safetensors`."""
    signals, evidence = monitor.signals, monitor.evidence
    arrays = {
        "precision": signals.precision_GEE, "points": signals.nearest.points_MK, "spread": signals.spread_D,
        "error floor": np.array([signals.scale.floor]),
        "foretold": monitor.moves.foretold_NX, "sizes": monitor.moves.sizes_N,
        "scale": evidence.scale_KL, "threshold": np.array([evidence.threshold, evidence.rate]),
        "rows": monitor.traces.rows_NK, "errors": monitor.traces.errors_MG, "lengths": monitor.traces.lengths_E,
    }  # fmt: skip
    for i, (weight, bias) in enumerate(signals.scale.layers):
        arrays |= {f"error weight {i}": weight, f"error bias {i}": bias}
    for sense in signals.senses:
        parts = {"mean": sense.mean_F, "scale": sense.scale_F, "axes": sense.axes_FK, "points": sense.nearest.points_MK}
        arrays |= {f"{sense.sensor.name}/{part}": value for part, value in parts.items()}
    save_tensors(run.surprise, {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()})


def load_monitor(run: RunFolder, spec: ExperienceSpec, frameskip: int, scene_size: int) -> Monitor | None:
    """What `save_monitor` wrote; None for a run that has no monitor. Raises RunError."""
    if not run.surprise.is_file():
        return None
    tensors, _ = read_tensors(run.surprise)
    try:
        return _monitor({name: tensor.numpy() for name, tensor in tensors.items()}, spec, frameskip, scene_size)
    except KeyError as error:
        raise RunError(f"{run.surprise}: lacks {error}; delete it and resume the training, which makes it again") from None


def _monitor(arrays: Mapping[str, NDArray[Any]], spec: ExperienceSpec, frameskip: int, scene_size: int) -> Monitor:
    senses = tuple(
        Sense(s, arrays[f"{n}/mean"], arrays[f"{n}/scale"], arrays[f"{n}/axes"], Nearest.at(arrays[f"{n}/points"]))
        for n, s in ((sensor.name, sensor) for sensor in spec.sensors)
    )
    otherwise = Otherwise(spec.action_space, frameskip)
    signals = Signals(
        otherwise,
        scene_size,
        arrays["precision"],
        ErrorScale(
            tuple((arrays[f"error weight {i}"], arrays[f"error bias {i}"]) for i in range(LAYERS)),
            float(arrays["error floor"][0]),
        ),
        Nearest.at(arrays["points"]),
        arrays["spread"],
        senses,
    )
    traces = Traces(arrays["rows"], arrays["errors"], arrays["lengths"])
    threshold, rate = arrays["threshold"].tolist()
    evidence = Evidence.of(traces.rows_NK, signals.leaps, signals.ratios, arrays["scale"], threshold, rate)
    return Monitor(signals, evidence, traces.horizons(), traces, Moves(arrays["foretold"], arrays["sizes"]))
