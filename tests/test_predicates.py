"""Goals that are predicates: the grammar, how far from true, and an agent that makes one true."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.agent.agent import AgentConfig, ForethoughtAgent
from forethought.costs.predicate import PredicateCost, canonical, read_predicate
from forethought.errors import UsageError
from forethought.grammar import Above, Both, Either, Expression, Name, Not, parse
from forethought.testing import check_agent, check_cost
from forethought.types import Mode, ReachPredicate

NAMES = ("battery", "position[0]", "position[1]", "arm.joint[2]")
numbers = st.floats(-100, 100).map(lambda v: round(v, 3))
terms = st.one_of(numbers, st.sampled_from(NAMES).map(Name))
comparisons = st.builds(Above, terms, terms, st.booleans())
expressions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(Both, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Either, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=12,
)


def written(expression: Expression) -> str:
    """Text with every parenthesis: parsing it must give the expression back."""
    if isinstance(expression, Above):
        left, right = (t.text if isinstance(t, Name) else repr(t) for t in (expression.left, expression.right))
        return f"{left} {'>' if expression.strict else '>='} {right}"
    if isinstance(expression, Not):
        return f"not ({written(expression.part)})"
    word = " and " if isinstance(expression, Both) else " or "
    return word.join(f"({written(part)})" for part in expression.parts)


def holds(expression: Expression, row: dict[str, float]) -> bool:
    """What the words mean, in plain Python."""
    if isinstance(expression, Above):
        left, right = (row[t.text] if isinstance(t, Name) else t for t in (expression.left, expression.right))
        return left > right if expression.strict else left >= right
    if isinstance(expression, Not):
        return not holds(expression.part, row)
    parts = [holds(part, row) for part in expression.parts]
    return all(parts) if isinstance(expression, Both) else any(parts)


@settings(max_examples=200, deadline=None, database=None)
@given(expression=expressions, values=st.lists(numbers, min_size=4, max_size=4), units=st.floats(0.1, 10))
def test_what_is_written_is_parsed_and_its_sign_is_its_truth(expression: Expression, values: list[float], units: float) -> None:
    assert parse(written(expression)) == expression
    predicate = read_predicate(written(expression), NAMES, (units,) * 4)
    short = float(predicate.shortfall(torch.tensor([values], dtype=torch.float64)))
    if short != 0:
        assert (short < 0) is holds(expression, dict(zip(NAMES, values, strict=True)))


@settings(max_examples=300, deadline=None, database=None)
@given(text=st.text(alphabet="ab_.[]()<>=!0123456789 andotr+-e;'\"é", max_size=40))
def test_any_text_is_a_predicate_or_one_clear_error(text: str) -> None:
    told = ""
    try:
        parse(text)
    except UsageError as error:
        told = str(error)
    assert not told or ("predicate" in told and ("expected" in told or "deep" in told))


def test_words_bind_as_in_python_and_chains_are_ranges() -> None:
    loose, tight = parse("a > 1 or b > 2 and not c > 3"), parse("a > 1 or (b > 2 and (not (c > 3)))")
    assert loose == tight
    assert parse("0.2 < x <= 0.8") == Both((Above(Name("x"), 0.2, True), Above(0.8, Name("x"), False)))
    assert parse("  position.x>-.5 ") == Above(Name("position.x"), -0.5, True)
    assert canonical("position.x", NAMES) == "position[0]" and canonical("arm.joint.z", NAMES) == "arm.joint[2]"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "got the end at character 1, expected a number or a name"),
        ("battery", "expected <, <=, > or >="),
        ("battery > ", "got the end"),
        ("battery == 3", "give a range, 0.4 < x < 0.6"),
        ("battery > 3 and", "expected a number or a name"),
        ("(battery > 3", r"expected '\)'"),
        ("battery > 3)", r"got '\)' at character 12, expected and, or, or the end"),
        ("battery > 3; import os", "got ';' at character 12"),
        ("__import__('os').system('true') > 0", "got ''' at character 12"),
        ("battery > 3x", "got '3' at character 11"),
        ("batery > 3", "unknown quantity 'batery'; known: .* Did you mean 'battery'"),
        ("position.w > 3", "unknown quantity 'position.w'"),
        ("not " * 60 + "battery > 3", "more than 50 deep"),
        ("(" * 60 + "battery > 3" + ")" * 60, "more than 50 deep"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_predicate(text, NAMES)


def test_the_cost_prefers_the_plan_that_is_sooner_true() -> None:
    from forethought.types import Belief, Rollout, Target

    predicate = read_predicate("x > 1 and y < 0", ("x", "y"), (2.0, 1.0))
    cost = PredicateCost(lambda z: z, predicate, path_weight=0.5, spare=0.0)
    paths = torch.tensor([[[[0.0, -1.0], [3.0, -1.0]], [[3.0, -1.0], [3.0, -1.0]], [[3.0, -1.0], [3.0, 2.0]]]])
    value = cost(Rollout(Belief(torch.zeros(1, 2), torch.zeros(1, 0)), paths), torch.zeros(1, 3, 2, 1), Target(None))
    assert value[0].tolist() == pytest.approx([0.5 * 0.25, 0.0, 2.0 + 0.5 * 1.0])
    check_cost(cost, latent_size=2, action_size=1)
    broken = paths.clone()
    broken[0, 0, 1] = math.nan
    value = cost(Rollout(Belief(torch.zeros(1, 2), torch.zeros(1, 0)), broken), torch.zeros(1, 3, 2, 1), Target(None))
    assert torch.isnan(value[0, 0])


def test_the_shortfall_has_a_gradient_towards_true() -> None:
    predicate = read_predicate("x > 1 and y < 0 or x < -9", ("x", "y"))
    point = torch.tensor([[0.0, 0.4]], requires_grad=True)
    predicate.shortfall(point).sum().backward()
    assert point.grad is not None and point.grad.tolist() == [[-1.0, 0.0]]


@pytest.fixture(scope="module")
def mover(tmp_path_factory: pytest.TempPathFactory) -> ForethoughtAgent:
    """An agent trained for some seconds on Two-Room's positions; its log names them too."""
    from conftest import small_config

    from forethought.data import write_log
    from forethought.dynamics.build import Architecture
    from forethought.envs.two_room import record
    from forethought.perception.build import EncoderConfig
    from forethought.training.bundle import load_agent
    from forethought.training.train import train
    from forethought.training.trainer import Schedule
    from forethought.types import BoxSpace, ExperienceSpec, Sensor, SensorKind

    folder = tmp_path_factory.mktemp("mover")
    spec = ExperienceSpec((Sensor("state", SensorKind.VECTOR, (2,), "float32"),), BoxSpace((-1.0, -1.0), (1.0, 1.0)))
    episodes = (replace(e, observations={"state": e.metadata["position"]}) for e in record(150, 48, 0, random=False, size=16))
    log = write_log(folder / "log.h5", episodes, spec)
    small, long = small_config(), Schedule(updates=400, learning_rate=2e-3, decay=0.5, checkpoint_seconds=60)
    config = replace(
        small,
        encoder=EncoderConfig(width=16, features=64, scene_size=0, state_size=8),
        predict=replace(small.predict, schedule=replace(long, updates=600), episodes=32, windows=4),
        dynamics=replace(
            small.dynamics, schedule=replace(long, updates=500), batch_size=256, architecture=Architecture(width=96)
        ),
        heads=replace(small.heads, schedule=replace(long, updates=300), batch_size=256, scenes=4, nodes=128, width=96),
        probe=replace(small.probe, schedule=long, batch_size=256, width=64),
        agent=AgentConfig(),
    )
    return load_agent(train(log, folder / "run", config).path)


