"""How much a log has seen: exact where it can be counted, and the estimate foretells what new episodes meet."""

from __future__ import annotations

from importlib import import_module
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from forethought.cli.main import app
from forethought.data import write_log
from forethought.data.checks import examine
from forethought.data.checks.coverage import cells_of, unseen_mass
from forethought.data.episodes import MemoryExperience
from forethought.envs import two_room
from forethought.types import BoxSpace, DiscreteSpace, Episode, ExperienceSpec, Sensor, SensorKind

STATE = Sensor("state", SensorKind.VECTOR, (2,), "float32")


def drawn(count: int, high: float = 1.0, seed: int = 0) -> MemoryExperience:
    """States anywhere in the unit square; the second action is never beyond `high`."""
    rng = np.random.default_rng(seed)
    episodes = [
        Episode(f"e{i}", {"state": rng.random((41, 2), np.float32)}, rng.uniform(-1, (1, high), (40, 2)).astype(np.float32))
        for i in range(count)
    ]
    return MemoryExperience(ExperienceSpec((STATE,), BoxSpace((-1.0, -1.0), (1.0, 1.0))), episodes)


def test_a_log_that_was_everywhere_says_so_and_one_on_a_diagonal_does_not() -> None:
    whole = examine(drawn(60)).coverage
    assert whole is not None and whole.visited == 1.0 and whole.untried == () and whole.growth == 0.0
    log = drawn(60)
    for episode in log:
        episode.observations["state"][:, 1] = episode.observations["state"][:, 0]
    line = examine(log).coverage
    assert line is not None and line.visited == pytest.approx(12 / 144)
    assert examine(drawn(3)).coverage is None, "120 rows say nothing"


def test_actions_never_tried_together_are_named() -> None:
    coverage = examine(drawn(60, high=0.3)).coverage
    assert coverage is not None and coverage.joint == 9
    assert coverage.untried == ("0:low 1:high", "0:middle 1:high", "0:high 1:high")
    rng = np.random.default_rng(0)
    episodes = [Episode(f"e{i}", {"state": rng.random((41, 2), np.float32)}, rng.choice([0, 2], 40)) for i in range(30)]
    discrete = examine(MemoryExperience(ExperienceSpec((STATE,), DiscreteSpace(4)), episodes)).coverage
    assert discrete is not None and discrete.untried == ("1", "3")


def test_what_one_episode_alone_saw_is_counted() -> None:
    species, episodes = np.array([5, 5, 7, 9, 9, 5]), np.array([0, 0, 0, 1, 1, 2])
    assert unseen_mass(species, episodes) == (3 / 6, 4)


def test_the_estimate_foretells_what_new_episodes_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1]))
    told = import_module("benchmarks.planted_faults").foretold((20, 60), range(4))
    assert told[0]["met"] > 2 * told[1]["met"] > 0.2, "more episodes leave less unseen"
    assert all(one["estimate"] == pytest.approx(one["met"], abs=0.09) for one in told), told


def test_many_numbers_are_seen_in_their_principal_directions() -> None:
    rng = np.random.default_rng(0)
    path = rng.random((2000, 2)) @ rng.normal(size=(2, 9))
    cells, directions = cells_of(path)
    assert directions == 3 and len(np.unique(cells)) <= 6**3
    assert cells_of(np.zeros((600, 2)))[0].max() == 0


def test_the_command_line_says_what_was_seen_and_whether_it_is_enough(tmp_path) -> None:
    for count, words in ((120, "probably enough"), (16, "probably too little")):
        path = write_log(tmp_path / f"{count}.h5", islice(two_room.record(120, 50, 0, random=True, size=16), count),
                         two_room.log_spec(16))  # fmt: skip
        said = CliRunner().invoke(app, ["data", "check", str(path)]).stdout.lower()
        assert "an estimate" in said and words in said and "of 9 kinds tried" in said
        assert ("little-data" in said) == (count == 16)
