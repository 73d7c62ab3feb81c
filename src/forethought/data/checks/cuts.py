"""Cutting episodes: the stretches between bad rows become episodes of their own, in the split of the whole."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from forethought.data.checks.seam import Mask
from forethought.data.split import split_of
from forethought.types import Episode

LEAST = 8  # steps: a shorter stretch is not worth an episode


def keep_stretches(episode: Episode, bad_rows: Mask, bad_steps: Mask) -> list[Episode]:
    """The stretches without bad rows (T+1,) and bad steps (T,), of at least LEAST steps each."""
    broken = np.flatnonzero(bad_steps | bad_rows[1:] | bad_rows[:-1])
    edges = np.concatenate([[-1], broken, [episode.num_steps]])
    spans = [(int(a) + 1, int(b)) for a, b in itertools.pairwise(edges) if b - a - 1 >= LEAST]
    if spans == [(0, episode.num_steps)]:
        return [episode]
    names = same_split_names(episode.id, len(spans))
    return [part(episode, *span, name) for span, name in zip(spans, names, strict=True)]


def part(episode: Episode, first: int, last: int, name: str) -> Episode:
    """Steps first .. last - 1 as an episode."""
    whole = last == episode.num_steps
    return replace(
        episode,
        id=name,
        observations={key: values[first : last + 1] for key, values in episode.observations.items()},
        actions=episode.actions[first:last],
        rewards=None if episode.rewards is None else episode.rewards[first:last],
        metadata={key: values[first : last + 1] for key, values in episode.metadata.items()},
        terminated=episode.terminated and whole,
        truncated=episode.truncated or not whole,
    )


def same_split_names(name: str, count: int, word: str = "part") -> list[str]:
    """New ids that fall in the same split as the old one: parts of a training episode must not become tests."""
    names: list[str] = []
    number = 0
    while len(names) < count:
        candidate = f"{name}-{word}{number}"
        names += [candidate] * (split_of(candidate) is split_of(name))
        number += 1
    return names
