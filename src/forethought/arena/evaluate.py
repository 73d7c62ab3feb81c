"""Evaluate a finished run: floors, the agent, its ablations, on the same pairs; figures to JSON, a report to read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from forethought.agent.agent import ForethoughtAgent
from forethought.arena.protocol import Result, evaluate_rule, save_results
from forethought.arena.protocol import evaluate as evaluate_agent
from forethought.arena.statistics import mcnemar
from forethought.arena.task import Pair, Task, unsolved_pairs
from forethought.arena.tasks import make_task
from forethought.costs.guardrail import Guardrail
from forethought.errors import unknown_name
from forethought.training.bundle import Parts, assemble, load_parts
from forethought.training.config import TrainConfig
from forethought.training.run import RunFolder
from forethought.types import ExperienceSpec

MODES = ("plan", "habit", "latent")
LADDER = "ladder"


def agent_in_mode(parts: Parts, spec: ExperienceSpec, config: TrainConfig, mode: str) -> ForethoughtAgent:
    """The run's agent as one of MODES; "latent" searches as published planners do. Raises UsageError for another name."""
    if mode not in (*MODES, LADDER):
        raise unknown_name("mode", mode, (*MODES, LADDER))
    thinking = replace(
        config.agent,
        mode=mode if mode in ("habit", LADDER) else "plan",
        cost="latent" if mode == "latent" else config.agent.cost,
        path_weight=0.0 if mode == "latent" else config.agent.path_weight,
        passing=config.agent.passing and mode != "latent",
        warm_start=config.agent.warm_start and mode != "latent",
    )
    return assemble(parts, spec, replace(config, agent=thinking))


@final
@dataclass(frozen=True)
class Evaluation:
    """Results by agent, the agent's first; `p_against_floor`: exact McNemar against the highest floor; and the pairs."""

    results: tuple[Result, ...]
    floor: str
    p_against_floor: float
    pairs: tuple[Pair, ...] = ()

    @property
    def agent(self) -> Result:
        return self.results[0]


def evaluate(
    run: str | os.PathLike[str],
    task: str | Task,
    *,
    count: int = 300,
    seed: int = 0,
    modes: tuple[str, ...] = MODES,
    guardrails: Sequence[Guardrail] = (),
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a run on a task: n unsolved pairs, every floor, the agent in several modes; writes `evaluation.json` in the run.

    Modes: "plan" (habit-warmed search on the critic), "habit" (no search), "latent" (search on raw latent distance, as
    published planners do); all of them keep `guardrails` beside the run's own. Raises RunError and UsageError.
    """
    spec, config, parts = load_parts(run)
    config = replace(config, agent=replace(config.agent, guardrails=(*config.agent.guardrails, *guardrails)))
    chosen = make_task(task) if isinstance(task, str) else task
    pairs = unsolved_pairs(chosen, count, seed)
    results = []
    for mode in modes:
        agent = agent_in_mode(parts, spec, config, mode)

        def tell(done: int, mode: str = mode) -> None:
            if progress is not None:
                progress(mode, done, len(pairs))

        results.append(evaluate_agent(agent, chosen, pairs, mode, tell))
    floors = [evaluate_rule(rule, chosen, pairs, name) for name, rule in chosen.floors().items()]
    best = max((f for f in floors if f.agent != "oracle"), key=lambda f: f.success().share)
    p = mcnemar([o.success for o in results[0].outcomes], [o.success for o in best.outcomes])
    target = Path(out) if out is not None else Path(run).expanduser() / "evaluation.json"
    costs = {name: cost.record() for name, cost in RunFolder(Path(run).expanduser()).stage_costs().items()}
    save_results(target, [*results, *floors], [config.seed, seed], {"seed": config.seed, "stages": costs})
    return Evaluation((*results, *floors), best.agent, p, tuple(pairs))
