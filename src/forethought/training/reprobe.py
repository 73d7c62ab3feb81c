"""A finished run learns names after the fact: its probe is trained again, on the same latents, and everything else stays."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from forethought.config import read_json, to_json
from forethought.data import open_log
from forethought.data.dataset import Dataset
from forethought.data.named import Named, named_in, read_named
from forethought.data.split import Split
from forethought.errors import DataError
from forethought.training.begin import check_source, source_of
from forethought.training.bundle import load_parts
from forethought.training.calibrate import Calibration
from forethought.training.device import choose
from forethought.training.files import write_atomic
from forethought.training.latents import Latents, encode_rows, is_encoded, load_latents
from forethought.training.probes import ProbeQuality, ProbeStage, check_probe
from forethought.training.progress import Silent, Watcher
from forethought.training.run import RunFolder
from forethought.training.train import Interrupted
from forethought.training.trainer import run_stage


def probe_run(
    run: str | os.PathLike[str],
    log: str | os.PathLike[str],
    names: str | os.PathLike[str] | None = None,
    *,
    watcher: Watcher | None = None,
) -> tuple[ProbeQuality, ...]:
    """Train the run's probe again on what its log names, and on what the file `names` adds or chooses; measure its errors.

    Raises RunError (another log, no run), DataError and UsageError (the file), Interrupted (the run keeps its old probe).
    """
    folder, experience = RunFolder(Path(run).expanduser()), open_log(Path(log).expanduser())
    _, config, parts = load_parts(folder.path)
    named = Named() if names is None else read_named(Path(names).expanduser(), experience)
    data, held_out = Dataset.load(experience, Split.TRAIN), Dataset.load(experience, Split.CALIBRATE)
    check_source(folder, source_of(data, held_out), Path(log))
    known = named_in(data, experience, named)
    if not len(known.finite_rows()):
        raise DataError("no row has a number for every name; log some quantities, or give a file of them", log)
    wanted = named_in(held_out, experience, named, known.names)
    told, compute = watcher or Silent(), choose(config.device, config.precision)

    def encoded(split: Dataset, name: str) -> Latents:
        path = folder.path / "work" / f"{name}.npy"
        if not is_encoded(path, split.num_rows):
            encode_rows(parts.model, split, path, told, compute)
        return load_latents(path, split, config.frameskip, config.encoder.scene_size)

    latents, held_latents = encoded(data, "latents"), encoded(held_out, "held-out")
    stage = ProbeStage(latents, known, config, next(parts.model.parameters()).device)
    folder.checkpoint(stage.name).unlink(missing_ok=True)  # it may be of other names
    if run_stage(stage, config.probe.schedule, folder, watcher=told).interrupted:
        folder.checkpoint(stage.name).unlink(missing_ok=True)
        raise Interrupted("stopped; the run keeps the probe that it had")
    probe, ahead = stage.probe.eval().requires_grad_(False), config.agent.search.horizon
    found = check_probe(folder, probe, parts.model.dynamics, latents, known, held_latents, wanted, ahead)
    write_atomic(folder.calibration, to_json(replace(read_json(Calibration, folder.calibration), probes=found)))
    return found
