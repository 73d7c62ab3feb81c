"""The ladder: keep the plan, trust the habit, search, stop; and the risk control that says how far a habit is trusted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from forethought.agent.agent import AgentConfig, ForethoughtAgent
from forethought.agent.aim import Aim
from forethought.agent.ladder import PATIENCE, Choice, Trust, choose, doubt_of
from forethought.arena.trust import DOUBTS, controlled, fit_trust
from forethought.envs.two_room import record
from forethought.errors import UsageError
from forethought.memory.episodic import Episodic, Worked
from forethought.training.bundle import load_agent
from forethought.training.run import RunFolder
from forethought.types import Belief, Decision, Mode, ReachObservation, State, Surprise

NOTHING = np.zeros(0, np.float32)


@pytest.fixture
def agent(run: Path) -> ForethoughtAgent:
    return load_agent(run, AgentConfig(mode="ladder"))


def images() -> list[np.ndarray]:
    return list(next(iter(record(1, 30, 7, random=False))).observations["image"][[-1, 0]])


def test_noise_is_no_room(agent: ForethoughtAgent) -> None:
    agent.trust = Trust(reach=1.0, doubt=np.inf)
    assert agent.monitor is not None  # two held-out episodes make a threshold of ten scales: that of many is about one
    agent.monitor = replace(agent.monitor, evidence=replace(agent.monitor.evidence, threshold=1.0))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    decision, state = agent.act({"image": noise}, agent.init(ReachObservation({"image": images()[0]})))
    assert decision.mode is Mode.PLAN and "camera" in decision.reason and "no habit is trusted" in decision.reason
    for _ in range(PATIENCE):
        decision, state = agent.act({"image": noise}, state)
    assert decision.mode is Mode.STOP and not decision.action.any()


def walk(agent: ForethoughtAgent, count: int = 4) -> list[tuple[Decision, State]]:
    frames, walked = images(), []
    state = agent.init(ReachObservation({"image": frames[0]}), key=3)
    for _ in range(count):
        decision, state = agent.act({"image": frames[1]}, state)
        walked.append((decision, state))
    return walked


def test_a_run_that_does_not_know_its_habit_says_what_to_do(agent: ForethoughtAgent) -> None:
    with pytest.raises(UsageError, match="forethought trust RUN"):
        walk(agent, 1)


def test_trust_decides_between_habit_and_search(agent: ForethoughtAgent) -> None:
    agent.trust = Trust(reach=1.0, doubt=np.inf)
    decision, state = walk(agent, 1)[0]
    assert decision.mode is Mode.HABIT and decision.effort.planner_calls == 0 and "doubt" in decision.reason
    assert state.plan is not None and state.plan_step == 1
    agent.trust = Trust(reach=1.0, doubt=-1.0)
    decision, _ = walk(agent, 1)[0]
    assert decision.mode is Mode.PLAN and decision.effort.planner_calls == 1 and "over -1.00" in decision.reason


def rung(agent: ForethoughtAgent, state: State, belief: Belief, surprise: Surprise) -> Choice:
    def search(belief: Belief, state: State, aim: Aim) -> Choice:
        return Choice(None, 1, Mode.PLAN, "searched")

    aim = Aim(state.target, agent.cost)
    with torch.inference_mode():
        return choose(belief, state, aim, surprise, Trust(1.0, np.inf), agent.habits, 3, search)


def test_every_rung(agent: ForethoughtAgent) -> None:
    agent.trust = Trust(1.0, np.inf)
    _, state = walk(agent, 1)[0]
    belief, usual = state.belief, Surprise(0.6, 0.05, 0.2, NOTHING, NOTHING)
    assert belief is not None and state.expectation is not None
    kept = rung(agent, state, belief, usual)
    assert kept.mode is Mode.CONTINUE and kept.step == 2 and kept.passes == 0 and "foretold" in kept.reason
    assert rung(agent, state, belief, replace(usual, p_value=0.01)).mode is Mode.HABIT
    done = replace(state, plan_step=len(state.plan.actions_HA))  # type: ignore[union-attr]
    assert rung(agent, done, belief, usual).mode is Mode.HABIT
    alarm = replace(usual, height=1.5, reason="the camera changed")
    surprised = rung(agent, state, belief, alarm)
    assert surprised.mode is Mode.PLAN and "the camera changed" in surprised.reason
    late = replace(state, expectation=replace(state.expectation, raised=PATIENCE, alarm="the camera changed"))
    stopped = rung(agent, late, belief, alarm)
    assert stopped.mode is Mode.STOP and stopped.plan is None and "the camera changed" in stopped.reason
    assert np.concatenate(agent._frames(stopped)).tolist() == [0.0] * agent.frameskip * agent.spec.action_space.size


def test_memory_gives_back_what_worked_nearby_and_only_to_later_episodes() -> None:
    rng, memory = np.random.default_rng(0), Episodic()
    ways = [
        Worked(*rng.normal(size=(2, 6)).astype(np.float32), rng.normal(size=(3, 2)).astype(np.float32), 0.3) for _ in range(50)
    ]
    assert memory.keep(ways[:20]) == 20 and memory.keep(ways[20:]) == 30 and len(memory) == 50
    for index, way in enumerate(ways):
        near = way.z_D + np.float32(0.1)
        assert memory.recall(near, way.goal_D, 50) is way
        assert memory.recall(near, way.goal_D, index) is not way  # it was not there yet
    assert memory.recall(ways[0].z_D + np.float32(5), ways[0].goal_D, 50) is None
    assert memory.recall(ways[0].z_D, ways[0].goal_D + np.float32(5), 50) is None
    assert memory.recall(ways[0].z_D, ways[0].goal_D, 0) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forethought.memory.episodic.LIMIT", 3)
    memory, way = Episodic(), Worked(*np.ones((2, 4), np.float32), np.ones((2, 1), np.float32), 1.0)
    assert memory.keep([way] * 5) == 3 and memory.keep([way]) == 0 and memory.recall(way.z_D, way.goal_D, 3) is way


def test_what_worked_is_done_again(agent: ForethoughtAgent) -> None:
    agent.trust = Trust(reach=1.0, doubt=-1.0)  # no habit of the network's: everything is searched
    walked = walk(agent, 1)
    assert agent.practised(walked) == 1
    agent.trust = Trust(reach=1.0, doubt=np.inf)
    decision, state = walk(agent, 1)[0]
    assert decision.mode is Mode.HABIT and decision.reason.startswith("memory") and state.known == 1
    assert decision.plan is not None and walked[0][0].plan is not None
    assert torch.equal(decision.plan.actions_HA, walked[0][0].plan.actions_HA)


def test_the_way_of_a_habit_is_the_habit_in_imagination(agent: ForethoughtAgent) -> None:
    agent.trust = Trust(1.0, np.inf)
    _, state = walk(agent, 1)[0]
    assert state.belief is not None
    with torch.inference_mode():
        _, way = next(agent.habits.ways(state.belief, state, Aim(state.target, agent.cost), 3))
        rollout = agent.model.imagine(state.belief, way.actions_HA[None, None])
    assert torch.allclose(rollout.z_BSHD[0, 0], way.predicted_HD, atol=1e-5)
    stay, gone = way.trace.best_cost
    assert doubt_of(way, 1.0) == pytest.approx(1 - (stay - gone) / min(stay, 1.0))


def test_risk_control_keeps_its_promise_over_redrawn_calibrations() -> None:
    """Excess failures grow with doubt; over many calibrations, a fresh task's chance of one is at most epsilon."""
    rng, epsilon = np.random.default_rng(0), 0.05
    risk = dict(zip(DOUBTS, np.linspace(0.0, 0.3, len(DOUBTS)), strict=True))
    realised = []
    for _ in range(300):
        frail = rng.random(100)  # a pair that fails at some doubt fails at larger ones
        doubt, _ = controlled({d: [float(f < r) for f in frail] for d, r in risk.items()}, epsilon)
        realised.append(risk.get(doubt, 0.0))
    assert np.mean(realised) <= epsilon
    assert max(realised) > 0.03  # and it is not won by trusting nothing
    assert controlled({0.0: [1.0] * 50}, epsilon)[0] == -1.0


@pytest.mark.lane
def test_trust_is_fitted_and_kept_in_the_run(run: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    trust = fit_trust(copy, "two-room-fixed-v1", count=25, patrols=4, epsilon=0.2)
    assert json.loads(RunFolder(copy).trust.read_text())["pairs"] == trust.pairs == 25
    assert load_agent(copy).trust == trust and trust.reach > 0
