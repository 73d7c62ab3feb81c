"""What does learning from failed predictions bring, what does it forget, and can it be poisoned? On runs of benchmarks.success.

    python -m benchmarks.learning two-room-fixed-v1 --shifts gain reversed moved-door --seeds 0 1 2

Per seed and shift, on the same fresh pairs in the changed world: no learning (the ladder, which stops; and always planning),
one gradient step a block on all of the dynamics (always on, as AdaJEPA does), fine-tuning all of the dynamics on the same
experience, and ours; then the old world again. Then poisoned experience: how much of it is kept?
Writes scores/learning/TASK.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._result import SCORES, write_result
from benchmarks.success import SETTINGS
from forethought.agent.agent import ForethoughtAgent
from forethought.agent.ladder import Trust
from forethought.agent.protocol import Agent
from forethought.arena.changed import ChangedTask, explore
from forethought.arena.evaluate import agent_in_mode
from forethought.arena.poison import POISONS, poisoned
from forethought.arena.protocol import command_line, evaluate
from forethought.arena.statistics import wilson
from forethought.arena.task import Pair, Task, unsolved_pairs
from forethought.arena.tasks import make_task
from forethought.arena.two_room import TwoRoomEpisode
from forethought.envs.two_room import inside_wall
from forethought.perception.lens import Lens
from forethought.surprise.ruler import Ruler
from forethought.training.adapt.learn import learn
from forethought.training.adapt.minds import load_agent
from forethought.training.adapt.moves import Moves, encode_episodes
from forethought.training.bundle import Parts, load_parts
from forethought.training.config import TrainConfig
from forethought.training.run import RunFolder
from forethought.training.train import train
from forethought.types import Decision, Episode, ExperienceSpec, Observation, State
from forethought.world_model import LatentWorldModel

EXPLORED = 60_000_011
"""Where the seeds of explored pairs begin."""
RATE = 1e-4
"""Of a step of the always-on learner. One value, not tuned."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure every seed, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=sorted(SETTINGS))
    parser.add_argument("--shifts", nargs="*", default=["gain", "reversed"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pairs", type=int, default=100, help="to evaluate on, a seed")
    parser.add_argument("--episodes", type=int, default=60, help="explored in the changed world")
    parser.add_argument("--steps", type=int, default=64, help="of each")
    parser.add_argument("--poisons", type=int, default=67, help="poisoned experiences, a seed")
    parser.add_argument("--work", type=Path, default=Path("runs/success"))
    parser.add_argument("--out", type=Path, default=SCORES / "learning")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    by_seed = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as scratch:
            by_seed.append(measure(options, seed, Path(scratch)))
    summary = {"seeds": options.seeds, **summed(by_seed, options.shifts), "by_seed": by_seed}
    path = write_result(options.out / f"{options.task}.json", command_line(), summary)
    print(json.dumps({k: v for k, v in summary.items() if k != "by_seed"}, indent=1), "\nwritten:", path)


def measure(options: argparse.Namespace, seed: int, scratch: Path) -> dict[str, Any]:
    """One seed: a copy of its run for each shift, and one for the poisons."""
    folder = options.work / options.task / f"seed-{seed}"
    run = RunFolder(folder / "run")
    if not run.replay.is_file():  # made before runs kept one: calibrate again, on the same weights
        run.calibration.unlink()
        train(folder / "log.h5", run.path, SETTINGS[options.task].recipe(seed))
    found: dict[str, Any] = {"seed": seed}
    for shift in options.shifts:
        copied = Path(shutil.copytree(run.path, scratch / shift, ignore=shutil.ignore_patterns("work", "versions")))
        found[shift] = one_shift(options, copied, shift, seed)
        print(f"seed {seed}", shift, json.dumps(found[shift]), flush=True)
    copied = Path(shutil.copytree(run.path, scratch / "poison", ignore=shutil.ignore_patterns("work", "versions")))
    found["poison"] = poison(options, copied, seed)
    print(f"seed {seed} poison", found["poison"], flush=True)
    return found


def one_shift(options: argparse.Namespace, run: Path, shift: str, seed: int) -> dict[str, Any]:
    """Success of every learner in the changed world and back in the old one, on the same pairs."""
    spec, config, parts = load_parts(run)
    task = make_task(options.task)
    changed = ChangedTask(task, shift, spec, units(parts), seed)
    explored = list(explore(changed, possible(changed, task.pairs(2 * options.episodes, seed + EXPLORED))[: options.episodes],
                            spec, options.steps))  # fmt: skip
    pairs = possible(changed, unsolved_pairs(task, options.pairs + 40, 100 + seed))[: options.pairs]
    planner = replace(config.agent, mode="plan")
    began = time.process_time()
    lesson = learn(run, explored, why=shift)
    spent = time.process_time() - began
    whole = replace(parts, trust=parts.trust or Trust(1.0, -1.0))
    ladder = replace(config.agent, mode="ladder")
    agents: dict[str, Agent] = {
        "stops": agent_in_mode(whole, spec, config, "ladder"), "none": agent_in_mode(parts, spec, config, "plan"),
        "always on": Online(parts, spec, config), "fine-tuned": fine_tuned(parts, spec, config, explored),
        "ours": load_agent(run, planner),
    }  # fmt: skip
    if parts.trust is not None:
        agents["ours, ladder"] = load_agent(run, ladder)
    return {
        "lesson": asdict(lesson), "cpu_seconds": round(spent, 1), "explored_steps": sum(e.num_steps for e in explored),
        "n": len(pairs), "changed": {name: tried(agent, changed, pairs) for name, agent in agents.items()},
        "old": {name: tried(agent, task, pairs) for name, agent in agents.items() if name != "stops"},
    }  # fmt: skip


def tried(agent: Agent, task: Task, pairs: Sequence[Pair]) -> dict[str, float]:
    """Pairs solved, and what one cost."""
    result = evaluate(agent, task, pairs, "")
    solved = sum(o.success for o in result.outcomes)
    passes, calls = (float(sum(getattr(o, what) for o in result.outcomes)) for what in ("predictor_passes", "planner_calls"))
    steps = float(sum(o.steps for o in result.outcomes))
    return {"solved": solved, "passes_per_solved": passes / max(solved, 1), "searches_per_step": calls / max(steps, 1)}


def possible(task: ChangedTask, pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Those unsolved at the start, and whose start and goal are not inside a wall of the changed world."""
    kept = []
    for pair in pairs:
        episode: Any = task.begin(pair)
        inner = episode.episode
        walled = isinstance(inner, TwoRoomEpisode) and (
            inside_wall(inner.layout, inner.position)[0] or inside_wall(inner.layout, inner.target)[0]
        )
        if not walled and not pair.solved_at_start:
            kept.append(pair)
    return tuple(kept)


def units(parts: Parts) -> dict[str, Any]:
    """Each sensor's deviations in the log."""
    assert parts.monitor is not None
    return {s.sensor.name: s.scale_F for s in parts.monitor.signals.senses}


class Online:
    """Always planning, and a gradient step on all of the dynamics after every block: never asked whether it helps."""

    def __init__(self, parts: Parts, spec: ExperienceSpec, config: TrainConfig) -> None:
        dynamics = copy.deepcopy(parts.model.dynamics).requires_grad_(True)
        assert parts.monitor is not None
        self.dynamics, self.ruler = dynamics, Ruler.of(parts.monitor, next(dynamics.parameters()).device)
        self.optimizer = torch.optim.Adam(dynamics.parameters(), lr=RATE)
        model = LatentWorldModel(parts.encoder, dynamics).eval()
        self.agent: ForethoughtAgent = agent_in_mode(replace(parts, model=model, monitor=None), spec, config, "plan")
        self.init = self.agent.init

    def act(self, observation: Observation, state: State) -> tuple[Decision, State]:
        decision, after = self.agent.act(observation, state)
        if state.belief is not None and after.belief is not None and not state.pending:
            was, now = state.belief, after.belief
            block = torch.as_tensor(state.taken[0][None])
            loss = self.ruler.errors(self.dynamics, was.z_BD.clone(), was.memory_BM.clone(), block, now.z_BD.clone()).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return decision, after


def fine_tuned(parts: Parts, spec: ExperienceSpec, config: TrainConfig, explored: Sequence[Episode]) -> ForethoughtAgent:
    """All weights of the dynamics on the new experience alone, 3,000 updates, critic and habit as they were, kept unasked."""
    assert parts.monitor is not None
    dynamics = copy.deepcopy(parts.model.dynamics).requires_grad_(True)
    seen = encode_episodes(parts, spec, config.frameskip, Lens(), explored)
    moves, ruler = Moves.of(seen, parts.model.dynamics), Ruler.of(parts.monitor, next(dynamics.parameters()).device)
    optimizer, generator = torch.optim.Adam(dynamics.parameters(), lr=1e-3), torch.Generator().manual_seed(0)
    for _ in range(3000):
        rows = torch.randint(len(moves), (256,), generator=generator)
        loss = ruler.errors(
            dynamics, moves.before_ND[rows], moves.memory_NM[rows], moves.block_NA[rows], moves.after_ND[rows]
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model = LatentWorldModel(parts.encoder, dynamics.requires_grad_(False)).eval()
    return agent_in_mode(replace(parts, model=model, monitor=None), spec, config, "plan")


def poison(options: argparse.Namespace, run: Path, seed: int) -> dict[str, Any]:
    """Poisoned experiences offered and kept, by kind; half of the unchanged world, half of one with half the gain."""
    spec, _, parts = load_parts(run)
    task = make_task(options.task)
    kept: dict[str, int] = dict.fromkeys(POISONS, 0)
    for index in range(options.poisons):
        rng = np.random.default_rng([seed, index, 29])
        name = list(POISONS)[index % len(POISONS)]
        where: Task = ChangedTask(task, "gain", spec, units(parts), seed) if index % 2 else task
        pairs = task.pairs(12, seed + EXPLORED + 1 + index)
        episodes = [poisoned(e, name, rng) for e in explore(where, pairs, spec, options.steps)]
        lesson = learn(run, episodes, why=name)
        kept[name] += lesson.kept
        if lesson.kept:
            print("KEPT", name, lesson, flush=True)
    return {"offered": options.poisons, "kept": sum(kept.values()), "by_kind": kept}


def summed(by_seed: list[dict[str, Any]], shifts: Sequence[str]) -> dict[str, Any]:
    """Over all seeds: success with intervals, in the changed and in the old world; and poisons kept."""
    found: dict[str, Any] = {"poisons_offered": sum(s["poison"]["offered"] for s in by_seed)}
    found["poisons_kept"] = sum(s["poison"]["kept"] for s in by_seed)
    for shift in shifts:
        n = sum(s[shift]["n"] for s in by_seed)
        found[shift] = {"n": n, "kept": sum(s[shift]["lesson"]["kept"] for s in by_seed)}
        for world in ("changed", "old"):
            names = by_seed[0][shift][world]
            found[shift][world] = {
                name: asdict(wilson(sum(int(s[shift][world][name]["solved"]) for s in by_seed), n)) for name in names
            }
    return found


if __name__ == "__main__":
    main()
