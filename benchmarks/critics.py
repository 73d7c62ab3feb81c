"""Which critic, and which habit? All ways of learning them on one run's frozen latents and dynamics, for the same CPU time.

    python benchmarks/critics.py RUN --log LOG --task two-room-fixed-v1 [--n 300] [--seconds 90] [--only graph,expectile]

Each critic is learned for --seconds of one thread's CPU time, all it imagines beforehand included, together with the habit from
imagined examples; then a habit from the log for a third of that, weighted by the finished critic. Evaluated on the same pairs:
  plan     search on the critic, warm-started by the imagined habit (the agent's default)
  search   search on the critic alone: no habit, no old plan
  habit    the imagined habit, no search
  logged   the habit from the log, no search
Rows are merged into scores/critics.json by task, critic and seed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _result import SCORES, write_result

from forethought.arena.protocol import Result, evaluate, evaluate_rule
from forethought.arena.task import Pair, Task
from forethought.arena.tasks import make_task
from forethought.costs.build import CriticKind, build_critic
from forethought.data import open_log
from forethought.data.dataset import Dataset
from forethought.data.split import Split, split_of
from forethought.habits.policy import Habit
from forethought.training.bundle import Parts, assemble, load_parts
from forethought.training.config import HabitKind, TrainConfig
from forethought.training.heads import imagine_graphs
from forethought.training.latents import Latents, load_latents
from forethought.training.learners.base import Lesson, Material
from forethought.training.learners.build import heads_stage
from forethought.training.learners.habits import LoggedHabit
from forethought.training.learners.places import Places
from forethought.training.progress import Silent
from forethought.training.run import RunFolder
from forethought.training.seeds import generator_for
from forethought.types import ExperienceSpec

MODES = ("plan", "search", "habit", "logged")


def logged_latents(run: str, log: str, config: TrainConfig) -> Latents:
    """The run's latents of the training split, with the log's actions; pictures are passed by."""
    experience = open_log(log)
    ids = experience.ids()
    chosen = [i for i in range(len(ids)) if split_of(ids[i], (0.8, 0.1, 0.1)) is Split.TRAIN]
    space = experience.spec.action_space
    rows = [space.encode(experience.episode(i).actions) for i in chosen]
    lengths = np.array([len(row) for row in rows], np.int64)
    actions = np.concatenate([np.concatenate([row, np.zeros((1, space.size), np.float32)]) for row in rows])
    starts = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]]).astype(np.int64)
    kept = tuple(ids[i] for i in chosen)
    data = Dataset(experience.spec, kept, starts, lengths, {}, actions, np.zeros(len(kept), np.bool_))
    return load_latents(RunFolder(Path(run)).latents, data, config.frameskip, config.encoder.scene_size)


@dataclass(frozen=True)
class Learned:
    """A critic and its habits, inside the run's parts; updates made, and seconds of imagining before them."""

    own: Parts
    logged: Parts
    updates: int
    imagining: float


def learn(
    kind: CriticKind, latents: Latents, spec: ExperienceSpec, parts: Parts, config: TrainConfig, seconds: float, by_log: bool
) -> Learned:
    """A fresh critic and habit of that much CPU time; `by_log`: and a habit from the log, of a third of it."""
    torch.manual_seed(config.seed)
    began = time.process_time()
    config = replace(config, heads=replace(config.heads, critic=kind, habit=HabitKind.IMAGINED))
    critic, habit = fresh(parts, spec, config)
    dynamics = parts.model.dynamics
    graph = imagine_graphs(latents, dynamics, habit.space, config, Silent()) if kind is CriticKind.GRAPH else None
    stage = heads_stage(latents, graph, dynamics, critic, habit, config)
    imagining = time.process_time() - began
    updates = descend(stage.trained(), stage.loss, stage.after_update, config, began, seconds)
    _, logged = fresh(parts, spec, config)
    if by_log:
        material = Material(latents, dynamics, torch.zeros(0), Places(torch.zeros(0, 0), torch.zeros(0, 0, 0), 0.0))
        regress_on_log(logged, LoggedHabit(critic, material, config.heads), config, seconds / 3)
    for module in (critic, habit, logged):
        module.eval().requires_grad_(False)
    own = replace(parts, critic=critic, habit=habit)
    return Learned(own, replace(own, habit=logged), updates, imagining)


