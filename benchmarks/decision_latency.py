"""How long is one decision? One thread, with the habit's warm start, without it, and the habit alone.

    python benchmarks/decision_latency.py RUN [--task two-room-fixed-v1] [--pairs 20] [--decisions 25]

Both the clock's time and the processor's are taken: the first is what a user waits for, and means something on a quiet machine
only; the second leaves out the time in which other programs ran. The agents take turns, pair by pair.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch
from _result import write_result

from forethought.agent.agent import AgentConfig, ForethoughtAgent
from forethought.arena.statistics import percentile
from forethought.arena.task import Pair, Task
from forethought.arena.tasks import make_task
from forethought.training.bundle import assemble, load_parts

WAYS = ("plan", "plan, no warm start", "habit")


def thinking(config: AgentConfig, way: str) -> AgentConfig:
    """The run's configuration of its agent, changed to one of WAYS."""
    return replace(config, mode="habit" if way == "habit" else "plan", warm_start=way == "plan")


def decide(agent: ForethoughtAgent, task: Task, pair: Pair, most: int) -> list[tuple[float, float]]:
    """(clock, processor) milliseconds of each of the first decisions of an episode that are not continuations of a block."""
    episode = task.begin(pair)
    moment, state, taken = episode.start, agent.init(episode.goal, pair.key), []
    while len(taken) < most and not moment.reached:
        fresh = not state.pending
        clock, processor = time.perf_counter(), time.thread_time()
        decision, state = agent.act(moment.observation, state)
        if fresh:
            taken.append((1e3 * (time.perf_counter() - clock), 1e3 * (time.thread_time() - processor)))
        moment = episode.step(decision.action)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--task", default="two-room-fixed-v1")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--decisions", type=int, default=25)
    parser.add_argument("--out", default="decision_latency.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    spec, config, parts = load_parts(options.run)
    task = make_task(options.task)
    agents = {way: assemble(parts, spec, replace(config, agent=thinking(config.agent, way))) for way in WAYS}
    pairs = [pair for pair in task.pairs(options.pairs + 5, 0) if not pair.solved_at_start]
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for index, pair in enumerate(pairs[: options.pairs]):
        for way, agent in agents.items():
            found = decide(agent, task, pair, options.decisions)
            taken[way] += found if index else []  # the first pair warms up
    rows = {way: figures(taken[way]) for way in WAYS}
    for way, row in rows.items():
        print(f"{way}: {row}")
    asked = f"--task {options.task} --pairs {options.pairs} --decisions {options.decisions}"
    search = config.agent.search
    budget = {"samples": search.num_samples, "iterations": search.iterations, "horizon": search.horizon}
    write_result(
        options.out,
        f"python benchmarks/decision_latency.py RUN {asked}",
        {"task": task.id, "threads": 1, "search": budget, "rows": rows},
    )


def figures(taken: list[tuple[float, float]]) -> dict[str, float]:
    """Percentiles over all decisions."""
    clock, processor = [c for c, _ in taken], [p for _, p in taken]
    return {
        "decisions": len(taken), "clock_p50": percentile(clock, 0.5), "clock_p99": percentile(clock, 0.99),
        "processor_p50": percentile(processor, 0.5), "processor_p99": percentile(processor, 0.99),
    }  # fmt: skip


if __name__ == "__main__":
    main()
