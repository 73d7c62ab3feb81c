"""Faults planted in clean logs of real environments: does `data check` find them, and leave clean logs alone?

python -m benchmarks.planted_faults [--seeds 5] [--clean 40]. A fault is found if its own code is reported as a warning or
an error, in the episode where it lies. A false finding is a warning or error on a clean log; its share is of all pairs of
a clean log and a check. While the checks were written, logs of seeds below 1000 were looked at; these begin at FIRST_SEED.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from benchmarks._faults import FAULTS, Fault
from benchmarks._result import command_line, write_result
from forethought.data.checks import CHECKS, Severity, examine
from forethought.data.checks.coverage import cells_of, unseen_mass
from forethought.data.episodes import MemoryExperience
from forethought.types import Episode, ExperienceSpec

FIRST_SEED = 10_000
RATE = 10.0


@final
@dataclass(frozen=True)
class World:
    """An environment: the spec of its log, and episodes of a seed; how they are recorded differs from seed to seed."""

    spec: ExperienceSpec
    episodes: Callable[[int], Iterator[Episode]]


def two_room() -> World:
    """Pictures of 32 pixels: either layout, either policy."""
    from forethought.envs.two_room import log_spec, record

    def episodes(seed: int) -> Iterator[Episode]:
        rng = np.random.default_rng(seed)
        count, steps, policy = int(rng.integers(50, 90)), int(rng.integers(40, 90)), str(rng.choice(["wander", "random"]))
        return record(count, steps, seed, random=bool(rng.random() < 0.5), policy=policy, size=32)

    return World(log_spec(32), episodes)


def point_maze() -> World:
    """States of OGBench's medium maze, with more and less noise."""
    from forethought.envs.ogbench import log_spec, record

    def episodes(seed: int) -> Iterator[Episode]:
        rng = np.random.default_rng(seed)
        count, steps, noise = int(rng.integers(50, 90)), int(rng.integers(60, 120)), float(rng.choice([0.3, 0.5, 1.0]))
        return record("medium", 0, count, steps, seed, noise=noise)

    return World(log_spec(), episodes)


def pendulum() -> World:
    """Gymnasium's pendulum, states and rewards, pushed at random or by habit for some steps at a time."""
    import gymnasium

    from forethought.data.record import Act, record_episode, spec_of

    env = gymnasium.make("Pendulum-v1")

    def policy(hold: float) -> Callable[[Any, np.random.Generator], Act]:
        def begin(env: Any, generator: np.random.Generator) -> Act:
            push = [generator.uniform(-2, 2, 1)]

            def act(observation: Any, info: Any) -> Any:
                if generator.random() > hold:
                    push[0] = generator.uniform(-2, 2, 1)
                return push[0].astype(np.float32)

            return act

        return begin

    def episodes(seed: int) -> Iterator[Episode]:
        rng = np.random.default_rng(seed)
        count, steps, hold = int(rng.integers(50, 90)), int(rng.integers(60, 120)), float(rng.choice([0.0, 0.5, 0.8]))
        return (record_episode(env, policy(hold), seed, index, spec_of(env), steps) for index in range(count))

    return World(spec_of(env), episodes)


WORLDS: dict[str, Callable[[], World]] = {"TwoRoom": two_room, "pointmaze-medium": point_maze, "Pendulum": pendulum}


def clean(world: World, seed: int) -> MemoryExperience:
    """A clean log: an environment's own episodes, with times that jitter by a per cent, as a real clock's do."""
    rng = np.random.default_rng([seed, 1])

    def timed(episode: Episode) -> Episode:
        times = np.arange(episode.num_steps + 1) / RATE + rng.normal(0, 0.01 / RATE, episode.num_steps + 1)
        return replace(episode, metadata={**episode.metadata, "timestamp": times})

    return MemoryExperience(replace(world.spec, steps_per_second=RATE), [timed(e) for e in world.episodes(seed)])


def blamed(log: MemoryExperience) -> Counter[str]:
    """Codes of warnings and errors, and how many places each names."""
    return Counter(finding.code for finding in examine(log).places if finding.severity is not Severity.INFO)


def found(fault: Fault, log: MemoryExperience, seed: int) -> bool:
    """Plant it in a copy of the clean log, and look."""
    copies = [_own(episode) for episode in log]
    planted = fault.plant(copies, log.spec, np.random.default_rng([seed, 2]))
    places = examine(MemoryExperience(log.spec, copies)).places
    return any(
        finding.code == fault.code and finding.severity is not Severity.INFO and (planted is None or finding.episode == planted)
        for finding in places
    )


