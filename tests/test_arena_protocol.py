"""What the honest protocol promises: independence, legality, files that can be checked, agents that keep their contract."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from forethought.arena.evaluate import evaluate as evaluate_run
from forethought.arena.protocol import Outcome, Result, evaluate, evaluate_rule, run_episode, save_results
from forethought.arena.statistics import bootstrap, mcnemar, rule_of_three, wilson
from forethought.arena.task import Moment, Pair, unsolved_pairs
from forethought.arena.tasks import make_task
from forethought.arena.verify import verify
from forethought.envs.two_room import log_spec
from forethought.errors import ContractError, RunError, UsageError
from forethought.testing.agent import check_agent, fingerprint
from forethought.training.bundle import load_agent
from forethought.types import BoxSpace, Decision, Effort, Mode, ReachObservation, State, Target

LINE = BoxSpace((-1.0,), (1.0,))


class LineEpisode:
    """A point on a line and a fence at 0.5; touching the fence is illegal."""

    def __init__(self, pair: Pair) -> None:
        self.x, self.target = pair.setup
        self.ok, self.goal = True, ReachObservation({"x": np.array([self.target], np.float32)})
        self.start = self.look()

    def look(self) -> Moment:
        return Moment({"x": np.array([self.x], np.float32)}, abs(self.x - self.target) < 0.05, self.ok)

    def step(self, action) -> Moment:
        self.ok = self.ok and not min(self.x, self.x + action[0]) < 0.5 < max(self.x, self.x + action[0])
        self.x += float(action[0])
        return self.look()

    def picture(self):
        return np.zeros((2, 2, 3), np.uint8)


class LineTask:
    id, budget = "line-v1", 20

    def pairs(self, count: int, seed: int) -> tuple[Pair, ...]:
        drawn = [np.random.default_rng([seed, i]).uniform(0, 1, 2) for i in range(count)]
        return tuple(Pair(f"line-v1/{seed}/{i}", i, d, abs(d[0] - d[1]) < 0.05) for i, d in enumerate(drawn))

    def begin(self, pair: Pair) -> LineEpisode:
        return LineEpisode(pair)

    def floors(self):
        return {"random": lambda episode, rng: rng.uniform(-1, 1, 1)}


class Walker:
    """Steps of random length towards the goal, drawn from the episode's key and step."""

    def init(self, goal, key: int = 0) -> State:
        return State(goal, Target(None, goal), key)

    def act(self, observation, state: State) -> tuple[Decision, State]:
        length = np.random.default_rng([state.key, state.step]).uniform(0, 0.2)
        gap = state.goal.observation["x"] - observation["x"]
        action = np.clip(gap, -length, length).astype(np.float32)
        return Decision(action, Mode.HABIT, "that way", Effort(1)), dataclasses.replace(state, step=state.step + 1)


def untimed(outcomes) -> list[Outcome]:
    return sorted(
        (dataclasses.replace(o, cpu_seconds=0.0, joules=0.0, milliseconds=()) for o in outcomes), key=lambda o: o.pair
    )


def test_results_depend_on_neither_order_nor_company_nor_workers() -> None:
    task = LineTask()
    pairs = task.pairs(30, 0)
    straight = untimed(evaluate(Walker(), task, pairs, "walker").outcomes)
    assert len({o.steps for o in straight}) > 3
    assert untimed(evaluate(Walker(), task, pairs[::-1], "walker").outcomes) == straight
    assert untimed(evaluate(Walker(), task, pairs, "walker", workers=3).outcomes) == straight
    alone = [o for pair in pairs for o in evaluate(Walker(), task, [pair], "walker").outcomes]
    assert untimed(alone) == straight


def test_a_learned_agent_gives_the_same_in_two_workers(run: Path) -> None:
    agent, task = load_agent(run), make_task("two-room-random-v1")
    task.budget = 5
    pairs = task.pairs(6, 0)
    assert untimed(evaluate(agent, task, pairs, "a", workers=2).outcomes) == untimed(evaluate(agent, task, pairs, "a").outcomes)


