"""A repaired copy of a log: what the checks can mend, episode by episode, and actions moved to the rows they belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

from forethought.data import write_log
from forethought.data.checks.seam import Repair
from forethought.data.experience import Experience
from forethought.errors import DataError, UsageError
from forethought.types import Episode


@final
@dataclass
class Mended:
    """What became of a log: how often each repair was made, and the episodes before and after."""

    before: int = 0
    after: int = 0
    repairs: Counter[str] = field(default_factory=Counter)


def write_fixed(experience: Experience, out: Path, repairs: Sequence[Repair], shift: int = 0) -> Mended:
    """Write a repaired copy to `out`, in the format that its suffix names; the log is never touched. Raises DataError."""
    mended = Mended()
    write_log(out, _fixed(experience, repairs, shift, mended), experience.spec)
    return mended


def _fixed(experience: Experience, repairs: Sequence[Repair], shift: int, mended: Mended) -> Iterator[Episode]:
    for index in range(len(experience)):
        mended.before += 1
        try:
            parts = [experience.episode(index)]
        except DataError:
            mended.repairs["left out an episode that cannot be read"] += 1
            continue
        if shift:
            fits = parts[0].num_steps > abs(shift)
            mended.repairs[f"shifted actions by {shift}" if fits else "left out an episode shorter than the shift"] += 1
            parts = [shifted(parts[0], shift)] if fits else []
        for repair in repairs:
            if repair.index in (None, index):
                mended.repairs[repair.what] += 1
                parts = [new for part in parts for new in repair.apply(part)]
        mended.after += len(parts)
        yield from parts


def shifted(episode: Episode, lag: int) -> Episode:
    """The episode with each action moved `lag` rows on (back if negative); rows that then have no action are cut off.

    Raises UsageError if nothing would be left.
    """
    steps = episode.num_steps - abs(lag)
    if steps < 1:
        raise UsageError(f"episode '{episode.id}' has {episode.num_steps} steps, too few for a shift of {lag}; leave it out")
    rows, actions = max(lag, 0), max(-lag, 0)
    return replace(
        episode,
        observations={name: values[rows : rows + steps + 1] for name, values in episode.observations.items()},
        metadata={name: values[rows : rows + steps + 1] for name, values in episode.metadata.items()},
        actions=episode.actions[actions : actions + steps],
        rewards=None if episode.rewards is None else episode.rewards[rows : rows + steps],
        terminated=episode.terminated and lag >= 0,
        truncated=episode.truncated or lag < 0,
    )