@pytest.mark.lane
def test_an_agent_makes_a_predicate_true(mover: ForethoughtAgent) -> None:
    from forethought.envs.two_room import fixed_layout, move

    goal, layout = ReachPredicate("0.6 < position.y and not (position.x > 0.4 or position.y > 5)"), fixed_layout(1)
    reached = []
    for key, start in enumerate(((0.2, 0.2), (0.3, 0.3), (0.1, 0.4), (0.4, 0.5), (0.3, 0.1), (0.42, 0.1))):
        position, state = np.array([start]), mover.init(goal, key)
        for _ in range(40):
            observation = {"state": position[0].astype(np.float32)}
            if mover.shortfall(observation, goal) < -0.1:
                break
            decision, state = mover.act(observation, state)
            assert decision.mode is Mode.PLAN and goal.predicate in decision.reason
            position = move(layout, position, decision.action[None])
        reached.append(bool(position[0, 0] < 0.44 and position[0, 1] > 0.56))
    assert sum(reached) >= 5, reached


@pytest.mark.lane
def test_it_conforms_and_what_it_cannot_pursue_is_one_clear_error(mover: ForethoughtAgent) -> None:
    observation, goal = {"state": np.array([0.2, 0.3], np.float32)}, ReachPredicate("position.x > 0.5")
    check_agent(mover, observation, goal, mover.spec.action_space)
    options = mover.init(goal).target.options_KD
    assert options is not None and len(options) <= 64 and bool((mover.probe(options)[:, 0] > 0.5).all())
    nowhere = mover.init(ReachPredicate("position.x > 7")).target.options_KD
    assert nowhere is not None and len(nowhere) == 8  # nothing remembered is there: the nearest to true
    with pytest.raises(UsageError, match=r"unknown quantity 'positon\.x'"):
        mover.init(ReachPredicate("positon.x > 0.5"))
    mover.probe = None
    with pytest.raises(UsageError, match="no probe of any: log some beside the sensors"):
        mover.init(goal)


def test_the_benchmark_asks_for_what_it_calls_true() -> None:
    from benchmarks.predicates import make_case

    places = np.random.default_rng(0).random((400, 2))
    for index in range(6):
        case = make_case(index, 0)
        short = read_predicate(case.predicate, ("position[0]", "position[1]")).shortfall(torch.from_numpy(places))
        assert [bool(case.truth(place)) for place in places] == (short < 0).tolist()
        assert not case.truth(case.start_12[0]) and bool((short < 0).any())