def test_through_the_fence_is_a_failure_and_solved_pairs_are_removed() -> None:
    task = LineTask()
    pairs = task.pairs(60, 0)
    result = evaluate(Walker(), task, pairs, "walker")
    solved = [p for p in pairs if p.solved_at_start]
    assert solved and result.solved_at_start == len(solved) and len(result.outcomes) == 60 - len(solved)
    fenced = {p.id for p in pairs if (p.setup[0] < 0.5) != (p.setup[1] < 0.5)}
    across = [o for o in result.outcomes if o.pair in fenced]
    assert len(across) > 5 and not any(o.success for o in across) and any(not o.legal for o in across)
    assert all(o.success for o in result.outcomes if o.pair not in fenced)


def test_workers_must_be_there() -> None:
    with pytest.raises(UsageError, match="got 0 workers"):
        evaluate(Walker(), LineTask(), LineTask().pairs(3, 0), "walker", workers=0)


def test_statistics_hold_at_the_edges() -> None:
    assert 0 < mcnemar([True] * 600 + [False] * 600, [False] * 600 + [True] * 600) <= 1
    assert mcnemar([True] * 2000, [False] * 2000) < 1e-300
    assert rule_of_three(300) == 0.01 and rule_of_three(0) == 1.0 and abs(wilson(300, 300).low - 0.9874) < 1e-4
    values = np.random.default_rng(0).normal(5, 1, 400)
    low, high = bootstrap(values, np.random.default_rng(1))
    assert low < values.mean() < high and 0.15 < high - low < 0.25
    assert math.isnan(bootstrap(np.zeros(0), np.random.default_rng(0))[0])


def test_nothing_solved_costs_without_bound_and_few_pairs_are_marked() -> None:
    failed = Result("t", "a", (Outcome("p", (), False, True, 5, 100),), 0)
    assert math.isinf(failed.per_solved("predictor_passes")) and "fewer than 300" in failed.marks()[0]
    assert not dataclasses.replace(failed, outcomes=failed.outcomes * 300).marks()


def rejected(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@pytest.fixture
def floors(tmp_path: Path) -> Path:
    task = make_task("two-room-fixed-v1")
    pairs = task.pairs(12, 4)
    save_results(tmp_path / "floors.json", [evaluate_rule(r, task, pairs, n) for n, r in task.floors().items()], [4])
    return tmp_path / "floors.json"


def test_a_result_file_is_strict_json_and_verifies(floors: Path) -> None:
    record = json.loads(floors.read_text(), parse_constant=rejected)
    assert {"command", "commit", "versions", "machine", "seeds", "n", "results"} <= set(record)
    assert record["results"][0]["p50_ms"] is None and "fewer than 300" in record["results"][0]["marks"][0]
    found = verify(floors, sample=5)
    assert found.agrees and found.checked == 20 and not found.skipped


def test_a_result_file_that_lies_is_caught(floors: Path) -> None:
    record = json.loads(floors.read_text())
    said = record["results"][1]["outcomes"][3]  # the idle floor
    said["success"], said["steps"] = True, 3
    floors.write_text(json.dumps(record))
    found = verify(floors, sample=100)
    assert not found.agrees
    assert any("add up to" in d for d in found.differences) and any("steps 3 is now 100" in d for d in found.differences)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"results": [{}]}', '{"results": 3}'])
def test_what_is_no_result_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RunError, match="not a result file"):
        verify(tmp_path / "x.json")


def test_a_run_is_verified_with_its_agents(run: Path, tmp_path: Path) -> None:
    evaluate_run(run, "two-room-fixed-v1", count=2, out=tmp_path / "result.json")
    found = verify(tmp_path / "result.json", sample=1, run=run)
    assert found.agrees and found.checked == 7
    assert {s.split(":")[0] for s in verify(tmp_path / "result.json", sample=1).skipped} == {"plan", "habit", "latent"}


