"""Stage `decoder`: from frozen latents back to small pictures, so that people can look at what was imagined."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from forethought.agent import meter
from forethought.data.dataset import Dataset
from forethought.perception.decoder import Decoder, small_images
from forethought.training.checkpoint import load_modules, read_tensors
from forethought.training.config import TrainConfig
from forethought.training.latents import Latents
from forethought.training.run import RunFolder
from forethought.training.seeds import seed_for, seeded
from forethought.training.trainer import Stage
from forethought.types import SensorKind


def first_camera(data: Dataset) -> str | None:
    """The first image sensor's name, if there is one."""
    return next((sensor.name for sensor in data.spec.sensors if sensor.kind is SensorKind.IMAGE), None)


@final
class DecoderStage(Stage):
    """Squared error of small frames. Pixels count by how much they differ from another frame of the episode: what moves is
    small, and would else never be drawn.
    """

    name = "decoder"

    def __init__(self, latents: Latents, data: Dataset, camera: str, config: TrainConfig, device: torch.device) -> None:
        self.latents, self.config, self.settings, self.device = latents, config, config.decoder, device
        self.frames = data.sensors[camera]
        sample = np.linspace(0, len(self.frames) - 1, min(len(self.frames), 512)).astype(np.int64)
        mean_HWC = self._small(sample).mean(0)
        shape = (mean_HWC.shape[0], mean_HWC.shape[1], mean_HWC.shape[2])
        with seeded(config.seed, self.name):
            self.decoder = Decoder(latents.z_ND.shape[1], shape, self.settings.width).to(device)
        self.decoder.mean_HWC.copy_(mean_HWC)
        self.frames_per_update = self.settings.batch_size

    def modules(self) -> Mapping[str, nn.Module]:
        return {"decoder": self.decoder}

    def trained(self) -> list[nn.Parameter]:
        return list(self.decoder.parameters())

    def flops(self) -> int:
        """FLOPs of one update."""
        return meter.work(self.decoder).learned(self.frames_per_update)

    def note(self) -> Mapping[str, str]:
        return {"shape": json.dumps(self.decoder.shape)}

    def loss(self, update: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        generator = np.random.default_rng(seed_for(self.config.seed, self.name, update))
        rows = np.sort(generator.integers(0, len(self.frames), self.settings.batch_size))
        episode = self.latents.episode_of(rows)
        others = self.latents.starts_E[episode] + generator.integers(0, self.latents.lengths_E[episode] + 1)
        wanted = self._small(rows)
        error = (self.decoder(self.latents.z_ND[torch.from_numpy(rows)].to(self.device)) - wanted).square()
        weight = 0.05 + (wanted - self._small(others)).abs()
        return (error * weight).mean(), {"pixels": error.detach().mean()}

    def _small(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
        frames = torch.from_numpy(np.take(self.frames, rows, axis=0)).to(self.device)
        return small_images(frames, self.settings.side) / 255


def load_decoder(run: RunFolder) -> Decoder | None:
    """The decoder of a run, in evaluation mode; None if its log had no camera. Raises RunError if it is damaged."""
    path = run.stage_file("decoder")
    if not path.is_file():
        return None
    tensors, note = read_tensors(path)
    width, latent_size = tensors["decoder/coarse.0.weight"].shape
    height, across, channels = json.loads(note["shape"])
    decoder = Decoder(latent_size, (height, across, channels), width)
    load_modules(path, {"decoder": decoder})
    return decoder.eval().requires_grad_(False)
