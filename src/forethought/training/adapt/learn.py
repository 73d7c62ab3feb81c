"""The front door of learning after training: new experience in; a kept version or a refusal out, and why.

The encoder stays. What may change is small and stated: what the cameras always show (a lens), what actuators make of actions, a
residual of the dynamics; critic and habit are made again on what then is imagined.
"""

from __future__ import annotations

import copy
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from forethought.data import open_log
from forethought.dynamics.adapted import Adapted
from forethought.errors import RunError
from forethought.perception.lens import Lens
from forethought.surprise.ruler import Ruler
from forethought.training.adapt import store
from forethought.training.adapt.fit import CHANGES, LOOSER, Change, cost, fit, moves_errors, out_of_fold
from forethought.training.adapt.gate import Figures, effect, forgotten, movement, objections, too_little, unexplained
from forethought.training.adapt.minds import changed_parts, load_parts_of
from forethought.training.adapt.moves import Moves, encode_episodes, lens_for
from forethought.training.adapt.store import Event, Version
from forethought.training.bundle import Parts, load_parts
from forethought.training.config import TrainConfig
from forethought.training.latents import Latents
from forethought.training.learners.build import graph_for, heads_stage
from forethought.training.practice import PracticeStage
from forethought.training.progress import Silent, Watcher
from forethought.training.replay import load_replay
from forethought.training.run import RunFolder
from forethought.training.schedule import Schedule
from forethought.training.trainer import run_stage
from forethought.types import BoxSpace, Episode, ExperienceSpec

ABOUT = 1.1
"""A smaller change is taken if its held-out error is at most so much above the best one's."""
AGAIN = 4
"""Critic and habit begin where they were, and take the training's updates divided by this."""


@final
@dataclass(frozen=True)
class Lesson:
    """What came of it: was it kept, as which version (0: none), why or why not, what was changed, and the figures."""

    kept: bool
    version: int
    why: str
    change: str = ""
    figures: Figures = field(default_factory=Figures)
    cpu_seconds: float = 0.0


def learn(
    run: str | os.PathLike[str],
    experience: str | os.PathLike[str] | Sequence[Episode],
    *,
    why: str = "",
    seed: int = 0,
    watcher: Watcher | None = None,
) -> Lesson:
    """Learn from a log, or from episodes, of a world that surprises; keep a version only if held-out moves say so.

    Raises RunError for a run without a monitor or a replay, DataError for experience that it cannot read.
    """
    began, folder = time.process_time(), store.folder_of(run)
    spec, config, parts = load_parts(run)
    episodes = _episodes(experience)
    learner = _Learner(folder, spec, config, parts, episodes, seed, watcher or Silent())
    verdict = learner.judge()
    if isinstance(verdict, str):
        store.note(folder, Event("refused", 0, verdict))
        return Lesson(False, 0, verdict, cpu_seconds=time.process_time() - began)
    change, figures, adapted = verdict
    heads = learner.heads(adapted)
    number, spent = store.next_number(folder), time.process_time() - began
    version = Version(number, why or change.name, change.name, change.width, len(episodes), round(spent, 2), figures)
    store.save_version(folder, version, adapted, learner.lens, heads)
    store.note(folder, Event("learned", number, version.why))
    return Lesson(True, number, version.why, change.name, figures, spent)


def _episodes(experience: str | os.PathLike[str] | Sequence[Episode]) -> list[Episode]:
    if isinstance(experience, str | os.PathLike):
        log = open_log(experience)
        return [log.episode(index) for index in range(len(log))]
    return list(experience)


