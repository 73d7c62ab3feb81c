"""Cost, or success, against compute, for every planner method.

    python -m benchmarks.planner_curves                      problems with a known optimum: seconds
    python -m benchmarks.planner_curves RUN --task NAME      success of a finished run's agent: minutes

Writes scores/planner_curves.json (or scores/planner_success.json) and prints the tables of docs/choosing-a-planner.md.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forethought.costs.cost import Cost
from forethought.data.durable import atomic_write_bytes
from forethought.planning.loop import SearchConfig, search
from forethought.planning.methods import CONTINUOUS, DISCRETE, make_method
from forethought.types import Belief, BoxSpace, DiscreteSpace, Rollout, Space, Target
from forethought.world_model import WorldModel

SCORES = Path(__file__).resolve().parent.parent / "scores"
BUDGETS = ((32, 1), (32, 2), (64, 3), (64, 8), (64, 32))
"""(samples, iterations)."""


@dataclass(frozen=True)
class Problem:
    """A world, a cost with a known optimum, where to begin, and the space."""

    name: str
    model: WorldModel
    cost: Cost
    begin: Callable[[torch.Generator], Belief]
    optimum: Callable[[Belief], float]
    space: Space
    horizon: int
    target: Target


@dataclass(frozen=True)
class Point:
    """Excess cost over the optimum, as a share of doing nothing's excess: median and 90th percentile over starts."""

    problem: str
    method: str
    samples: int
    iterations: int
    predictor_passes: float
    excess_median: float
    excess_p90: float
    cpu_ms: float


class DoubleIntegrator:
    """Position and speed in the plane under a push of each axis, a quarter of a second a step."""

    def observe(self, observation, previous_action_BA=None, belief=None):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def imagine(self, belief: Belief, actions_BSHA: Tensor) -> Rollout:
        place, speed = belief.z_BD[:, None, None, :2], belief.z_BD[:, None, None, 2:]
        speeds = speed + 0.5 * actions_BSHA.cumsum(2)
        places = place + 0.5 * (speeds - 0.25 * actions_BSHA).cumsum(2)
        return Rollout(belief, torch.cat([places, speeds], -1))


class Grid:
    """9 x 9, a wall across the middle with a gap at one end; a move into it, or off the grid, does nothing."""

    free = torch.ones(9, 9, dtype=torch.bool)
    free[4, :7] = False
    moves = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]])

    observe = DoubleIntegrator.observe

    def imagine(self, belief: Belief, actions_BSHA: Tensor) -> Rollout:
        place, latents = belief.z_BD.long()[:, None].expand(-1, actions_BSHA.shape[1], -1), []
        for action in actions_BSHA.argmax(-1).unbind(2):
            there = (place + self.moves[action]).clamp(0, 8)
            place = torch.where(self.free[there[..., 0], there[..., 1]][..., None], there, place)
            latents.append(place.float())
        return Rollout(belief, torch.stack(latents, 2))


