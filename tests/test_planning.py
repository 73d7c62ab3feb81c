"""Planner methods find known optima; NaN loses; a batch is its members, to the bit."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from forethought.costs.combine import Guarded, Sum
from forethought.costs.critic import CriticCost
from forethought.costs.goal import GoalDistance
from forethought.dynamics.residual_mlp import ResidualMLP
from forethought.errors import UsageError
from forethought.planning.loop import SearchConfig, legalise, search, search_batch
from forethought.planning.methods import CONTINUOUS, make_method
from forethought.testing import check_cost, check_planner
from forethought.types import Belief, BoxSpace, DiscreteSpace, Rollout, Target

BOX = BoxSpace((-1.0, -1.0), (1.0, 1.0))


class Integrator:
    """z' = z + 0.5 a: the simplest world with a known optimum."""

    def observe(self, observation, previous_action_BA=None, belief=None):
        return Belief(observation["z"], observation["z"][:, :0])

    def imagine(self, belief: Belief, actions_BSHA: Tensor) -> Rollout:
        return Rollout(belief, belief.z_BD[:, None, None] + 0.5 * actions_BSHA.cumsum(2))


class DoubleIntegrator(Integrator):
    """Position and speed; the action is a push. A = 1."""

    def imagine(self, belief: Belief, actions_BSHA: Tensor) -> Rollout:
        speed = belief.z_BD[:, None, None, 1:] + 0.5 * actions_BSHA.cumsum(2)
        position = belief.z_BD[:, None, None, :1] + 0.5 * speed.cumsum(2)
        return Rollout(belief, torch.cat([position, speed], -1))


def start(*numbers: float) -> Belief:
    return Belief(torch.tensor([numbers]), torch.zeros(1, 0))


def plan(
    method,
    cost,
    model=None,
    space=BOX,
    size=2,
    horizon=3,
    seed=0,
    belief=None,
    target=None,
    samples=200,
    iterations=12,
    **rest,
):
    return search(
        model or Integrator(), cost, target or Target(torch.tensor([[0.6, -0.3]])), belief or start(0.0, 0.0), method,
        config=SearchConfig(num_samples=samples, iterations=iterations, horizon=horizon, patience=99), space=space,
        action_size=size, generator=torch.Generator().manual_seed(seed), **rest,
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(CONTINUOUS))
def test_finds_the_optimum_of_a_quadratic(name: str) -> None:
    found = plan(make_method(name, BOX), GoalDistance())
    assert found.cost < (0.03 if name == "shooting" else 2e-3)
    reached = found.predicted_HD[-1]
    assert torch.allclose(reached, torch.tensor([0.6, -0.3]), atol=0.2 if name == "shooting" else 0.06)


@pytest.mark.parametrize("name", ["cem", "icem", "mppi"])
def test_follows_a_banana(name: str) -> None:
    def rosenbrock(rollout: Rollout, actions: Tensor, target: Target) -> Tensor:
        x, y = rollout.z_BSHD[:, :, -1].unbind(-1)
        return (1 - x) ** 2 + 10 * (y - x**2) ** 2

    found = plan(make_method(name, BOX), rosenbrock, iterations=40, samples=400)
    assert found.cost < 0.05  # the optimum is 0 at (1, 1); the start costs 1


@pytest.mark.parametrize("name", ["cem", "icem", "mppi"])
def test_stops_a_double_integrator_at_the_goal(name: str) -> None:
    space = BoxSpace((-1.0,), (1.0,))
    found = plan(
        make_method(name, space), GoalDistance(), DoubleIntegrator(), space, 1, 5, belief=start(0.0, 0.0),
        target=Target(torch.tensor([[0.5, 0.0]])), iterations=30, samples=400,
    )  # fmt: skip
    # Five pushes of at most 1: the best is to push, coast and brake; at rest at 0.5 is within reach, so the optimum is 0.
    assert found.cost < 0.01


def test_categorical_cem_equals_brute_force() -> None:
    space = DiscreteSpace(4)
    moves = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])

    class Grid(Integrator):
        def imagine(self, belief: Belief, actions_BSHA: Tensor) -> Rollout:
            return Rollout(belief, belief.z_BD[:, None, None] + (actions_BSHA @ moves).cumsum(2))

    found = plan(make_method("cem", space), GoalDistance(), Grid(), space, 4, 4, target=Target(torch.tensor([[2.0, -2.0]])))
    assert found.cost == 0.0
    assert torch.equal(found.actions_HA.sum(-1), torch.ones(4))


@pytest.mark.parametrize("name", sorted(CONTINUOUS))
def test_conforms(name: str) -> None:
    check_planner(make_method(name, BOX), Integrator(), GoalDistance(), start(0.1, 0.2), Target(torch.ones(1, 2)), BOX, 2)