def _own(episode: Episode) -> Episode:
    return replace(
        episode,
        observations={name: values.copy() for name, values in episode.observations.items()},
        actions=episode.actions.copy(),
        rewards=None if episode.rewards is None else episode.rewards.copy(),
        metadata={name: values.copy() for name, values in episode.metadata.items()},
    )


def measure(name: str, seeds: range, redrawn: range, faults: dict[str, Fault] = FAULTS) -> dict[str, Any]:
    """Faults planted and found, kind by kind, and what clean logs were blamed for."""
    world = WORLDS[name]()
    kinds = {kind: fault for kind, fault in faults.items() if fault.fits(world.spec)}
    planted = {kind: {"planted": len(seeds), "found": 0, "missed_seeds": []} for kind in kinds}
    for seed in seeds:
        log = clean(world, seed)
        for kind, fault in kinds.items():
            if found(fault, log, seed):
                planted[kind]["found"] += 1
            else:
                planted[kind]["missed_seeds"].append(seed)
    wrong = [blamed(clean(world, seed)) for seed in redrawn]
    codes = Counter(code for one in wrong for code in one)
    return {
        "kinds": planted,
        "clean_logs": len(redrawn),
        "clean_logs_blamed": sum(bool(one) for one in wrong),
        "false_findings": sum(len(one) for one in wrong),
        "pairs": len(redrawn) * len(CHECKS),
        "false_codes": dict(codes),
    }


def foretold(counts: tuple[int, ...], seeds: range) -> list[dict[str, float]]:
    """Fixed Two-Room: the share unseen that so many episodes foretell, and what as many others then meet, means over seeds."""
    results = []
    for count in counts:
        pairs = [_foretold_once(count, seed) for seed in seeds]
        (estimate, met), worst = np.mean(pairs, axis=0), max(abs(one - other) for one, other in pairs)
        results.append({"episodes": count, "estimate": float(estimate), "met": float(met), "worst_difference": float(worst)})
    return results


def _foretold_once(count: int, seed: int) -> tuple[float, float]:
    from forethought.envs.two_room import record

    log = list(record(2 * count, 50, seed, random=False, size=8))
    cells, _ = cells_of(np.concatenate([episode.metadata["position"][:-1] for episode in log]).astype(np.float64))
    thirds = np.concatenate([np.digitize(episode.actions, [-1 / 3, 1 / 3]) @ (1, 3) for episode in log])
    species = (cells * 9 + thirds).reshape(2 * count, 50)
    estimate, _ = unseen_mass(species[:count].reshape(-1), np.repeat(np.arange(count), 50))
    return estimate, float(np.mean(~np.isin(species[count:], species[:count])))


def main() -> None:
    """All worlds; prints a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="logs that each kind of fault is planted in")
    parser.add_argument("--clean", type=int, default=40, help="clean logs of each environment")
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS))
    parser.add_argument("--out", default="planted_faults.json")
    options = parser.parse_args()
    results, begin = {}, time.process_time()
    for name in options.worlds:
        seeds = range(options.first, options.first + options.seeds)
        result = results[name] = measure(name, seeds, range(options.first, options.first + options.clean))
        hits, kinds = sum(kind["found"] for kind in result["kinds"].values()), len(result["kinds"])
        print(f"{name}: {hits} of {kinds * options.seeds} faults of {kinds} kinds, {result['clean_logs_blamed']} of "
              f"{result['clean_logs']} clean logs blamed {result['false_codes']}", flush=True)  # fmt: skip
        missed = {kind: f["missed_seeds"] for kind, f in result["kinds"].items() if f["missed_seeds"]}
        print("  missed:", missed or "none", flush=True)
    wrong, pairs = (sum(result[key] for result in results.values()) for key in ("false_findings", "pairs"))
    payload = {
        "definition": "found: the fault's own code, as warning or error, in its episode; false: warnings and errors on clean "
        "logs, a share of (clean log, check) pairs",
        "kinds": len({kind for result in results.values() for kind in result["kinds"]}),
        "planted": sum(kind["planted"] for result in results.values() for kind in result["kinds"].values()),
        "found": sum(kind["found"] for result in results.values() for kind in result["kinds"].values()),
        "false_share": wrong / pairs,
        "unseen_foretold_two_room": foretold((20, 60, 120), range(options.first, options.first + 12)),
        "cpu_seconds": round(time.process_time() - begin, 1),
        "worlds": results,
    }
    write_result(options.out, command_line(), payload)


if __name__ == "__main__":
    main()