def regulate(rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
    """LQR's cost: squared state on the way and a tenth of the squared pushes."""
    return rollout.z_BSHD.square().sum((2, 3)) + 0.1 * actions_BSHA.square().sum((2, 3))


def banana(rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
    """Rosenbrock's valley in the last place; its optimum, 0 at (1, 1), is in reach."""
    x, y = rollout.z_BSHD[:, :, -1, :2].unbind(-1)
    return (1 - x) ** 2 + 10 * (y - x**2) ** 2


def walk(rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
    """Steps from the goal, straight through walls, at the end and a tenth of it on the way: a cost with a dead end."""
    assert target.z_BD is not None
    away = (rollout.z_BSHD - target.z_BD[:, None, None]).abs().sum(-1)
    return away[..., -1] + 0.1 * away.mean(-1)


def lqr_optimum(belief: Belief) -> float:
    """Least cost by the normal equations; starts are so near that the bounds do not bind."""
    horizon, model = 6, DoubleIntegrator()
    inputs = torch.eye(2 * horizon).reshape(1, -1, horizon, 2)
    free = model.imagine(belief, torch.zeros(1, 1, horizon, 2)).z_BSHD.flatten()
    still = replace(belief, z_BD=torch.zeros_like(belief.z_BD))
    effect = model.imagine(still, inputs).z_BSHD[0].flatten(1).T
    best = torch.linalg.solve(effect.T @ effect + 0.1 * torch.eye(2 * horizon), -effect.T @ free)
    if float(best.abs().max()) > 1:
        raise ValueError("a start is so far that the bounds bind: the closed form is not the optimum")
    return float((free + effect @ best).square().sum() + 0.1 * best.square().sum())


def grid_optimum(belief: Belief) -> float:
    """Brute force over all 4^8 sequences."""
    digits = torch.arange(4**8)[:, None] // 4 ** torch.arange(8) % 4
    actions = torch.nn.functional.one_hot(digits, 4).float()[None]
    return float(walk(Grid().imagine(belief, actions), actions, GRID_GOAL).min())


GRID_GOAL = Target(torch.tensor([[6.0, 5.0]]))
BOX = BoxSpace((-1.0, -1.0), (1.0, 1.0))


def near(generator: torch.Generator) -> Belief:
    """A random state near rest at the origin."""
    return Belief((torch.rand(1, 4, generator=generator) - 0.5) * 0.6, torch.zeros(1, 0))


def origin(generator: torch.Generator) -> Belief:
    """At rest, at the origin."""
    return Belief(torch.zeros(1, 4), torch.zeros(1, 0))


def below(generator: torch.Generator) -> Belief:
    """On the grid's near side of the wall."""
    row, column = torch.randint(2, 4, (1,), generator=generator), torch.randint(3, 7, (1,), generator=generator)
    return Belief(torch.stack([row, column], 1).float(), torch.zeros(1, 0))


PROBLEMS = (
    Problem("lqr", DoubleIntegrator(), regulate, near, lqr_optimum, BOX, 6, Target(None)),
    Problem("banana", DoubleIntegrator(), banana, origin, lambda belief: 0.0, BOX, 6, Target(None)),
    Problem("walled grid", Grid(), walk, below, grid_optimum, DiscreteSpace(4), 8, GRID_GOAL),
)


def measure(problem: Problem, method: str, samples: int, iterations: int, starts: int) -> Point:
    """One budget of one method on one problem, from `starts` random starts with their own streams."""
    config = SearchConfig(num_samples=samples, iterations=iterations, horizon=problem.horizon, patience=iterations + 1)
    excess, passes, milliseconds = [], [], []
    for seed in range(starts):
        generator = torch.Generator().manual_seed(seed)
        belief = problem.begin(generator)
        best = optima(problem, seed, belief)
        idle_BSHA = torch.zeros(1, 1, problem.horizon, problem.space.size)
        idle = float(problem.cost(problem.model.imagine(belief, idle_BSHA), idle_BSHA, problem.target)) - best
        began = time.process_time()
        plan = search(
            problem.model, problem.cost, problem.target, belief, make_method(method, problem.space), config=config,
            space=problem.space, action_size=problem.space.size, generator=generator,
        )  # fmt: skip
        milliseconds.append(1e3 * (time.process_time() - began))
        excess.append(max(0.0, plan.cost - best) / max(idle, 1e-9))
        passes.append(plan.trace.predictor_passes)
    ordered = sorted(excess)
    return Point(
        problem.name, method, samples, iterations, statistics.mean(passes), statistics.median(ordered),
        ordered[math.ceil(0.9 * len(ordered)) - 1], statistics.median(milliseconds),
    )  # fmt: skip


_OPTIMA: dict[tuple[str, int], float] = {}


def optima(problem: Problem, seed: int, belief: Belief) -> float:
    """The problem's optimum from this seed's start, worked out once."""
    if (problem.name, seed) not in _OPTIMA:
        _OPTIMA[problem.name, seed] = problem.optimum(belief)
    return _OPTIMA[problem.name, seed]


def table(points: list[Point]) -> str:
    """Median excess in per cent (90th percentile in brackets): a row a method, a column a budget."""
    lines = []
    for problem in dict.fromkeys(point.problem for point in points):
        head = [f"{s} x {i}" for s, i in BUDGETS]
        lines += [f"**{problem}**", "", "| method | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
        for method in dict.fromkeys(p.method for p in points if p.problem == problem):
            row = [p for p in points if (p.problem, p.method) == (problem, method)]
            cells = [f"{100 * p.excess_median:.1f} ({100 * p.excess_p90:.1f})" for p in row]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def analytic(starts: int) -> None:
    """All methods on all problems."""
    points = [
        measure(problem, method, samples, iterations, starts)
        for problem in PROBLEMS
        for method in (
            n for n in (DISCRETE if isinstance(problem.space, DiscreteSpace) else CONTINUOUS) if n != "categorical-cem"
        )
        for samples, iterations in BUDGETS
    ]
    save("planner_curves.json", {"starts": starts, "points": [asdict(point) for point in points]})
    print(table(points))


def success(run: str, task_name: str, count: int, methods: list[str] | None) -> None:
    """The run's agent with each method and budget, no habit to start from, on the same pairs; rows are merged by task."""
    from forethought.arena.protocol import evaluate
    from forethought.arena.tasks import make_task
    from forethought.training.bundle import assemble, load_parts

    spec, config, parts = load_parts(run)
    task = make_task(task_name)
    pairs = task.pairs(count, 0)
    known = [n for n in (DISCRETE if isinstance(spec.action_space, DiscreteSpace) else CONTINUOUS) if n != "categorical-cem"]
    for method in methods or known:
        for samples, iterations in EFFORTS:
            effort = replace(config.agent.search, num_samples=samples, iterations=iterations, patience=iterations + 1)
            thinking = replace(config.agent, mode="plan", method=method, search=effort, warm_start=False)
            result = evaluate(assemble(parts, spec, replace(config, agent=thinking)), task, pairs, method)
            decisions = sum(outcome.planner_calls for outcome in result.outcomes)
            keep_row({
                "task": task.id, "method": method, "samples": samples, "iterations": iterations, "n": len(result.outcomes),
                "solved_at_start": result.solved_at_start, "success": asdict(result.success()),
                "hard": asdict(result.success("hard")), "train_seed": config.seed, "pair_seed": 0,
                "predictor_passes_per_plan": sum(o.predictor_passes for o in result.outcomes) / decisions,
                "cpu_ms_per_plan": 1e3 * sum(o.cpu_seconds for o in result.outcomes) / decisions,
                "outcomes": "".join(str(int(o.success)) for o in result.outcomes),
            })  # fmt: skip
    print(success_table(stored_rows(), task.id))


EFFORTS = ((8, 1), (32, 1), (32, 2), (64, 3))
"""Budgets of the success table, (samples, iterations): 8 x 1 hardly searches, 32 x 2 is the agent's default."""


def stored_rows() -> list[dict[str, Any]]:
    """What scores/planner_success.json holds so far."""
    path = SCORES / "planner_success.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.is_file() else []
    return rows


def keep_row(row: dict[str, Any]) -> None:
    """Put a row into scores/planner_success.json, in the place of one of the same task, method and budget."""
    key = ("task", "method", "samples", "iterations")
    rows = [old for old in stored_rows() if [old[k] for k in key] != [row[k] for k in key]] + [row]
    save("planner_success.json", {"command": " ".join(["python -m benchmarks.planner_curves", *sys.argv[1:]]), "rows": rows})


def success_table(rows: list[dict[str, Any]], task: str) -> str:
    """A row a method, a column a budget: success in per cent, and in brackets that of the hard pairs."""
    lines = ["| method | " + " | ".join(f"{s} x {i}" for s, i in EFFORTS) + " |", "|---" * (len(EFFORTS) + 1) + "|"]
    for method in dict.fromkeys(row["method"] for row in rows if row["task"] == task):
        row = {(r["samples"], r["iterations"]): r for r in rows if (r["task"], r["method"]) == (task, method)}
        lines.append(f"| {method} | " + " | ".join(success_cell(row[b]) if b in row else "" for b in EFFORTS) + " |")
    return "\n".join(lines)


def success_cell(row: dict[str, Any]) -> str:
    return f"{100 * row['success']['share']:.1f} ({100 * row['hard']['share']:.1f})"


def save(name: str, body: dict[str, object]) -> None:
    """Raw results, with the machine and versions they come from."""
    machine = {"cpu": platform.processor() or platform.machine(), "threads": 1, "python": platform.python_version()}
    SCORES.mkdir(exist_ok=True)
    text = json.dumps({"machine": {**machine, "torch": torch.__version__}} | body, indent=1) + "\n"
    atomic_write_bytes(SCORES / name, text.encode())


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="a finished run's folder")
    parser.add_argument("--task", default="two-room-fixed-v1")
    parser.add_argument("--count", type=int, default=300, help="pairs of start and goal (with RUN)")
    parser.add_argument("--methods", help="comma-separated (with RUN); all unless given")
    parser.add_argument("--starts", type=int, default=32, help="random starts a problem (without RUN)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.run is None:
        analytic(options.starts)
    else:
        success(options.run, options.task, options.count, options.methods.split(",") if options.methods else None)


if __name__ == "__main__":
    main()