def test_our_agents_keep_the_agent_contract(run: Path) -> None:
    episode = make_task("two-room-random-v1").begin(make_task("two-room-random-v1").pairs(1, 0)[0])
    decision = check_agent(load_agent(run), episode.start.observation, episode.goal, log_spec().action_space)
    assert decision.mode is Mode.PLAN
    check_agent(Walker(), {"x": np.zeros(1, np.float32)}, ReachObservation({"x": np.ones(1, np.float32)}), LINE)


class Hidden(Walker):
    """Draws from a generator of its own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def act(self, observation, state):
        decision, after = super().act(observation, state)
        return dataclasses.replace(decision, action=self.rng.uniform(-1, 1, 1).astype(np.float32)), after


class Eager(Walker):
    """Leaves the bounds."""

    def act(self, observation, state):
        decision, after = super().act(observation, state)
        return dataclasses.replace(decision, action=np.array([1.5], np.float32)), after


class Meddler(Walker):
    """Writes into the observation."""

    def act(self, observation, state):
        result = super().act(observation, state)
        observation["x"][:] += 1
        return result


class Sleeper(Walker):
    """Never counts its steps."""

    def act(self, observation, state):
        return super().act(observation, state)[0], state


@pytest.mark.parametrize(
    ("agent", "message"),
    [
        (Hidden(), "another decision"),
        (Eager(), "outside"),
        (Meddler(), "changed the observation"),
        (Sleeper(), "step went from 0 to 0"),
        (object(), "lacks init"),
    ],
)
def test_broken_agents_are_found(agent, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check_agent(agent, {"x": np.zeros(1, np.float32)}, ReachObservation({"x": np.ones(1, np.float32)}), LINE)


def test_fingerprints_see_every_bit_but_no_clock() -> None:
    one = Decision(np.zeros(2, np.float32), Mode.PLAN, "r", Effort(1, 1, 0.1, 0.1))
    assert fingerprint(one) == fingerprint(dataclasses.replace(one, effort=Effort(1, 1, 0.2, 0.3)))
    assert fingerprint(one) != fingerprint(dataclasses.replace(one, action=np.nextafter(np.zeros(2, np.float32), 1)))
    assert fingerprint(one) != fingerprint(dataclasses.replace(one, effort=Effort(2, 1, 0.1, 0.1)))


def test_push_t_pairs_and_floors() -> None:
    pytest.importorskip("gym_pusht")
    task = make_task("pusht-pixels-v1")
    pairs = task.pairs(8, 0)
    assert all(np.array_equal(a.setup, b.setup) and a.key == b.key for a, b in zip(task.pairs(3, 0), pairs[:3], strict=True))
    task.budget = 15
    results = {n: evaluate_rule(r, task, pairs, n) for n, r in task.floors().items() if n != "random"}
    assert results["idle"].success().share == 0.0
    assert results["straight"].success().share >= results["idle"].success().share
    pair = pairs[0]
    one, two = (run_episode(Still(), task, pair) for _ in range(2))
    assert untimed([one]) == untimed([two])
    episode = task.begin(pair)
    assert episode.start.observation["image"].shape == (64, 64, 3) and episode.picture().dtype == np.uint8


class Still(Walker):
    def act(self, observation, state):
        decision = Decision(np.zeros(2, np.float32), Mode.HABIT, "stay", Effort())
        return decision, dataclasses.replace(state, step=state.step + 1)


def test_as_many_unsolved_pairs_as_were_asked_for() -> None:
    task = make_task("two-room-fixed-v1")
    pairs = unsolved_pairs(task, 200, 0)
    assert sum(not pair.solved_at_start for pair in pairs) == 200 < len(pairs)
    assert [pair.id for pair in pairs] == [pair.id for pair in task.pairs(len(pairs), 0)]