def regress_on_log(habit: Habit, source: LoggedHabit, config: TrainConfig, seconds: float) -> None:
    """Teach a habit the logged actions, weighted by a finished critic."""
    nothing = Lesson(torch.zeros(()), {})

    def loss(update: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        shown = source.example(nothing, generator_for(config.seed, "logged", update))
        return habit.loss(shown.z_BD, shown.goal_BD, shown.action_BA, shown.weight_B), {}

    descend(list(habit.parameters()), loss, lambda update: None, config, time.process_time(), seconds)


def fresh(parts: Parts, spec: ExperienceSpec, config: TrainConfig) -> Any:
    """An untrained critic and habit of the run's sizes."""
    latent, scene, heads = parts.encoder.latent_size, config.encoder.scene_size, config.heads
    critic = build_critic(heads.critic, latent, scene, heads.width, heads.depth, heads.limit)
    return critic, Habit(latent, scene, spec.action_space, config.frameskip, heads.width, heads.depth)


def descend(
    parameters: list[torch.nn.Parameter], loss: Any, after: Any, config: TrainConfig, began: float, seconds: float
) -> int:
    """AdamW on the recipe's schedule, by CPU time since `began`."""
    schedule, update = config.heads.schedule, 0
    optimizer = torch.optim.AdamW(parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)
    while (share := (time.process_time() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(update, share)
        optimizer.zero_grad(set_to_none=True)
        loss(update)[0].backward()
        torch.nn.utils.clip_grad_norm_(parameters, schedule.clip)
        optimizer.step()
        after(update)
        update += 1
    return update


def judge(
    spec: ExperienceSpec, config: TrainConfig, learned: Learned, task: Task, pairs: Sequence[Pair], modes: Sequence[str]
) -> dict[str, Result]:
    """The agents of some modes on the same pairs."""
    own, logged = learned.own, learned.logged
    plan = replace(config.agent, mode="plan", cost="critic")
    agents = {
        "plan": (own, plan),
        "search": (own, replace(plan, warm_start=False)),
        "habit": (own, replace(plan, mode="habit")),
        "logged": (logged, replace(plan, mode="habit")),
    }
    found = {}
    for name in modes:
        parts, thinking = agents[name]
        agent = assemble(parts, spec, replace(config, agent=thinking))
        found[name] = evaluate(agent, task, pairs, name)
        print(f"  {name:7s} {found[name].success()}  hard {found[name].success('hard')}", flush=True)
    return found


def record(result: Result) -> dict[str, object]:
    """Shares with intervals, of all pairs and by class, and every outcome as a digit."""
    classes = sorted({name for outcome in result.outcomes for name in outcome.classes})
    return {
        "success": asdict(result.success()),
        "classes": {name: {"n": len(result.of(name)), **asdict(result.success(name))} for name in classes},
        "outcomes": "".join(str(int(outcome.success)) for outcome in result.outcomes),
        "predictor_passes_per_solved": finite(result.per_solved("predictor_passes")),
    }


def finite(value: float) -> float | None:
    return value if value < float("inf") else None


def merge(rows: list[dict[str, Any]], row: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows with this one in its place."""

    def key(entry: dict[str, Any]) -> tuple[Any, ...]:
        return entry["task"], entry["critic"], entry["seed"]

    return sorted([old for old in rows if key(old) != key(row)] + [row], key=key)


def cell(agent: dict[str, Any]) -> str:
    """Success in per cent, and in brackets that of the hard pairs."""
    hard = agent["classes"].get("hard")
    return f"{100 * agent['success']['share']:.1f}" + (f" ({100 * hard['share']:.1f})" if hard else "")


def table(rows: list[dict[str, Any]]) -> str:
    """One line a critic: updates, then the four agents' success (of the hard pairs)."""
    lines = ["| task | critic | seed | updates | plan | search | habit | logged |", "|---" * 8 + "|"]
    for row in rows:
        cells = [cell(row["agents"][name]) if name in row["agents"] else "" for name in MODES]
        lines.append(f"| {row['task']} | {row['critic']} | {row['seed']} | {row['updates']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plain_command(options: argparse.Namespace) -> str:
    """The command, without where its files lie on this machine."""
    shown = f"--task {options.task} --n {options.n} --seconds {options.seconds:g} --seed {options.seed}"
    return f"python benchmarks/critics.py RUN --log LOG {shown} --only {options.only} --modes {options.modes}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--log", required=True, help="the log that the run was trained on")
    parser.add_argument("--task", default="two-room-fixed-v1")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(kind.value for kind in CriticKind))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--out", default="critics.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    spec, config, parts = load_parts(options.run)
    config = replace(config, seed=options.seed)
    latents, task = logged_latents(options.run, options.log, config), make_task(options.task)
    pairs = task.pairs(options.n, 0)
    path = SCORES / options.out
    floors = {name: record(evaluate_rule(rule, task, pairs, name)) for name, rule in task.floors().items()}
    for kind in (CriticKind(name) for name in options.only.split(",")):
        modes = options.modes.split(",")
        learned = learn(kind, latents, spec, parts, config, options.seconds, "logged" in modes)
        print(f"{kind.value}: {learned.updates} updates after {learned.imagining:.0f} s of imagining", flush=True)
        found = judge(spec, config, learned, task, pairs, modes)
        one = next(iter(found.values()))
        row = {
            "task": task.id, "critic": kind.value, "seed": options.seed, "n": len(one.outcomes),
            "solved_at_start": one.solved_at_start, "cpu_seconds": options.seconds, "imagining_seconds": learned.imagining,
            "updates": learned.updates, "command": plain_command(options),
            "agents": {name: record(result) for name, result in found.items()},
        }  # fmt: skip
        old = json.loads(path.read_text()) if path.is_file() else {"rows": [], "floors": {}}
        rows = merge(old["rows"], row)
        write_result(options.out, plain_command(options), {"floors": {**old["floors"], task.id: floors}, "rows": rows})
    print(table(json.loads(path.read_text())["rows"]))


if __name__ == "__main__":
    main()
