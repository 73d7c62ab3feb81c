"""What is in a log, and what is wrong with it: each finding names the episode and row, and says what to do.

A new check is one file with one class (see `seam.py`), and one line in CHECKS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from forethought.data.checks.actions import Actions
from forethought.data.checks.bounds import Bounds
from forethought.data.checks.clock import Clock, Rate
from forethought.data.checks.coverage import Coverage, Explored
from forethought.data.checks.crossed import Crossed
from forethought.data.checks.delay import Delay
from forethought.data.checks.effect import Effect
from forethought.data.checks.ends import CutOff
from forethought.data.checks.finding import Finding, Severity, merged
from forethought.data.checks.finite import Finite
from forethought.data.checks.ids import Ids, Short
from forethought.data.checks.leaps import Leaps
from forethought.data.checks.pictures import Blank, Colours
from forethought.data.checks.rewards import Rewards
from forethought.data.checks.scale import Scale
from forethought.data.checks.seam import Check, Log, Repair, View
from forethought.data.checks.still import Frozen, Motion, Repeats
from forethought.data.checks.stretches import Stretches
from forethought.data.checks.twins import Twins
from forethought.data.experience import Experience
from forethought.data.split import Split, split_of
from forethought.errors import DataError
from forethought.types import ExperienceSpec

__all__ = [
    "CHECKS",
    "Check",
    "Coverage",
    "Examination",
    "Finding",
    "Severity",
    "Summary",
    "check_log",
    "examine",
    "merged",
    "summarise",
]

CHECKS: tuple[Callable[[Log], Check], ...] = (
    Ids, Finite, Bounds, Motion, Frozen, Repeats, Clock, Rate, Short, Actions, Rewards, Delay, Effect, Crossed,
    Colours, Blank, Scale, Leaps, CutOff, Twins, Stretches, Explored,
)  # fmt: skip
"""All checks, in the order of their repairs: ids first, so that parts of an episode differ."""


@final
@dataclass(frozen=True)
class Summary:
    """What is in a log. `splits`: episodes for training, calibration, testing."""

    spec: ExperienceSpec
    episodes: int
    steps: int
    shortest: int
    longest: int
    splits: tuple[int, int, int]


@final
@dataclass(frozen=True)
class Examination:
    """All that the checks said: `places` one by one, for a timeline; `findings` counted together; how to mend what can be;
    `coverage`, what the log has seen of its world (None where that cannot be said).
    """

    ids: tuple[str, ...]
    places: tuple[Finding, ...]
    repairs: tuple[Repair, ...]
    coverage: Coverage | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The same code and sensor counted together, worst first."""
        return merged(self.places)

    def unmended(self, *, shifted: bool = False) -> tuple[str, ...]:
        """Codes of warnings and errors that no repair is known for; `shifted`: the actions were moved, which mends a delay."""
        known = {repair.code for repair in self.repairs} | {"unreadable"} | ({"delay"} if shifted else set())
        worse = [finding.code for finding in self.findings if finding.severity is not Severity.INFO]
        return tuple(dict.fromkeys(code for code in worse if code not in known))


def summarise(experience: Experience, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)) -> Summary:
    """Count what is there, without reading the episodes' arrays."""
    lengths = experience.lengths() or (0,)
    parts = [split_of(name, fractions) for name in experience.ids()]
    train, calibrate, test = (parts.count(split) for split in Split)
    return Summary(experience.spec, len(experience), sum(lengths), min(lengths), max(lengths), (train, calibrate, test))


def check_log(experience: Experience, *, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)) -> tuple[Finding, ...]:
    """Look at every episode once. Never raises for what is in the log; worst findings first."""
    return examine(experience, fractions=fractions).findings


def examine(
    experience: Experience,
    *,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    also: Sequence[Check] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Examination:
    """The same with every place and the repairs. One episode is in memory at a time; `also` sees each of them too."""
    if not len(experience):
        return Examination((), (Finding(Severity.ERROR, "no-episodes", "the log has no episodes; record some"),), ())
    checks = [*(make(Log(experience.spec, fractions)) for make in CHECKS), *also]
    ids, places = [], []
    for index in range(len(experience)):
        if progress is not None:
            progress(index + 1, len(experience))
        try:
            view = View(index, experience.episode(index), experience.spec)
        except DataError as error:
            ids.append(f"number {index}")
            places.append(Finding(Severity.ERROR, "unreadable", str(error), episode=ids[-1]))
            continue
        ids.append(view.episode.id)
        for check in checks:
            check.see(view)
    places += [finding for check in checks for finding in check.findings()]
    repairs = tuple(repair for check in checks for repair in check.repairs())
    explored = [check.coverage() for check in checks if isinstance(check, Explored)]
    return Examination(tuple(ids), tuple(places), repairs, *explored)
