"""Examples kept in the run for the report: futures imagined against what came, and the worst transitions. For people only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from forethought.data.dataset import Dataset
from forethought.dynamics.base import Dynamics
from forethought.perception.decoder import small_images
from forethought.training.checkpoint import read_tensors
from forethought.training.decoder import first_camera
from forethought.training.files import write_atomic_with
from forethought.training.latents import Latents
from forethought.training.tail import Tail, imagine_from

SIDE = 64
PERCENTILES = (5.0, 50.0, 90.0, 95.0, 99.0)


@final
@dataclass(frozen=True)
class Examples:
    """K windows of H blocks whose final error stands at PERCENTILES of all, and M of the worst transitions (one an episode).

    frames are uint8 (small), empty where there is no camera; latents float32. `worst` indexes the calibration's tail.
    """

    frames_KHHWC: Tensor
    real_KHD: Tensor
    imagined_KHD: Tensor
    error_K: Tensor
    worst_M: Tensor
    worst_frames_M2HWC: Tensor
    worst_real_M2D: Tensor
    worst_imagined_MD: Tensor
    worst_action_MA: Tensor


def gather_examples(
    data: Dataset, latents: Latents, dynamics: Dynamics, tail: Tail, horizon: int = 10, count: int = 2000, most: int = 12
) -> Examples:
    """Pick and copy them. The futures stand at fixed percentiles of the error: nobody chose the pretty ones."""
    horizon = max(1, min(horizon, int(latents.lengths_E.max()) // latents.frameskip))
    starts = np.sort(np.random.default_rng(1).choice(latents.window_starts(horizon), count))
    imagined, real = imagine_from(latents, dynamics, starts, horizon)
    final = (imagined - real)[:, -1, latents.scene_size :].square().mean(-1)
    ranked = final.argsort(stable=True).numpy()
    chosen = ranked[[min(count - 1, int(p / 100 * count)) for p in PERCENTILES]]
    rows = starts[chosen, None] + np.arange(horizon + 1) * latents.frameskip
    places = _one_an_episode(tail, most)
    worst = np.array([tail.worst[i].row for i in places], np.int64)
    before_after = worst[:, None] + np.array([0, latents.frameskip])
    z_M = imagine_from(latents, dynamics, worst, 1)[0][:, 0] if len(worst) else imagined[:0, 0]
    return Examples(
        _frames(data, rows), latents.z_ND[torch.from_numpy(rows)], imagined[chosen], final[chosen],
        torch.tensor(places, dtype=torch.int64), _frames(data, before_after), latents.z_ND[torch.from_numpy(before_after)],
        z_M, latents.action_NA[torch.from_numpy(worst)],
    )  # fmt: skip


def save_examples(path: Path, examples: Examples) -> None:
    """One atomic safetensors file."""
    tensors = {name: tensor.clone().contiguous() for name, tensor in vars(examples).items()}
    write_atomic_with(path, lambda temporary: save_file(tensors, temporary))


def load_examples(path: Path) -> Examples | None:
    """The inverse; None where there are none. Raises RunError for a damaged file."""
    return Examples(**read_tensors(path)[0]) if path.is_file() else None


def _one_an_episode(tail: Tail, most: int) -> list[int]:
    seen: dict[str, int] = {}
    for index, transition in enumerate(tail.worst):
        seen.setdefault(transition.episode, index)
    return list(seen.values())[:most]


def _frames(data: Dataset, rows_KT: NDArray[np.int64]) -> Tensor:
    camera = first_camera(data)
    if camera is None or not rows_KT.size:
        return torch.zeros(*rows_KT.shape, 0, 0, 3, dtype=torch.uint8)
    images = torch.from_numpy(np.take(data.sensors[camera], rows_KT.reshape(-1), axis=0))
    small = small_images(images, SIDE).round().to(torch.uint8)
    return small.reshape(*rows_KT.shape, *small.shape[1:])
