"""Bad input: whatever the world shows, a running agent acts safely, says why, and goes on. Only a program gets errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import small_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forethought.agent.agent import ForethoughtAgent
from forethought.agent.ladder import Trust
from forethought.arena.evaluate import agent_in_mode
from forethought.data import write_log
from forethought.errors import UsageError
from forethought.testing.agent import check_agent, fingerprint
from forethought.training.bundle import load_parts
from forethought.training.train import train
from forethought.types import (
    Belief,
    BoxSpace,
    Decision,
    Episode,
    ExperienceSpec,
    Mode,
    Observation,
    ReachObservation,
    Sensor,
    SensorKind,
    State,
)

MODES = ("plan", "habit", "ladder", "latent")
SENSORS = (
    Sensor("camera", SensorKind.IMAGE, (16, 16, 3), "uint8"),
    Sensor("joints", SensorKind.VECTOR, (3,), "float32"),
    Sensor("words", SensorKind.TOKENS, (2,), "int64", 5),
)
SPEC = ExperienceSpec(SENSORS, BoxSpace((-1.0, 0.0), (1.0, 4.0)))
SAFE = np.array([0.0, 2.0])


def wander(count: int, steps: int) -> list[Episode]:
    """A dot that moves as it is told, seen in three ways."""
    episodes = []
    for index in range(count):
        rng = np.random.default_rng(index)
        actions = rng.uniform((-1, 0), (1, 4), (steps, 2))
        way = np.clip(np.cumsum(np.vstack([rng.uniform(3, 12, (1, 2)), actions - SAFE]), 0), 0, 15)
        camera = np.zeros((steps + 1, 16, 16, 3), np.uint8)
        camera[np.arange(steps + 1), way[:, 0].astype(int), way[:, 1].astype(int)] = 255
        joints = np.column_stack([way, way.sum(1)]).astype(np.float32)
        words = np.minimum(way // 4, 4).astype(np.int64)
        seen = {"camera": camera, "joints": joints, "words": words}
        episodes.append(Episode(f"e{index}", seen, actions.astype(np.float32)))
    return episodes


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, ForethoughtAgent]:
    folder, config = tmp_path_factory.mktemp("senses"), small_config()
    few = replace(config.predict.schedule, updates=5)
    parts = {
        name: replace(getattr(config, name), schedule=few) for name in ("predict", "dynamics", "heads", "decoder", "probe")
    }
    run = train(write_log(folder / "log.h5", wander(30, 20), SPEC), folder / "run", replace(config, frameskip=2, **parts)).path
    spec, trained, loaded = load_parts(run)
    trusting = replace(loaded, trust=Trust(1.0, np.inf))
    return {mode: agent_in_mode(trusting, spec, trained, mode) for mode in MODES}


def moment(index: int = 0, step: int = 5) -> dict[str, Any]:
    return {name: values[step] for name, values in wander(index + 1, 20)[index].observations.items()}


GOAL = ReachObservation(moment(3))


def blocks(agent: ForethoughtAgent, state: State, shown: Observation, count: int = 1) -> tuple[list[Decision], State]:
    """So many whole blocks."""
    decisions = []
    for _ in range(count * agent.frameskip):
        decision, state = agent.act(shown, state)
        decisions.append(decision)
    return decisions[:: agent.frameskip], state


def checked(agent: ForethoughtAgent, decision: Decision, state: State) -> None:
    """The action is finite and inside the bounds, and the state holds no NaN that would stay."""
    space = agent.spec.action_space
    assert isinstance(space, BoxSpace) and np.isfinite(decision.action).all() and decision.reason
    assert (decision.action >= space.low).all() and (decision.action <= space.high).all()
    if state.belief is not None:
        assert torch.isfinite(state.belief.z_BD).all() and torch.isfinite(state.belief.memory_BM).all()
    if state.expectation is not None:
        assert np.isfinite(state.expectation.evidence).all() and np.isfinite(state.expectation.level)


BROKEN: tuple[tuple[str, object, str], ...] = (
    ("joints", np.array([0.0, np.nan, 1.0]), "holds NaN or infinity in 1 of 3"),
    ("joints", np.array([0.0, -np.inf, np.nan]), "holds NaN or infinity in 2 of 3"),
    ("joints", np.array([0.0, 1e300, 0.0]), "does not fit float32"),
    ("joints", np.zeros(4, np.float32), r"shape \(4,\), expected \(3,\)"),
    ("joints", np.array(["a", "b", "c"]), "dtype <U1"),
    ("joints", None, "shape"),
    ("joints", [[1.0], [2.0, 3.0]], "holds no array"),
    ("camera", np.full((16, 16, 3), np.nan), "holds NaN or infinity in 768 of 768"),
    ("camera", np.zeros((16, 16, 3), np.float32), "dtype float32, expected uint8"),
    ("camera", np.full((16, 16, 3), 300), "holds 0 to 300, expected 0 to 255"),
    ("camera", np.zeros((8, 8, 3), np.uint8), "resize it"),
    ("words", np.array([0, 5]), "holds 0 to 5, expected 0 to 4"),
    ("words", np.array([-1, 0]), "expected 0 to 4"),
    ("words", np.array([0.5, 1.0]), "dtype float64, expected int64"),
)


@pytest.mark.parametrize(("name", "value", "said"), BROKEN)
def test_a_running_agent_acts_safely_and_says_why_a_program_gets_an_error(
    agents: Mapping[str, ForethoughtAgent], name: str, value: object, said: str
) -> None:
    agent, broken = agents["ladder"], {**moment(), name: value}
    with pytest.raises(UsageError, match=said):
        agent.init(ReachObservation(broken))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=said):
        agent.redirect(agent.init(GOAL), ReachObservation(broken))  # type: ignore[arg-type]
    first, state = agent.act(broken, agent.init(GOAL))  # type: ignore[arg-type]
    assert first.mode is Mode.STOP and f"'{name}'" in first.reason and pytest.approx(SAFE) == first.action
    with pytest.raises(UsageError, match=said):
        raise UsageError(first.reason)
    state = replace(state, pending=())
    _, state = blocks(agent, state, moment())
    later, _ = agent.act(broken, state)  # type: ignore[arg-type]
    assert later.mode is Mode.STOP and pytest.approx(SAFE) == later.action


@pytest.mark.parametrize("shown", [{}, None, {"joints": np.zeros(3)}, 7])
def test_a_missing_sensor_or_no_observation(agents: Mapping[str, ForethoughtAgent], shown: Any) -> None:
    decision, _ = agents["plan"].act(shown, agents["plan"].init(GOAL))
    assert decision.mode is Mode.STOP and ("lacks sensor" in decision.reason or "give a mapping" in decision.reason)


def test_what_happened_meanwhile_is_accounted_for(agents: Mapping[str, ForethoughtAgent]) -> None:
    agent = agents["ladder"]
    _, before = blocks(agent, agent.init(GOAL), moment(), 2)
    (stopped,), blind = blocks(agent, before, {**moment(), "joints": np.full(3, np.nan)})
    assert stopped.mode is Mode.STOP and blind.plan is None and blind.step == before.step + agent.frameskip
    assert before.belief is not None and blind.belief is not None and before.expectation is not None
    with torch.inference_mode():
        block = torch.as_tensor(before.taken[0])[None]
        on, _ = agent.model.dynamics.step(before.belief.z_BD, before.belief.memory_BM, block)
    assert torch.equal(blind.belief.z_BD, on) and not blind.taken[0].any()  # the middle of the box is 0 inside
    assert blind.expectation is not None and np.array_equal(blind.expectation.evidence, before.expectation.evidence)
    past_FA, took_FA = blind.expectation.past_FA, torch.as_tensor(before.taken[0]).reshape(2, 2)
    assert blind.expectation.count == before.expectation.count
    assert torch.equal(past_FA[-4:-2], took_FA) and not past_FA[-2:].any()
    decision, after = agent.act(moment(), blind)
    assert decision.mode in (Mode.HABIT, Mode.PLAN) and decision.surprise is not None and np.isnan(decision.surprise.p_value)
    again, _ = agent.act(moment(), replace(after, pending=()))
    assert again.surprise is not None and np.isfinite(again.surprise.p_value)


def test_long_darkness_costs_neither_memory_nor_sense(agents: Mapping[str, ForethoughtAgent]) -> None:
    agent = agents["ladder"]
    _, state = blocks(agent, agent.init(GOAL), moment())
    size = len(fingerprint(state))
    decisions, dark = blocks(agent, state, {}, 30)
    assert all(d.mode is Mode.STOP for d in decisions) and len(fingerprint(dark)) == size and len(dark.taken) == 1
    decision, state = agent.act(moment(), dark)
    checked(agent, decision, state)
    assert decision.mode is not Mode.STOP


@pytest.mark.parametrize("mode", MODES)
def test_the_seam_holds_in_darkness_and_in_light(agents: Mapping[str, ForethoughtAgent], mode: str) -> None:
    check_agent(agents[mode], moment(), GOAL, SPEC.action_space, steps=3)
    check_agent(agents[mode], {**moment(), "camera": np.full((16, 16, 3), np.nan)}, GOAL, SPEC.action_space, steps=3)


@pytest.mark.parametrize("mode", MODES)
def test_a_model_that_gives_no_numbers(
    agents: Mapping[str, ForethoughtAgent], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = agents[mode]
    _, state = blocks(agent, agent.init(GOAL), moment())
    monkeypatch.setattr(agent.model, "observe", lambda *_: Belief(torch.full((1, 12), torch.nan), torch.zeros(1, 0), 4))
    decision, blind = agent.act(moment(), state)
    assert decision.mode is Mode.STOP and "no finite latent" in decision.reason
    checked(agent, decision, blind)


@pytest.mark.parametrize("mode", MODES)
def test_an_imagination_that_gives_no_numbers(agents: Mapping[str, ForethoughtAgent], mode: str) -> None:
    agent, weights = agents[mode], agents[mode].model.dynamics.last.bias
    kept, state = weights.clone(), agent.init(GOAL)
    try:
        weights.fill_(torch.nan)
        decision, state = agent.act(moment(), state)
        assert decision.mode is Mode.STOP and "finite cost" in decision.reason and decision.plan is None
        dark, state = agent.act({}, replace(state, pending=()))
        checked(agent, dark, state)
    finally:
        weights.copy_(kept)
    decision, state = agent.act(moment(), replace(state, pending=()))
    checked(agent, decision, state)
    assert decision.mode is not Mode.STOP


def test_a_goal_outside_experience_is_said_and_no_habit_is_trusted(agents: Mapping[str, ForethoughtAgent]) -> None:
    agent = agents["ladder"]
    decision, _ = agent.act(moment(), agent.init(GOAL))
    assert decision.mode is Mode.HABIT and "unlike" not in decision.reason
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for odd in ({**moment(3), "camera": noise}, {**moment(3), "joints": np.full(3, 1e20, np.float32)}):
        state = agent.init(ReachObservation(odd))
        decision, _ = agent.act(moment(), state)
        assert decision.mode is Mode.PLAN and "the goal is unlike anything in the log (p " in decision.reason


numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)
values = st.one_of(
    st.none(),
    st.lists(numbers, min_size=3, max_size=3).map(lambda v: np.array(v)),
    st.lists(numbers, max_size=5).map(lambda v: np.array(v, np.float64)),
    st.lists(st.integers(-(2**62), 2**62), min_size=2, max_size=2).map(np.array),
    st.sampled_from([np.float16, np.int8, np.int64, bool, np.complex64, object]).map(lambda t: np.zeros((16, 16, 3), t)),
    numbers.map(lambda v: np.full((16, 16, 3), v)),
    st.text(max_size=3),
)
broken = st.dictionaries(st.sampled_from(["camera", "joints", "words", "other"]), values, max_size=3)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(shown=st.lists(st.tuples(broken, st.booleans()), min_size=1, max_size=4), first=st.booleans())
def test_whatever_is_shown(
    agents: Mapping[str, ForethoughtAgent], mode: str, shown: list[tuple[dict[str, Any], bool]], first: bool
) -> None:
    agent = agents[mode]
    state = agent.init(GOAL, key=1)
    if first:
        _, state = blocks(agent, state, moment())
    for odd, whole in shown:
        decision, state = agent.act({**moment(), **odd} if whole else odd, state)
        checked(agent, decision, state)
        state = replace(state, pending=())
    decision, state = agent.act(moment(step=9), state)
    checked(agent, decision, state)
