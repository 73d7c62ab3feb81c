"""Stage `encode`: the whole dataset once through the frozen encoder, into a memory-mapped file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forethought.data.dataset import Dataset
from forethought.data.windows import block_actions
from forethought.errors import RunError
from forethought.training.device import Compute
from forethought.training.files import write_atomic
from forethought.training.progress import Progress, Watcher
from forethought.world_model import LatentWorldModel

CHUNK = 2048


@final
@dataclass(frozen=True)
class Latents:
    """Latents of every row of a dataset, and the action block that starts at each row.

    z_ND float32; action_NA (frameskip * A); starts_E and lengths_E in environment steps, as in the dataset.
    """

    z_ND: Tensor
    action_NA: Tensor
    starts_E: NDArray[np.int64]
    lengths_E: NDArray[np.int64]
    frameskip: int
    scene_size: int

    def window_starts(self, horizon: int) -> NDArray[np.int64]:
        """Rows from which `horizon` blocks fit inside the episode."""
        span = horizon * self.frameskip
        fits = [np.arange(s, s + n - span + 1) for s, n in zip(self.starts_E, self.lengths_E, strict=True) if n >= span]
        return np.concatenate(fits) if fits else np.zeros(0, np.int64)

    def episode_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which episode each row belongs to."""
        return np.searchsorted(self.starts_E, rows, side="right").astype(np.int64) - 1


def observation_rows(data: Dataset, rows: NDArray[np.int64] | slice, device: torch.device) -> dict[str, Tensor]:
    """Sensors at some rows, as tensors on a device."""
    return {name: torch.from_numpy(np.ascontiguousarray(values[rows])).to(device) for name, values in data.sensors.items()}


@torch.inference_mode()
def encode_rows(model: LatentWorldModel, data: Dataset, path: Path, watcher: Watcher, compute: Compute | None = None) -> None:
    """Write the latents of all rows to a .npy file; resumes after a kill at the last finished chunk.

    Plain writes, not a memory map: on a full disk those raise, and a memory map kills the process. Raises RunError.
    """
    model.eval()
    device, rows = next(model.parameters()).device, data.num_rows
    done, compute, began = _resume_point(path, rows), compute or Compute(), time.perf_counter()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("r+b" if done else "wb") as target:
            header = _header(target, rows, model.encoder.latent_size)
            target.seek(header + done * model.encoder.latent_size * 4)
            for number, begin in enumerate(range(done, rows, CHUNK)):
                chunk = slice(begin, min(begin + CHUNK, rows))
                with compute.autocast():
                    z_BD = model.encode(observation_rows(data, chunk, device))
                target.write(z_BD.float().cpu().numpy().tobytes())
                if number % 16 == 15 or chunk.stop == rows:
                    target.flush()
                    os.fsync(target.fileno())
                    write_atomic(_marker(path), json.dumps({"rows": rows, "done": chunk.stop}))
                rate = (chunk.stop - done) / max(time.perf_counter() - began, 1e-9)
                watcher.progress(Progress("encode", chunk.stop, rows, {}, rate, (rows - chunk.stop) / rate))
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); free space, the same command goes on") from None


def _header(target: BinaryIO, rows: int, size: int) -> int:
    """Write the header of a float32 .npy file; its length."""
    described = {"descr": "<f4", "fortran_order": False, "shape": (rows, size)}
    np.lib.format.write_array_header_1_0(target, described)  # type: ignore[no-untyped-call, unused-ignore]
    return target.tell()


def load_latents(path: Path, data: Dataset, frameskip: int, scene_size: int) -> Latents:
    """The latents of a finished encode stage, with the dataset's action blocks."""
    z_ND = torch.from_numpy(np.load(path, allow_pickle=False))
    actions = torch.from_numpy(block_actions(data, np.arange(data.num_rows), frameskip))
    return Latents(z_ND, actions, data.starts, data.lengths, frameskip, scene_size)


def is_encoded(path: Path, rows: int) -> bool:
    """Is the latent file whole?"""
    return _resume_point(path, rows) == rows


def _resume_point(path: Path, rows: int) -> int:
    if not path.is_file() or not _marker(path).is_file():
        return 0
    marker: Mapping[str, int] = json.loads(_marker(path).read_text())
    return marker["done"] if marker["rows"] == rows else 0


def _marker(path: Path) -> Path:
    return path.with_suffix(".json")
