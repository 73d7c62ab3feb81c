"""Does the agent know when it is wrong? Patrols in the unchanged world and under every shift, the same pairs for all agents."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from forethought.agent.agent import ForethoughtAgent
from forethought.arena.evaluate import agent_in_mode
from forethought.arena.patrol import Patrol, patrol
from forethought.arena.shifts import SHIFTS, Shifted, applicable, shift_named
from forethought.arena.task import Task
from forethought.arena.tasks import make_task
from forethought.errors import RunError
from forethought.surprise.monitor import Monitor
from forethought.surprise.scale import Moves
from forethought.training.bundle import Parts, load_agent
from forethought.training.config import TrainConfig
from forethought.types import Array, ExperienceSpec

LEGS, LEG = 5, 20
"""A patrol: so many legs, of so many decisions each. The shift begins in its middle."""
SCOUT, CALIBRATE, CLEAN, STRUCK = 5_000_011, 10_000_019, 20_000_003, 30_000_001
"""Where the seeds of pairs begin: scale, calibration, unchanged world and shifts never share a pair."""
SCOUTS = 4
"""One in so many of the patrols to calibrate on tells how large errors usually are; the others, what evidence usually is."""


@final
@dataclass(frozen=True)
class Struck:
    """One shift's figures over n patrols. `auroc`: by the largest evidence after its beginning, against the unchanged world;
    `found`: alarms after it began; `delay`: median environment steps to the alarm (infinite: most had none); `reason`: the
    commonest one given; `early`: alarms before it began.
    """

    shift: str
    harmful: bool
    abrupt: bool
    n: int
    auroc: float
    found: int
    early: int
    delay: float
    delays: tuple[float, ...]
    reason: str


@final
@dataclass(frozen=True)
class SurpriseFigures:
    """All shifts, and the false alarms of `clean` patrols of `steps` environment steps each in the unchanged world.

    Over harmful shifts, `auroc` and `worst`; over patrols of the abrupt ones, `delay`: median steps to the alarm (one that
    never comes counts as infinite); `soon`: the share in which it takes five steps or fewer.
    """

    task: str
    calibrated: int
    clean: int
    steps: int
    frameskip: int
    false_alarms: int
    shifts: tuple[Struck, ...]

    @property
    def auroc(self) -> float:
        return float(np.mean([s.auroc for s in self.shifts if s.harmful] or [np.nan]))

    @property
    def worst(self) -> float:
        return min((s.auroc for s in self.shifts if s.harmful), default=np.nan)

    def delays(self) -> tuple[float, ...]:
        """Of all patrols under abrupt harmful shifts that had raised no alarm before."""
        return tuple(d for s in self.shifts if s.harmful and s.abrupt for d in s.delays)

    @property
    def delay(self) -> float:
        return float(np.median(self.delays() or (np.nan,)))

    @property
    def soon(self) -> float:
        return float(np.mean(np.array(self.delays() or (np.nan,)) <= 5))

    def per_ten_thousand(self) -> float:
        """False alarms in ten thousand environment steps."""
        return 1e4 * self.false_alarms / max(self.clean * self.steps, 1)


def measure_surprise(
    run: str | os.PathLike[str],
    task: str | Task,
    *,
    shifts: Sequence[str] = tuple(SHIFTS),
    episodes: int = 40,
    calibrate: int = 100,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> SurpriseFigures:
    """Calibrate on `calibrate` patrols of the agent in the unchanged world, then measure.

    The log's own episodes are not enough where the agent acts otherwise than whoever made the log: what is ordinary for one is
    strange for the other. 2 x `episodes` patrols in the unchanged world, `episodes` under each shift that makes sense there.
    Raises RunError for a run without a monitor, and UsageError for an unknown shift or task.
    """
    agent, chosen = load_agent(run), make_task(task) if isinstance(task, str) else task
    if agent.monitor is None:
        raise RunError(f"{run}: has no monitor of surprise (its held-out episodes were too short); train again on longer ones")
    tell = progress or (lambda name, done, total: None)
    for name in shifts:
        shift_named(name)
    walk = Walk(agent, chosen, tell)
    if calibrate:
        settled([walk], agent.monitor, calibrate, seed, ["calibrate"])
    clean = walk.all("", 2 * episodes, seed + CLEAN, "unchanged")
    found = tuple(
        _struck(name, clean, walk.all(name, episodes, seed + STRUCK, name), walk.begins)
        for name in shifts
        if name in applicable(chosen.begin(chosen.pairs(1, seed)[0]), agent.spec)
    )
    alarms = sum(p.alarm() is not None for p in clean)
    return SurpriseFigures(chosen.id, calibrate, len(clean), walk.steps, agent.frameskip, alarms, found)


def at_home(
    parts: Parts,
    spec: ExperienceSpec,
    config: TrainConfig,
    task: Task,
    count: int,
    seed: int,
    tell: Callable[[str, int, int], None],
) -> Monitor:
    """The run's monitor, calibrated on `count` patrols of its agent, half planned, half by habit. Raises RunError."""
    if parts.monitor is None:
        raise RunError("this run has no monitor of surprise (its held-out episodes were too short); train again on longer ones")
    if not count:
        return parts.monitor
    modes = ("plan", "habit")
    walks = [Walk(agent_in_mode(parts, spec, config, mode), task, tell) for mode in modes]
    return settled(walks, parts.monitor, count, seed, [f"at home, {mode}" for mode in modes])


