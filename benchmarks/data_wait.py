"""What share of a training step is spent on getting its data? Updates of the predict stage, profiled, on real recorded logs.

    python -m benchmarks.data_wait

`share`: time inside `sample_windows` (drawing, gathering and copying a batch's frames and actions) of the whole of the updates,
from one profile of one run, so that a busy machine changes both alike. Logs: wandering Two-Room episodes and Push-T's pusher,
with the recipes that learn from them, held in memory and as memory maps.
"""

from __future__ import annotations

import cProfile
import pstats
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks._result import command_line, write_result
from forethought.data import open_log, write_log
from forethought.data.dataset import Dataset
from forethought.envs import pusht, two_room
from forethought.training.allocator import keep_freed_memory
from forethought.training.bundle import build_parts, normalise
from forethought.training.config import TrainConfig
from forethought.training.distributed import Ranks
from forethought.training.predict import PredictStage
from forethought.training.recipes import pusht_pixels, two_room_fixed, two_room_random
from forethought.types import Episode, ExperienceSpec

UPDATES, EPISODES = 60, 120


def logs() -> Iterator[tuple[str, TrainConfig, Iterator[Episode], ExperienceSpec]]:
    """A name, the recipe, and the episodes it learns from."""
    yield "two-room-fixed", two_room_fixed(), two_room.record(EPISODES, 64, 0, random=False), two_room.log_spec()
    yield "two-room-random", two_room_random(), two_room.record(EPISODES, 64, 0, random=True), two_room.log_spec()
    yield "pusht-pixels", pusht_pixels(), pusht.record(EPISODES // 2, 100, 0), pusht.log_spec()


def profiled(data: Dataset, config: TrainConfig) -> float:
    """The share of `sample_windows` in some updates, after a few to warm up."""
    torch.manual_seed(0)
    parts = build_parts(data.spec, config)
    normalise(parts, data)
    stage = PredictStage(data, parts.encoder.train(), parts.first_dynamics, config, Ranks())
    optimizer = torch.optim.AdamW(stage.trained(), lr=1e-3, fused=True)

    def update(number: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        stage.loss(number)[0].backward()
        optimizer.step()

    for number in range(5):
        update(number)
    profile = cProfile.Profile()
    profile.enable()
    for number in range(5, 5 + UPDATES):
        update(number)
    profile.disable()
    return _share(pstats.Stats(profile))


def _share(found: Any) -> float:
    times = {function[2]: line[3] for function, line in found.stats.items()}
    return float(times["sample_windows"] / found.total_tt)


def main() -> None:
    """Measure, print, write scores/data_wait.json."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as every training does
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for log, config, episodes, spec in logs():
            experience = open_log(write_log(Path(name) / f"{log}.h5", episodes, spec))
            for held, folder in (("memory", None), ("memory map", Path(name) / log)):
                share = profiled(Dataset.load(experience, folder=folder), config)
                rows.append({"log": log, "held_in": held, "share": round(share, 4)})
                print(f"{log:<16}{held:<12}{100 * share:5.2f} %")
    print("written:", write_result("data_wait.json", command_line(), {"updates": UPDATES, "rows": rows}))


if __name__ == "__main__":
    main()