@final
class _Learner:
    def __init__(
        self, folder: RunFolder, spec: ExperienceSpec, config: TrainConfig, parts: Parts, episodes: list[Episode], seed: int,
        watcher: Watcher,
    ) -> None:  # fmt: skip
        if parts.monitor is None:
            raise RunError(
                f"{folder.path}: has no monitor of surprise (its held-out episodes were too short); train on longer ones"
            )
        self.folder, self.spec, self.config, self.parts, self.seed, self.watcher = folder, spec, config, parts, seed, watcher
        self.base, device = parts.model.dynamics, next(parts.model.parameters()).device
        self.ruler, self.lens = Ruler.of(parts.monitor, device), lens_for(parts, spec, episodes)
        self.replay = load_replay(folder, config.frameskip, config.encoder.scene_size)
        if self.lens.patches and not self.replay.pictures:
            raise RunError(f"{folder.replay}: holds no pictures of the log; delete calibration.json and resume the training")
        self.old = Moves.of(self.replay.latents, self.base)
        self.seen = encode_episodes(parts, spec, config.frameskip, self.lens, episodes)
        self.new = Moves.of(self.seen, self.base)
        self.before_N = self._known(episodes)

    def _known(self, episodes: list[Episode]) -> NDArray[np.float64]:
        """Errors of the version in use that foretells this experience best, each through its own lens."""
        tried = [
            (self.parts, Lens()),
            *(load_parts_of(self.folder, n, self.parts, self.spec)[1:] for n in store.active(self.folder)),
        ]
        found = []
        for parts, lens in tried:
            seen = encode_episodes(parts, self.spec, self.config.frameskip, lens, episodes)
            found.append(moves_errors(parts.model.dynamics, Moves.of(seen, parts.model.dynamics), self.ruler).double().numpy())
        return min(found, key=cost)

    def judge(self) -> str | tuple[Change, Figures, Adapted]:
        """The change to make, its figures, and itself as fitted on all of the experience; or why not to learn."""
        nothing = too_little(self.new, self.old, self.ruler, self.before_N)
        if nothing:
            return nothing
        tried = list(self._tried())
        if not tried:
            share = float(np.mean(self.before_N > 1))
            return f"no correction explains it: {share:.0%} of moves are surprising, and stay so after whatever was tried"
        best = min(cost(errors) for _, errors in tried)
        change, errors = next((c, e) for c, e in tried if cost(e) <= ABOUT * best)
        adapted = fit(self.base, self.spec.action_space, change, self.new, self.old, self.ruler, self.seed)
        figures = self._figures(adapted, errors)
        against = list(objections(figures, self.before_N, errors, self.new))
        return (change, figures, adapted) if not against else f"{change.name}: {'; '.join(against)}"

    def _tried(self) -> Iterator[tuple[Change, NDArray[np.float64]]]:
        """Changes and their held-out errors, in order of size, until one foretells this world as well as the log's."""
        space, usual = self.spec.action_space, cost(moves_errors(self.base, self.old, self.ruler).double().numpy())
        for known in CHANGES:
            if not self._possible(known):
                continue
            change = replace(known, alone=LOOSER) if self.lens.patches else known
            errors = out_of_fold(self.base, space, change, self.new, self.old, self.ruler, self.seed)
            if errors is not None:
                yield change, errors
                if cost(errors) <= ABOUT * usual:
                    return

    def _possible(self, change: Change) -> bool:
        if not change.updates:
            return bool(self.lens.patches)
        return bool(change.width) or isinstance(self.spec.action_space, BoxSpace)

    def _figures(self, adapted: Adapted, errors: NDArray[np.float64]) -> Figures:
        return Figures(
            len(self.new), len(np.unique(self.new.stretch_N)), cost(self.before_N), cost(errors),
            float(np.mean(self.before_N > 1)), float(np.mean(errors > 1)),
            unexplained(errors, self.new, self.ruler),
            movement(self.new, self.ruler) / movement(self.old, self.ruler),
            effect(adapted, self.old, self.ruler) / effect(self.base, self.old, self.ruler),
            forgotten(self.base, adapted, self.lens, self.old, self.replay.pictures, self.ruler),
        )  # fmt: skip

    def heads(self, adapted: Adapted) -> dict[str, nn.Module]:
        """Critic and habit, made again on what is imagined now."""
        critic, habit = copy.deepcopy(self.parts.critic), copy.deepcopy(self.parts.habit)
        changed = changed_parts(self.parts, adapted, critic.requires_grad_(True), habit.requires_grad_(True))
        with tempfile.TemporaryDirectory() as scratch:
            _make_heads(changed, self._places(), self.config, RunFolder(Path(scratch)), self.watcher)
        heads: dict[str, nn.Module] = {"critic": critic, "habit": habit}
        for module in heads.values():
            module.eval().requires_grad_(False)
        return heads

    def _places(self) -> Latents:
        """Where the world looks otherwise, only what was seen of it now; else, of all places that were ever seen."""
        return self.seen if self.lens.patches else joined(self.replay.latents, self.seen)


def joined(first: Latents, second: Latents) -> Latents:
    """The episodes of both."""
    return Latents(
        torch.cat([first.z_ND, second.z_ND]), torch.cat([first.action_NA, second.action_NA]),
        np.concatenate([first.starts_E, second.starts_E + len(first.z_ND)]),
        np.concatenate([first.lengths_E, second.lengths_E]), first.frameskip, first.scene_size,
    )  # fmt: skip


def _make_heads(parts: Parts, places: Latents, config: TrainConfig, scratch: RunFolder, watcher: Watcher) -> None:
    """Train critic and habit on, where they are, by what the changed dynamics imagines."""
    dynamics = parts.model.dynamics
    graph = graph_for(places, dynamics, parts.habit.space, config, watcher)
    stage = heads_stage(places, graph, dynamics, parts.critic, parts.habit, config)
    run_stage(stage, _shorter(config.heads.schedule), scratch)
    if config.practice is not None:
        run_stage(
            PracticeStage(places, dynamics, parts.habit, config, config.practice), _shorter(config.practice.schedule), scratch
        )


def _shorter(schedule: Schedule) -> Schedule:
    return replace(schedule, updates=max(1, schedule.updates // AGAIN), seconds=None)
