"""A run's agent with everything it has learned since training."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from forethought.agent.agent import AgentConfig, ForethoughtAgent
from forethought.agent.worlds import Mind, VersionedAgent
from forethought.costs.guardrail import Guardrail
from forethought.dynamics.adapted import Adapted
from forethought.perception.lens import Lens
from forethought.training.adapt import store
from forethought.training.adapt.store import Version
from forethought.training.bundle import Parts, assemble, load_parts
from forethought.training.config import TrainConfig
from forethought.training.run import RunFolder
from forethought.types import ExperienceSpec
from forethought.world_model import LatentWorldModel


def load_agent(
    run: str | os.PathLike[str],
    config: AgentConfig | None = None,
    *,
    guardrails: Sequence[Guardrail] = (),
    modules: Mapping[str, nn.Module] | None = None,
) -> ForethoughtAgent | VersionedAgent:
    """The run's agent with every version in use; the trained one alone if nothing was learned since.

    `config` overrides how it thinks, `guardrails` join its own; `modules` are the user's own, as in `bundle.load_parts`.
    Raises RunError, and UsageError for guardrails that cannot be kept.
    """
    folder = store.folder_of(run)
    spec, trained, parts = load_parts(run, modules)
    chosen = config or trained.agent
    settings = replace(trained, agent=replace(chosen, guardrails=(*chosen.guardrails, *guardrails)))
    minds = [Mind(assemble(parts, spec, settings)), *(_mind(folder, n, parts, spec, settings) for n in store.active(folder))]
    return VersionedAgent(minds) if len(minds) > 1 else minds[0].agent


def _mind(folder: RunFolder, number: int, parts: Parts, spec: ExperienceSpec, config: TrainConfig) -> Mind:
    version, changed, lens = load_parts_of(folder, number, parts, spec)
    return Mind(assemble(changed, spec, config), lens, version.number, version.why)


def load_parts_of(folder: RunFolder, number: int, parts: Parts, spec: ExperienceSpec) -> tuple[Version, Parts, Lens]:
    def fresh(width: int) -> Adapted:
        return Adapted(parts.model.dynamics, spec.action_space, width).to(next(parts.model.parameters()).device)

    heads = {"critic": copy.deepcopy(parts.critic), "habit": copy.deepcopy(parts.habit)}
    version, adapted, lens = store.load_version(folder, number, fresh, heads)
    return version, changed_parts(parts, adapted, heads["critic"], heads["habit"]), lens


def changed_parts(parts: Parts, adapted: Adapted, critic: nn.Module, habit: nn.Module) -> Parts:
    model = LatentWorldModel(parts.encoder, adapted).eval()
    return replace(parts, model=model, critic=critic, habit=habit)  # type: ignore[arg-type]
