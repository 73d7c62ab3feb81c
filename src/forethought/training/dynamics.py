"""Stage `dynamics`: a fresh dynamics on frozen latents, ten times the updates a minute, drawn to what surprised it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from forethought.agent import meter
from forethought.dynamics.base import Dynamics
from forethought.errors import DataError
from forethought.training.config import TrainConfig
from forethought.training.distributed import Ranks
from forethought.training.held_out import HeldOutLatents, is_due
from forethought.training.latents import Latents
from forethought.training.seeds import seed_for
from forethought.training.trainer import Stage


@final
class Priority(nn.Module):
    """The last prediction error of every window; a module so that checkpoints hold it."""

    error_N: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("error_N", torch.ones(count))


@final
class DynamicsStage(Stage):
    """Multi-step error of the state part. Contacts are rare and a mean hides them, so the worst 1 % is logged too.

    The scene is taken from another frame of the same episode half of the time: it must not matter which. Starts are moved off a
    little (`jitter`): an imagined state that has got into a wall is then led back out, not on and through (cf. 2002.09405).
    """

    name = "dynamics"

    def __init__(
        self, latents: Latents, dynamics: Dynamics, config: TrainConfig, ranks: Ranks, watch: HeldOutLatents | None = None
    ) -> None:
        self.latents, self.dynamics, self.config, self.ranks, self.watch = latents, dynamics, config, ranks, watch
        self.settings = config.dynamics
        self.starts_N = latents.window_starts(self.settings.horizon)
        if not len(self.starts_N):
            span = self.settings.horizon * latents.frameskip
            raise DataError(
                f"no episode has the {span} steps that dynamics.horizon={self.settings.horizon} blocks need; lower it"
            )
        self.jitter = self.settings.jitter * self._usual_change()
        self.priority = Priority(len(self.starts_N))
        self.frames_per_update = self.settings.batch_size * (self.settings.horizon + 1)
        self.picked = np.zeros(0, np.int64)
        self.error_B = torch.zeros(0)

    def modules(self) -> Mapping[str, nn.Module]:
        return {"dynamics": self.dynamics, "priority": self.priority}

    def trained(self) -> list[nn.Parameter]:
        return list(self.dynamics.parameters())

    def loss(self, update: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        generator = np.random.default_rng(seed_for(self.config.seed, self.name, update))
        self.picked = self._pick(generator)
        rows = self.starts_N[self.picked]
        z_BD = self._start(rows, generator)
        steps = rows[:, None] + np.arange(self.settings.horizon + 1) * self.latents.frameskip
        device = next(self.dynamics.parameters()).device
        actions = self.latents.action_NA[torch.from_numpy(steps[:, :-1])].to(device)
        wanted = self.latents.z_ND[torch.from_numpy(steps[:, 1:])].to(device)[..., self.latents.scene_size :]
        z_BD = z_BD.to(device)
        imagined = self.dynamics.imagine(z_BD, remembered(self.dynamics, self.latents, rows, z_BD), actions.unsqueeze(1))[:, 0]
        error_BH = (imagined[..., self.latents.scene_size :] - wanted).square().mean(-1)
        self.error_B = error_BH.detach().mean(-1)
        uniform = self.error_B[int(len(rows) * self.settings.surprising) :]
        unchanged = (z_BD[:, None, self.latents.scene_size :] - wanted).square().mean()
        return error_BH.mean(), {"uniform": uniform.mean(), "p99": uniform.quantile(0.99), "unchanged": unchanged}

    def after_update(self, update: int) -> None:
        self.priority.error_N[torch.from_numpy(self.picked)] = self.error_B.cpu()

    def flops(self) -> int:
        """FLOPs of one update; what is remembered of the block before is learned through, too."""
        batch = self.settings.batch_size
        return meter.imagined_learned(self.dynamics, batch, self.settings.horizon) + 2 * batch * meter.filtered(self.dynamics)

    def monitor(self, update: int, metrics: Mapping[str, float]) -> Mapping[str, float]:
        """Now and then, the error on held-out episodes."""
        if self.watch is None or not is_due(update, self.settings.schedule.log_every):
            return {}
        return self.watch.figures(self.dynamics)

    def _pick(self, generator: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        count, surprising = self.settings.batch_size, int(self.settings.batch_size * self.settings.surprising)
        uniform = generator.integers(0, len(self.starts_N), count - surprising)
        total = self.priority.error_N.double().cumsum(0).numpy()
        drawn = np.searchsorted(total, generator.random(surprising) * total[-1]).clip(0, len(self.starts_N) - 1)
        return np.concatenate([drawn, uniform]).astype(np.int64)

    def _start(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]], generator: np.random.Generator) -> Tensor:
        z_BD = self.latents.z_ND[torch.from_numpy(rows)]
        if not self.latents.scene_size:
            return z_BD
        episode = self.latents.episode_of(rows)
        other = self.latents.starts_E[episode] + generator.integers(0, self.latents.lengths_E[episode] + 1)
        swap = torch.from_numpy(generator.random(len(rows)) < 0.5)
        scene = torch.where(swap[:, None], self.latents.z_ND[torch.from_numpy(other)], z_BD)[:, : self.latents.scene_size]
        state = z_BD[:, self.latents.scene_size :]
        strength = generator.random((len(rows), 1)) * self.jitter
        off = torch.from_numpy((generator.standard_normal(state.shape) * strength).astype(np.float32))
        return torch.cat([scene, state + off], -1)

    def _usual_change(self) -> float:
        """Root mean square change of a state number in a block."""
        rows = torch.from_numpy(self.starts_N[:: max(1, len(self.starts_N) // 4096)])
        change = self.latents.z_ND[rows + self.latents.frameskip] - self.latents.z_ND[rows]
        return float(change[:, self.latents.scene_size :].square().mean().sqrt())


def remembered(dynamics: Dynamics, latents: Latents, rows: np.ndarray[tuple[int], np.dtype[np.int64]], z_BD: Tensor) -> Tensor:
    """What the dynamics remembers at some rows, of the block before each; an episode's first blocks have none before them."""
    empty = dynamics.initial_memory(z_BD)
    if not dynamics.memory_size:
        return empty
    earlier = rows - latents.frameskip
    inside = earlier >= latents.starts_E[latents.episode_of(rows)]
    at = torch.from_numpy(np.where(inside, earlier, rows))
    before, action = latents.z_ND[at].to(z_BD), latents.action_NA[at].to(z_BD)
    memory = dynamics.update(before, dynamics.initial_memory(before), action, z_BD)
    return torch.where(torch.from_numpy(inside).to(z_BD.device).unsqueeze(-1), memory, empty)
