"""The honest protocol, and the report."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.arena.evaluate import agent_in_mode, evaluate
from forethought.arena.protocol import evaluate as evaluate_agent
from forethought.arena.protocol import evaluate_rule
from forethought.arena.statistics import mcnemar, percentile, wilson
from forethought.arena.tasks import make_task
from forethought.costs.goal import GoalDistance
from forethought.errors import UsageError
from forethought.training.bundle import load_agent, load_parts


@settings(max_examples=50, deadline=None, database=None)
@given(count=st.integers(1, 500), data=st.data())
def test_wilson_holds_the_share_and_narrows(count: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, count))
    interval = wilson(successes, count)
    assert 0 <= interval.low <= interval.share <= interval.high <= 1
    wider = wilson(successes, count).high - wilson(successes, count).low
    assert wilson(10 * successes, 10 * count).high - wilson(10 * successes, 10 * count).low < wider


def test_statistics_of_nothing_and_of_equals() -> None:
    assert math.isnan(wilson(0, 0).share) and wilson(0, 0).high == 1
    assert mcnemar([True, False], [True, False]) == 1.0
    assert mcnemar([True] * 10 + [False], [False] * 10 + [True]) == pytest.approx(24 / 2048)
    assert math.isnan(percentile([], 0.5)) and percentile([5, 1, 9], 0.99) == 9


@pytest.mark.parametrize("name", ["two-room-fixed-v1", "two-room-random-v1"])
def test_floors_and_oracle_are_where_they_should_be(name: str) -> None:
    task = make_task(name)
    pairs = task.pairs(60, 3)
    found = {agent: evaluate_rule(rule, task, pairs, agent) for agent, rule in task.floors().items()}
    assert found["oracle"].success().share == 1.0
    assert found["idle"].success().share == 0.0
    assert found["random"].success().share < 0.4 < found["straight"].success().share
    assert found["straight"].success("hard").share == 0.0  # by the class's definition
    assert all(o.legal for result in found.values() for o in result.outcomes)


def test_pairs_depend_on_seed_and_index_alone() -> None:
    task = make_task("two-room-random-v1")
    few, many = task.pairs(5, 1), task.pairs(9, 1)
    assert all(
        np.array_equal(a.setup, b.setup) and a.classes == b.classes and a.key == b.key
        for a, b in zip(few, many[:5], strict=True)
    )
    assert not np.array_equal(task.pairs(1, 2)[0].setup, few[0].setup)


def test_an_illegal_success_is_a_failure(run: Path) -> None:
    from forethought.arena.two_room import TwoRoomEpisode

    task = make_task("two-room-fixed-v1")
    pair = next(p for p in task.pairs(30, 0) if "cross" in p.classes)
    episode = TwoRoomEpisode(pair, 64)
    episode.legal = False
    episode.position = episode.target.copy()
    moment = episode.step(np.zeros(2))
    assert moment.reached and not moment.legal


def test_outcomes_do_not_depend_on_the_order_of_pairs(run: Path) -> None:
    agent, task = load_agent(run), make_task("two-room-fixed-v1")
    task.budget = 6
    pairs = task.pairs(6, 0)
    forward, backward = evaluate_agent(agent, task, pairs, "a"), evaluate_agent(agent, task, pairs[::-1], "a")
    key = lambda o: (o.pair, o.success, o.steps, o.predictor_passes)  # noqa: E731
    assert sorted(map(key, forward.outcomes)) == sorted(map(key, backward.outcomes))


def test_evaluation_writes_figures(run: Path) -> None:
    task = make_task("two-room-random-v1")
    task.budget = 8
    found = evaluate(run, task, count=12, modes=("plan", "habit", "latent"))
    assert [r.agent for r in found.results] == ["plan", "habit", "latent", "random", "idle", "straight", "oracle"]
    record = json.loads((run / "evaluation.json").read_text())
    assert {"command", "commit", "versions", "machine", "seeds", "results"} <= set(record)
    first = record["results"][0]
    assert first["n"] == len(first["outcomes"]) == 12


def test_unknown_task_is_named() -> None:
    with pytest.raises(UsageError, match="Did you mean 'two-room-fixed-v1'"):
        make_task("two-room-fixed")


def test_a_run_plans_on_its_own_cost_and_its_rival_as_published(run: Path) -> None:
    spec, config, parts = load_parts(run)
    own = replace(config, agent=replace(config.agent, cost="latent", path_weight=0.2))
    assert agent_in_mode(parts, spec, own, "plan").cost == GoalDistance(path_weight=0.2)
    rival = agent_in_mode(parts, spec, own, "latent")
    assert rival.cost == GoalDistance() and not rival.config.warm_start
    passing = replace(config, agent=replace(config.agent, passing=True))
    assert agent_in_mode(parts, spec, passing, "plan").cost.passing
    assert not agent_in_mode(parts, spec, passing, "latent").cost.passing
