"""Stage `predict`: encoder and dynamics together, from pixels and states, end to end."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forethought.agent import meter
from forethought.data.dataset import Dataset
from forethought.data.windows import WindowBatch, sample_windows
from forethought.dynamics.base import Dynamics
from forethought.errors import CollapseError
from forethought.objectives.ema import follow
from forethought.objectives.inverse import InverseHead, inverse_error
from forethought.objectives.picture import PictureHead
from forethought.objectives.prediction import prediction_error, unchanged_error
from forethought.objectives.rank import effective_rank
from forethought.objectives.recombine import state_gap
from forethought.objectives.regulariser import Regulariser, spread, spread_flops
from forethought.objectives.still import StillTargets, within_variance
from forethought.objectives.straighten import curvature
from forethought.perception.augment import augment
from forethought.perception.fusion import SensorEncoder
from forethought.training.config import PredictConfig, TrainConfig
from forethought.training.device import Compute
from forethought.training.distributed import Ranks, gather_batch
from forethought.training.held_out import HeldOutFrames, is_due
from forethought.training.seeds import generator_for, seed_for
from forethought.training.stills import Stills, measure_stills
from forethought.training.trainer import Stage
from forethought.types import Array, SensorKind


@final
@dataclass(frozen=True)
class _Mixed:
    """Latents of recombined frames, and whose background each has."""

    z_GD: Tensor
    episode_G: Tensor


@final
@dataclass(frozen=True)
class _Seen:
    """An update's latents (B, T, D), a teacher's for the same frames if there is one, action blocks, each row's episode.

    `picture_NP`: what the state has to show of each frame, if it has to.
    """

    z_BTD: Tensor
    target_BTD: Tensor | None
    actions_BTA: Tensor
    episode_B: Tensor
    picture_NP: Tensor | None
    mixed: _Mixed | None


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
        self.stills = measure_stills(data) if encoder.scene_size else None
        self.still = StillTargets(self.stills.targets(), encoder.scene_size).to(self.device) if self.stills else None
        self.teacher = copy.deepcopy(encoder).requires_grad_(False) if _teaches(settings) else None
        self.picture = PictureHead(data.spec.sensors, state_size).to(self.device) if settings.picture else None
        self.recent: Tensor | None = None

    def modules(self) -> Mapping[str, nn.Module]:
        own = {"encoder": self.encoder, "dynamics": self.dynamics, "inverse": self.inverse}
        sometimes = {"still": self.still, "teacher": self.teacher, "picture": self.picture}
        return {**own, **{name: module for name, module in sometimes.items() if module is not None}}

    def trained(self) -> list[nn.Parameter]:
        return [p for module in self.modules().values() for p in module.parameters() if p.requires_grad]

    def loss(self, update: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        settings, scene_size = self.config.predict, self.encoder.scene_size
        seen = self._see(update)
        generator = generator_for(self.config.seed, self.name, update)
        error_BH = prediction_error(self.dynamics, seen.z_BTD, seen.actions_BTA, scene_size, seen.target_BTD)
        state_BTE = seen.z_BTD[..., scene_size:]
        parts = {"prediction": error_BH.mean(), "inverse": inverse_error(self.inverse, state_BTE, seen.actions_BTA)}
        weights = {"prediction": settings.prediction, "inverse": settings.inverse}
        if self.teacher is None:
            parts["spread"] = spread(settings.regulariser, state_BTE[:, 0], settings.windows, generator)
            weights["spread"] = settings.vicreg if settings.regulariser is Regulariser.VICREG else settings.state_sigreg
        if self.still is not None:
            parts |= self._scene_parts(seen, self.still)
            weights |= {"still": settings.still, "scene_moves": settings.scene_moves, "recombined": settings.recombined}
        if self.picture is not None and seen.picture_NP is not None:
            parts["picture"] = self.picture(state_BTE.flatten(0, 1), seen.picture_NP)
            weights["picture"] = settings.picture
        if settings.straighten and seen.z_BTD.shape[1] > 2:
            parts["curvature"] = curvature(state_BTE)
            weights["curvature"] = settings.straighten
        self.recent = state_BTE.detach()[:, 0]
        unchanged = unchanged_error(seen.z_BTD.detach(), scene_size).mean()
        logged = {**{k: v.detach() for k, v in parts.items()}, "unchanged": unchanged}
        return torch.stack([weights[k] * v for k, v in parts.items()]).sum(), logged

    def _scene_parts(self, seen: _Seen, still: StillTargets) -> dict[str, Tensor]:
        settings, scene_size = self.config.predict, self.encoder.scene_size
        scenes, episodes = seen.z_BTD[..., :scene_size].flatten(0, 1), seen.episode_B.repeat_interleave(settings.num_frames)
        moves = within_variance(scenes, settings.windows * settings.num_frames)
        if seen.mixed is None:
            return {"still": still(scenes, episodes), "scene_moves": moves}
        mixed_scene, mixed_state = seen.mixed.z_GD[:, :scene_size], seen.mixed.z_GD[:, scene_size:]
        state_GE = seen.z_BTD[:: settings.windows, 0, scene_size:]
        return {
            "still": still(torch.cat([scenes, mixed_scene]), torch.cat([episodes, seen.mixed.episode_G])),
            "scene_moves": moves,
            "recombined": state_gap(state_GE, mixed_state),
        }

    def flops(self) -> int:
        """FLOPs of one update."""
        settings = self.config.predict
        batch, ahead = settings.episodes * settings.windows, settings.num_frames - 1
        mixed = settings.episodes if self._recombines() else 0
        frames, encoder = batch * settings.num_frames, meter.work(self.encoder)
        total = encoder.learned(frames + mixed) + meter.imagined_learned(self.dynamics, batch, ahead)
        total += 3 * meter.of(self.inverse, batch * ahead)  # what it reads are latents: they want gradients, too
        if self.teacher is not None:
            total += encoder.of(frames)
        else:
            total += spread_flops(settings.regulariser, batch, self.encoder.latent_size - self.encoder.scene_size)
        if self.still is not None:
            total += 3 * meter.of(self.still.decode, frames + mixed)
        return total + (0 if self.picture is None else 3 * meter.of(self.picture.net, frames))

    def _recombines(self) -> bool:
        return self.stills is not None and bool(self.stills.images) and bool(self.config.predict.recombined)

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

    def _see(self, update: int) -> _Seen:
        settings = self.config.predict
        batch = sample_windows(
            self.data, seed=self.config.seed, update=update, batch_size=settings.episodes * settings.windows,
            num_frames=settings.num_frames, frameskip=self.config.frameskip, windows_per_episode=settings.windows,
            rank=self.ranks.rank, world_size=self.ranks.world_size,
        )  # fmt: skip
        count, frames = batch.actions_BTA.shape[0], settings.num_frames
        observation = {name: values.reshape(count * frames, *values.shape[2:]) for name, values in batch.observations.items()}
        readings = self._augmented(self._readings(observation), update)
        others = self._others(update) if self._recombines() else None
        if others is None or self.stills is None:
            z_BTD, mixed = self._encode(self.encoder, readings, count)[0], None
        else:
            z_BTD, z_GD = self._encode(self.encoder, readings, count, self._recombined(batch, self.stills, others))
            mixed = _Mixed(z_GD, self._gathered(others))
        target_BTD = None
        if self.teacher is not None:
            with torch.no_grad():
                target_BTD = self._encode(self.teacher, readings, count)[0]
        actions, episodes = self._gathered(batch.actions_BTA), self._gathered(batch.episode_B)
        return _Seen(z_BTD, target_BTD, actions, episodes, self._picture(readings), mixed)

    def _augmented(self, readings: dict[str, Tensor], update: int) -> dict[str, Tensor]:
        """Cameras a little otherwise, if that was asked for; every camera in its own way."""
        settings = self.config.predict
        if not settings.shift and not settings.light:
            return readings
        total, generator = settings.episodes * settings.windows, generator_for(self.config.seed, "augment", update)
        share = slice(*(part * total // self.ranks.world_size for part in (self.ranks.rank, self.ranks.rank + 1)))
        cameras = [sensor.name for sensor in self.data.spec.sensors if sensor.kind is SensorKind.IMAGE]
        changed = {n: augment(readings[n], share, total, settings.shift, settings.light, generator) for n in cameras}
        return readings | changed

    def _picture(self, readings: Mapping[str, Tensor]) -> Tensor | None:
        if self.picture is None:
            return None
        return gather_batch(self.picture.target(readings), self.ranks)

    def _others(self, update: int) -> NDArray[np.int64]:
        """Whose background this rank's share of the batch's episodes is put before, (G / ranks,)."""
        drawn = np.random.default_rng(seed_for(self.config.seed, "recombine", update))
        others = drawn.integers(0, self.data.num_episodes, self.config.predict.episodes)
        return np.split(others, self.ranks.world_size)[self.ranks.rank]

    def _recombined(self, batch: WindowBatch, stills: Stills, others: NDArray[np.int64]) -> dict[str, Array]:
        """The first frame of one window an episode, before another background."""
        every = self.config.predict.windows
        first = {name: values[::every, 0] for name, values in batch.observations.items()}
        return stills.recombined(first, batch.episode_B[::every], others)

    def _encode(
        self, encoder: SensorEncoder, readings: Mapping[str, Tensor], count: int, extra: Mapping[str, Array] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Latents (B, T, D), and those of extra readings (G, D).

        The heads end in batch statistics, so they see the whole batch: features are gathered, not latents.
        """
        whole = gather_batch(self._features(encoder, readings).reshape(count, -1), self.ranks)
        rows = whole.reshape(len(whole) * self.config.predict.num_frames, -1)
        added = rows[:0] if extra is None else gather_batch(self._features(encoder, self._readings(extra)), self.ranks)
        z_ND: Tensor = encoder.heads(torch.cat([rows, added]))
        return z_ND[: len(rows)].reshape(len(whole), self.config.predict.num_frames, -1), z_ND[len(rows) :]

    def _features(self, encoder: SensorEncoder, readings: Mapping[str, Tensor]) -> Tensor:
        with self.compute.autocast():
            return encoder.features(readings).float()

    def _readings(self, observation: Mapping[str, Array]) -> dict[str, Tensor]:
        return {n: torch.from_numpy(np.ascontiguousarray(values)).to(self.device) for n, values in observation.items()}

    def _gathered(self, values: Array) -> Tensor:
        return gather_batch(torch.from_numpy(values).to(self.device), self.ranks)


def _teaches(settings: PredictConfig) -> bool:
    return settings.regulariser is Regulariser.TEACHER


def _remedy(settings: PredictConfig) -> str:
    """What to change about the regulariser that did not prevent a collapse."""
    if _teaches(settings):
        return "lower predict.teacher_rate, or choose another predict.regulariser"
    return "raise predict.vicreg" if settings.regulariser is Regulariser.VICREG else "raise predict.state_sigreg"
