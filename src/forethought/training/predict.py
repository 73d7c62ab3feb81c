"""Stage `predict`: encoder and dynamics together, from pixels and states, end to end."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from forethought.data.dataset import Dataset
from forethought.data.windows import sample_windows
from forethought.dynamics.base import Dynamics
from forethought.errors import CollapseError
from forethought.objectives.ema import follow
from forethought.objectives.inverse import InverseHead, inverse_error
from forethought.objectives.prediction import prediction_error, unchanged_error
from forethought.objectives.rank import effective_rank
from forethought.objectives.regulariser import Regulariser, spread
from forethought.objectives.still import StillTargets, still_frame, within_variance
from forethought.objectives.straighten import curvature
from forethought.perception.fusion import SensorEncoder
from forethought.training.config import PredictConfig, TrainConfig
from forethought.training.device import Compute
from forethought.training.distributed import Ranks, gather_batch
from forethought.training.held_out import HeldOutFrames, is_due
from forethought.training.seeds import generator_for
from forethought.training.trainer import Stage


@final
class PredictStage(Stage):
    """Loss: multi-step prediction, inverse dynamics, the state's spread within episodes, the scene's still frame."""

    name = "predict"
    shared = True

    def __init__(
        self, data: Dataset, encoder: SensorEncoder, dynamics: Dynamics, config: TrainConfig, ranks: Ranks,
        compute: Compute | None = None, watch: HeldOutFrames | None = None,
    ) -> None:  # fmt: skip
        self.data, self.encoder, self.dynamics, self.config, self.ranks = data, encoder, dynamics, config, ranks
        self.compute, self.watch = compute or Compute(), watch
        self.device = next(encoder.parameters()).device
        state_size = encoder.latent_size - encoder.scene_size
        self.inverse = InverseHead(state_size, dynamics.action_size).to(self.device)
        settings = config.predict
        self.frames_per_update = settings.episodes * settings.windows * settings.num_frames
        self.still = _still_targets(data, encoder.scene_size).to(self.device) if encoder.scene_size else None
        self.teacher = copy.deepcopy(encoder).requires_grad_(False) if _teaches(settings) else None
        self.recent: Tensor | None = None

    def modules(self) -> Mapping[str, nn.Module]:
        own = {"encoder": self.encoder, "dynamics": self.dynamics, "inverse": self.inverse}
        sometimes = {"still": self.still, "teacher": self.teacher}
        return {**own, **{name: module for name, module in sometimes.items() if module is not None}}

    def trained(self) -> list[nn.Parameter]:
        return [p for module in self.modules().values() for p in module.parameters() if p.requires_grad]

    def loss(self, update: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        settings, scene_size = self.config.predict, self.encoder.scene_size
        z_BTD, target_BTD, actions_BTA, episode_B = self._latents(update)
        generator = generator_for(self.config.seed, self.name, update)
        error_BH = prediction_error(self.dynamics, z_BTD, actions_BTA, scene_size, target_BTD)
        state_BTE = z_BTD[..., scene_size:]
        parts = {
            "prediction": error_BH.mean(),
            "inverse": inverse_error(self.inverse, state_BTE, actions_BTA),
        }
        weights = {"prediction": settings.prediction, "inverse": settings.inverse}
        if self.teacher is None:
            parts["spread"] = spread(settings.regulariser, state_BTE[:, 0], settings.windows, generator)
            weights["spread"] = settings.vicreg if settings.regulariser is Regulariser.VICREG else settings.state_sigreg
        if self.still is not None:
            scenes = z_BTD[..., :scene_size].flatten(0, 1)
            parts["still"] = self.still(scenes, episode_B.repeat_interleave(settings.num_frames))
            parts["scene_moves"] = within_variance(scenes, settings.windows * settings.num_frames)
            weights.update(still=settings.still, scene_moves=settings.scene_moves)
        if settings.straighten and z_BTD.shape[1] > 2:
            parts["curvature"] = curvature(state_BTE)
            weights["curvature"] = settings.straighten
        self.recent = state_BTE.detach()[:, 0]
        unchanged = unchanged_error(z_BTD.detach(), scene_size).mean()
        logged = {**{k: v.detach() for k, v in parts.items()}, "unchanged": unchanged}
        return torch.stack([weights[k] * v for k, v in parts.items()]).sum(), logged

    def after_update(self, update: int) -> None:
        if self.teacher is not None:
            follow(self.teacher, self.encoder, self.config.predict.teacher_rate)

    def monitor(self, update: int, metrics: Mapping[str, float]) -> Mapping[str, float]:
        """Effective rank of the state, now and then held-out errors; a latent nearly constant after the start ends the run."""
        if self.recent is None:
            return {}
        rank, deviation = float(effective_rank(self.recent)), float(self.recent.std(0).mean())
        if update >= 200 and (rank < 1.5 or deviation < 1e-3):
            raise CollapseError(
                f"the latent collapsed at update {update} (effective rank {rank:.2f}, deviation {deviation:.1e}); "
                f"{_remedy(self.config.predict)}, raise predict.inverse, lower the learning rate, or see with `data check` "
                "whether the sensors change"
            )
        if self.watch is None or not is_due(update, self.config.predict.schedule.log_every):
            return {"rank": rank}
        return {"rank": rank, **self.watch.figures(self.encoder, self.dynamics)}

    def _latents(self, update: int) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Latents (B, T, D), a teacher's for the same frames if there is one, action blocks, and each row's episode."""
        settings = self.config.predict
        batch = sample_windows(
            self.data, seed=self.config.seed, update=update, batch_size=settings.episodes * settings.windows,
            num_frames=settings.num_frames, frameskip=self.config.frameskip, windows_per_episode=settings.windows,
            rank=self.ranks.rank, world_size=self.ranks.world_size,
        )  # fmt: skip
        count = batch.actions_BTA.shape[0]
        observation = {
            name: torch.from_numpy(values.reshape(count * settings.num_frames, *values.shape[2:])).to(self.device)
            for name, values in batch.observations.items()
        }
        z_BTD = self._encode(self.encoder, observation, count)
        target_BTD = None
        if self.teacher is not None:
            with torch.no_grad():
                target_BTD = self._encode(self.teacher, observation, count)
        actions = gather_batch(torch.from_numpy(batch.actions_BTA).to(self.device), self.ranks)
        episodes = gather_batch(torch.from_numpy(batch.episode_B).to(self.device), self.ranks)
        return z_BTD, target_BTD, actions, episodes

    def _encode(self, encoder: SensorEncoder, observation: Mapping[str, Tensor], count: int) -> Tensor:
        """The heads end in batch statistics, so they see the whole batch: features are gathered, not latents."""
        with self.compute.autocast():
            features = encoder.features(observation)
        whole = gather_batch(features.float().reshape(count, self.config.predict.num_frames, -1), self.ranks)
        z_ND: Tensor = encoder.heads(whole.flatten(0, 1))
        return z_ND.reshape(len(whole), self.config.predict.num_frames, -1)


def _teaches(settings: PredictConfig) -> bool:
    return settings.regulariser is Regulariser.TEACHER


def _remedy(settings: PredictConfig) -> str:
    """What to change about the regulariser that did not prevent a collapse."""
    if _teaches(settings):
        return "lower predict.teacher_rate, or choose another predict.regulariser"
    return "raise predict.vicreg" if settings.regulariser is Regulariser.VICREG else "raise predict.state_sigreg"


def _still_targets(data: Dataset, scene_size: int) -> StillTargets:
    spans = [slice(start, start + length + 1) for start, length in zip(data.starts, data.lengths, strict=True)]
    frames = [np.concatenate([still_frame(values[span]) for values in data.sensors.values()]) for span in spans]
    return StillTargets(np.stack(frames), scene_size)
