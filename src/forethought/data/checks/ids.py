"""Ids, splits and lengths of episodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import final

from forethought.data.checks.cuts import LEAST, same_split_names
from forethought.data.checks.finding import Finding, Severity
from forethought.data.checks.seam import Check, EpisodeCheck, Log, Repair, View
from forethought.data.split import Split


@final
class Short(EpisodeCheck):
    """`short-episode`; left out when mended."""

    def look(self, view: View) -> Iterator[Finding]:
        steps = view.episode.num_steps
        if steps < LEAST:
            message = f"{steps} steps; too short for most windows. Leave it out, or join it with the next"
            yield view.at(Severity.WARNING, "short-episode", message)

    def repairs(self) -> Iterator[Repair]:
        return self.mend("short-episode", "left out short episodes", lambda episode: [])


@final
class Ids(Check):
    """`repeated-id` (mended by a new id), `empty-split-...`."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._seen: dict[str, int] = {}
        self._again: list[tuple[int, str]] = []

    def see(self, view: View) -> None:
        if view.episode.id in self._seen:
            self._again.append((view.index, view.episode.id))
        self._seen[view.episode.id] = view.index

    def findings(self) -> Iterator[Finding]:
        if self._again:
            message = "episode ids repeat, so splits and seeds are not sound; give each episode its own id"
            yield Finding(Severity.ERROR, "repeated-id", message, count=len(self._again), episode=self._again[0][1])
        splits = {self.log.split(name) for name in self._seen}
        for split, share in zip(Split, self.log.fractions, strict=True):
            if share > 0 and split not in splits:
                message = f"no episode falls in the split '{split.value}' ({len(self._seen)} in all); record more episodes"
                yield Finding(Severity.WARNING, f"empty-split-{split.value}", message)

    def repairs(self) -> Iterator[Repair]:
        for number, (index, name) in enumerate(self._again):
            new = same_split_names(name, number + 1, "again")[number]
            yield Repair("repeated-id", "gave repeated ids new names", index, lambda e, new=new: [replace(e, id=new)])  # type: ignore[misc]