def own_moves(patrols: Sequence[Patrol]) -> Moves:
    """All moves of these patrols."""
    moves = [p.moves for p in patrols]
    return Moves(np.concatenate([m.foretold_NX for m in moves]), np.concatenate([m.sizes_N for m in moves]))


def settled(walks: Sequence[Walk], monitor: Monitor, count: int, seed: int, labels: Sequence[str]) -> Monitor:
    """The agents' monitor, now calibrated on patrols of theirs: first the usual error, then, on others, the usual evidence."""

    def walked(count: int, seed: int) -> list[Patrol]:
        share = [(count + part) // len(walks) for part in range(len(walks))]
        parts = enumerate(zip(walks, share, labels, strict=True))
        each = [walk.all("", n, seed + i, label) for i, (walk, n, label) in parts if n]
        return [patrol for patrols in each for patrol in patrols]

    scouts = max(1, count // SCOUTS)
    scaled = monitor.at_home(own_moves(walked(scouts, seed + SCOUT)))
    for walk in walks:
        walk.agent.monitor = scaled
    home = scaled.seen([p.rows_TK for p in walked(max(count - scouts, 1), seed + CALIBRATE)])
    for walk in walks:
        walk.agent.monitor = home
    return home


@final
class Walk:
    """An agent's patrols of one task."""

    def __init__(self, agent: ForethoughtAgent, task: Task, tell: Callable[[str, int, int], None]) -> None:
        self.agent, self.task, self.tell = agent, task, tell
        self.leg = LEG * agent.frameskip
        self.steps, self.begins = LEGS * self.leg, LEGS * self.leg // 2
        assert agent.monitor is not None
        self.units: Mapping[str, Array] = {s.sensor.name: s.scale_F for s in agent.monitor.signals.senses}

    def all(self, shift: str, count: int, seed: int, label: str) -> list[Patrol]:
        """`count` patrols under a shift ("": none)."""
        walked = []
        for pair in self.task.pairs(count, seed):
            rng = np.random.default_rng([pair.key, 15])
            struck = SHIFTS[shift](rng, self.agent.spec, self.units) if shift else None
            episode = Shifted(self.task.begin(pair), struck, self.begins)
            walked.append(patrol(self.agent, episode, pair.key, steps=self.steps, leg=self.leg))
            self.tell(label, len(walked), count)
        return walked


def _struck(name: str, clean: Sequence[Patrol], struck: Sequence[Patrol], begins: int) -> Struck:
    alarms = [p.alarm() for p in struck]
    delays = [a - begins if a is not None and a >= begins else np.inf for a in alarms if a is None or a >= begins]
    reasons = Counter(s.reason for p in struck for s in p.surprises if s.reason and s.height >= 1)
    return Struck(
        name, SHIFTS[name].harmful, SHIFTS[name].abrupt, len(struck),
        auroc([p.peak(begins) for p in clean], [p.peak(begins) for p in struck]),
        sum(d < np.inf for d in delays), sum(a is not None and a < begins for a in alarms),
        float(np.median(delays)) if delays else np.inf, tuple(float(d) for d in delays),
        reasons.most_common(1)[0][0] if reasons else "",
    )  # fmt: skip


def auroc(usual: Sequence[float], strange: Sequence[float]) -> float:
    """The chance that a strange case scores above a usual one, ties half (Mann and Whitney 1947).

    >>> auroc([0, 1], [1, 2])
    0.875
    """
    below, above = np.asarray(usual)[None], np.asarray(strange)[:, None]
    return float(np.mean((above > below) + 0.5 * (above == below)))