def test_nothing_finite_gives_the_warm_start_and_says_so() -> None:
    nan = lambda rollout, actions, target: torch.full(actions.shape[:2], math.nan)  # noqa: E731
    warm = torch.full((3, 2), 0.25)
    found = plan(make_method("cem", BOX), nan, warm_starts=(warm,))
    assert torch.equal(found.actions_HA, warm)
    assert found.trace.stopped == "no candidate had a finite cost"
    assert found.cost == math.inf


def test_a_passed_deadline_still_gives_one_iteration() -> None:
    found = search(
        Integrator(), GoalDistance(), Target(torch.ones(1, 2)), start(0.0, 0.0), make_method("cem", BOX),
        config=SearchConfig(iterations=50, deadline_seconds=0.0), space=BOX, action_size=2, generator=torch.Generator(),
    )  # fmt: skip
    assert len(found.trace.best_cost) == 1
    assert found.trace.stopped == "deadline"


def test_stops_when_search_no_longer_pays() -> None:
    flat = lambda rollout, actions, target: torch.ones(actions.shape[:2])  # noqa: E731
    found = search(
        Integrator(), flat, Target(torch.ones(1, 2)), start(0.0, 0.0), make_method("cem", BOX),
        config=SearchConfig(iterations=50, patience=2), space=BOX, action_size=2, generator=torch.Generator(),
    )  # fmt: skip
    assert len(found.trace.best_cost) == 3
    assert found.trace.predictor_passes == 5 * (32 + 33 + 33)


def test_a_batch_of_sixteen_equals_one_by_one_to_the_bit() -> None:
    torch.manual_seed(0)
    dynamics = ResidualMLP(6, 2, 2, 32).eval()

    class Learned(Integrator):
        def imagine(self, belief: Belief, actions_BSHA: Tensor) -> Rollout:
            return Rollout(belief, dynamics.imagine(belief.z_BD, belief.memory_BM, actions_BSHA))

    beliefs = [Belief(torch.randn(1, 6), torch.zeros(1, 0), 2) for _ in range(16)]
    targets = [Target(torch.randn(1, 6)) for _ in range(16)]
    options = {"config": SearchConfig(), "space": BOX, "action_size": 2}
    together = search_batch(
        Learned(), GoalDistance(), targets, beliefs, make_method("icem", BOX),
        generators=[torch.Generator().manual_seed(i) for i in range(16)], **options,
    )  # fmt: skip
    for index in reversed(range(16)):
        generator = torch.Generator().manual_seed(index)
        alone = search(
            Learned(), GoalDistance(), targets[index], beliefs[index], make_method("icem", BOX), generator=generator, **options
        )
        assert torch.equal(alone.actions_HA, together[index].actions_HA)
        assert alone.cost == together[index].cost


@settings(max_examples=25, deadline=None, database=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 100))
def test_bounds_hold_whatever_is_sampled(seed: int, scale: float) -> None:
    wild = torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(seed)) * scale
    assert legalise(wild, BOX).abs().max() <= 1
    one_hot = legalise(wild, DiscreteSpace(3)).reshape(4, 3, 2, 3)
    assert torch.equal(one_hot.sum(-1), torch.ones(4, 3, 2))


def test_costs_conform_add_and_guard() -> None:
    critic = CriticCost(lambda z, goal: (z - goal).norm(dim=-1))
    for cost in (GoalDistance(0.5), critic, Sum(((1.0, GoalDistance()), (0.5, critic)))):
        check_cost(cost, latent_size=5, action_size=2, scene_size=1)
    rail = lambda rollout, actions, target: rollout.z_BSHD[..., 0].amax(-1) - 0.1  # noqa: E731
    check_cost(Guarded(GoalDistance(), (rail,)), 5, 2)
    found = plan(make_method("cem", BOX), Guarded(GoalDistance(), (rail,)))
    assert found.predicted_HD[:, 0].max() <= 0.1


def test_unknown_and_unfit_planners_are_named() -> None:
    with pytest.raises(UsageError, match="Did you mean 'icem'"):
        make_method("icemm", BOX)
    with pytest.raises(UsageError, match="continuous actions"):
        make_method("mppi", DiscreteSpace(3))
    with pytest.raises(UsageError, match="reward goal"):
        GoalDistance()(Rollout(start(0.0), torch.zeros(1, 1, 1, 1)), torch.zeros(1, 1, 1, 1), Target(None))


def test_held_noise_is_one_draw_a_block_and_goes_farther() -> None:
    from forethought.planning.gaussian import Gaussian, draw

    search_, generator = Gaussian(torch.zeros(3, 10), torch.ones(3, 10)), torch.Generator().manual_seed(0)
    held, white = draw(search_, 400, generator, 5), draw(search_, 400, generator)
    frames = held.view(400, 3, 5, 2)
    assert torch.equal(frames, frames[:, :, :1].expand_as(frames))
    assert held.view(400, 3, 5, 2).sum(2).std() > 2 * white.view(400, 3, 5, 2).sum(2).std()
    planned = make_method("cem", BOX, held_frames=5).sample(search_, 4, generator)
    assert torch.equal(planned[..., :2], planned[..., 2:4])
