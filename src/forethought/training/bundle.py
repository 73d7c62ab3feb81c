"""The parts of a run: made from its configuration, and loaded back from its folder as an agent."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch
from torch import nn

from forethought.agent.agent import AgentConfig, ForethoughtAgent
from forethought.agent.ladder import Trust
from forethought.config import read_json
from forethought.costs.build import build_critic
from forethought.costs.cost import Cost
from forethought.costs.critic import CriticCost
from forethought.costs.goal import GoalDistance
from forethought.costs.guardrail import Guardrail
from forethought.costs.temporal import Critic
from forethought.data.dataset import Dataset
from forethought.data.schema import spec_from_json
from forethought.data.stats import measure, usual_frame
from forethought.dynamics.base import Dynamics
from forethought.dynamics.build import build_dynamics
from forethought.errors import RunError
from forethought.habits.policy import Habit
from forethought.perception.build import build_encoder
from forethought.perception.fusion import SensorEncoder
from forethought.perception.image import ImageBody
from forethought.perception.probe import Probe
from forethought.perception.vectors import VectorNet
from forethought.surprise.monitor import Monitor
from forethought.training.checkpoint import load_modules
from forethought.training.config import TrainConfig
from forethought.training.device import choose
from forethought.training.probes import load_probe
from forethought.training.run import RunFolder
from forethought.training.surprise import load_monitor
from forethought.types import ExperienceSpec
from forethought.world_model import LatentWorldModel


@final
@dataclass(frozen=True)
class Parts:
    """All trained modules of a run. `first_dynamics` is the one trained with the encoder; the model holds the final one.

    `probe` reads named quantities, where the log had some.
    """

    encoder: SensorEncoder
    first_dynamics: Dynamics
    model: LatentWorldModel
    critic: Critic
    habit: Habit
    probe: Probe | None = None
    monitor: Monitor | None = None
    trust: Trust | None = None

    def trees(self) -> tuple[nn.Module, ...]:
        """Every module once, to be moved or set as a whole."""
        own = (self.model, self.first_dynamics, self.critic, self.habit)
        return own if self.probe is None else (*own, self.probe)


def build_parts(spec: ExperienceSpec, config: TrainConfig, modules: Mapping[str, nn.Module] | None = None) -> Parts:
    """Fresh modules; torch's global generator decides their weights. `modules`: the user's own, by sensor."""
    encoder = build_encoder(spec, config.encoder, modules)
    action_size, scene = config.frameskip * spec.action_space.size, config.encoder.scene_size
    latent = encoder.latent_size
    first = build_dynamics(config.dynamics.architecture, latent, scene, action_size)
    final_dynamics = build_dynamics(config.dynamics.architecture, latent, scene, action_size)
    heads = config.heads
    critic = build_critic(heads.critic, latent, scene, heads.width, heads.depth, heads.limit, heads.landmarks)
    habit = Habit(latent, scene, spec.action_space, config.frameskip, config.heads.width, config.heads.depth)
    return Parts(encoder, first, LatentWorldModel(encoder, final_dynamics), critic, habit)


def normalise(parts: Parts, data: Dataset) -> None:
    """Give every vector sensor's encoder the log's mean and deviation, and, where the scene never changes, every camera's its
    mean frame. Where layouts differ, the mean of them is nobody's background, and did not help (docs/log/two-room.md).
    """
    bodies = dict(zip(parts.encoder.names, parts.encoder.bodies, strict=True))
    vectors = [(name, body) for name, body in bodies.items() if isinstance(body, VectorNet)]
    for name, body in bodies.items():
        if isinstance(body, ImageBody) and not parts.encoder.scene_size:
            usual, deviation = usual_frame(data.sensors[name])
            body.normalise(torch.from_numpy(usual), deviation)
    if vectors:  # measuring pixels takes seconds, and would be for nothing
        statistics = measure(data)
        for name, body in vectors:
            column = statistics.sensor(name)
            body.mean.copy_(body.mean.new_tensor(column.mean))
            body.deviation.copy_(body.deviation.new_tensor(column.std).clamp_min(1e-6))


def load_parts(
    run: str | os.PathLike[str], modules: Mapping[str, nn.Module] | None = None
) -> tuple[ExperienceSpec, TrainConfig, Parts]:
    """The finished run's spec, configuration and parts, in evaluation mode, on the device that its configuration chooses.

    `modules`: for a run with the user's own, modules of the same shape by sensor; their weights come from the run.
    Raises RunError, and UsageError if a module is missing.
    """
    folder = RunFolder(Path(run).expanduser())
    if not folder.config.is_file():
        raise RunError(f"{folder.path}: no run here (no config.json); give the folder that `forethought train` wrote")
    config = read_json(TrainConfig, folder.config)
    spec_path = folder.path / "spec.json"
    for path in (spec_path, folder.calibration):
        if not path.is_file():
            raise RunError(f"{path}: no such file; a finished run has it. Go on with its training, or train again")
    spec = spec_from_json(spec_path.read_text(encoding="utf-8"), spec_path)
    parts = build_parts(spec, config, modules)
    load_modules(folder.stage_file("predict"), {"encoder": parts.encoder})
    load_modules(folder.stage_file("dynamics"), {"dynamics": parts.model.dynamics})
    load_modules(folder.stage_file("heads"), {"critic": parts.critic, "habit": parts.habit})
    if config.practice is not None:
        load_modules(folder.stage_file("practice"), {"habit": parts.habit})
    for module in (parts.model, parts.critic, parts.habit):
        module.eval().requires_grad_(False)
    monitor = load_monitor(folder, spec, config.frameskip, config.encoder.scene_size)
    trust = read_json(Trust, folder.trust) if folder.trust.is_file() else None
    whole = replace(parts, probe=load_probe(folder), monitor=monitor, trust=trust)
    choose(config.device, config.precision).place(*whole.trees())
    return spec, config, whole


def load_agent(
    run: str | os.PathLike[str],
    config: AgentConfig | None = None,
    *,
    guardrails: Sequence[Guardrail] = (),
    modules: Mapping[str, nn.Module] | None = None,
) -> ForethoughtAgent:
    """The agent of a finished run; `config` overrides how it thinks, `guardrails` join its own; `modules` as in `load_parts`.

    Raises RunError, and UsageError for guardrails that cannot be kept (`costs/guardrail.py`).
    """
    spec, trained, parts = load_parts(run, modules)
    chosen = config or trained.agent
    chosen = replace(chosen, guardrails=(*chosen.guardrails, *guardrails))
    return assemble(parts, spec, replace(trained, agent=chosen))


def assemble(parts: Parts, spec: ExperienceSpec, config: TrainConfig) -> ForethoughtAgent:
    """An agent from parts: searching on the critic, or on raw latent distance if `agent.cost` says so."""
    if config.agent.cost == "latent":
        cost: Cost = GoalDistance(config.agent.path_weight, config.agent.passing)
    else:
        cost = CriticCost(parts.critic, passing=config.agent.passing)
    return ForethoughtAgent(
        parts.model, cost, parts.habit, spec, config.frameskip, config.agent, parts.probe, parts.monitor, parts.trust
    )
