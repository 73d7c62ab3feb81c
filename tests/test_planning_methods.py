"""Every planner method against optima known exactly: LQR by least squares, a walled grid by brute force."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from forethought.costs.goal import GoalDistance
from forethought.dynamics.residual_mlp import ResidualMLP
from forethought.errors import ContractError, UsageError
from forethought.planning.icem import coloured_noise
from forethought.planning.loop import SearchConfig, search
from forethought.planning.methods import CONTINUOUS, DISCRETE, make_method
from forethought.planning.shooting import RandomShooting
from forethought.testing import check_planner
from forethought.types import Belief, BoxSpace, DiscreteSpace, Rollout, Space, Target

BOX = BoxSpace((-1.0,), (1.0,))
FOUR = DiscreteSpace(4)
MOVES = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]])
METHODS = [(name, BOX) for name in CONTINUOUS] + [(name, FOUR) for name in DISCRETE]


class Linear:
    """Position and speed under a push, z' = A z + B a: the double integrator."""

    a = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    b = torch.tensor([[0.125], [0.5]])

    def observe(self, observation, previous_action_BA=None, belief=None):
        return Belief(observation["z"], observation["z"][:, :0])

    def imagine(self, belief: Belief, actions_BSHA: Tensor) -> Rollout:
        z, latents = belief.z_BD[:, None], []
        for action in actions_BSHA.unbind(2):
            z = z @ self.a.T + action @ self.b.T
            latents.append(z)
        return Rollout(belief, torch.stack(latents, 2))


class Grid:
    """A 5 x 5 grid with a wall across it that has one gap; a move into a wall or off the grid does nothing. Frameskip F."""

    free = torch.ones(5, 5, dtype=torch.bool)
    free[2, :4] = False

    observe = Linear.observe

    def imagine(self, belief: Belief, actions_BSHA: Tensor) -> Rollout:
        batch, samples, horizon, _ = actions_BSHA.shape
        moves = actions_BSHA.reshape(batch, samples, horizon, -1, 4).argmax(-1)
        place, latents = belief.z_BD.long()[:, None].expand(-1, samples, -1), []
        for block in moves.unbind(2):
            for move in block.unbind(-1):
                there = (place + MOVES[move]).clamp(0, 4)
                place = torch.where(self.free[there[..., 0], there[..., 1]][..., None], there, place)
            latents.append(place.float())
        return Rollout(belief, torch.stack(latents, 2))


def start(*numbers: float) -> Belief:
    return Belief(torch.tensor([numbers]), torch.zeros(1, 0))


def regulate(rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
    return rollout.z_BSHD.square().sum((2, 3)) + 0.1 * actions_BSHA.square().sum((2, 3))


def plan(name: str, space: Space = BOX, cost=regulate, *, belief: Belief | None = None, size: int = 0, seed: int = 0, **rest):
    given = {
        "target": Target(torch.tensor([[4.0, 0.0]])),
        "warm_starts": (),
        "num_samples": 300,
        "iterations": 40,
        "horizon": 6,
    }
    given |= rest
    target, warm = given.pop("target"), given.pop("warm_starts")
    model = Grid() if isinstance(space, DiscreteSpace) else Linear()
    first = belief or (start(0.0, 0.0) if isinstance(space, DiscreteSpace) else start(1.0, 0.0))
    return search(
        model, cost, target, first, make_method(name, space), config=SearchConfig(**{"patience": 99} | given), space=space,
        action_size=size or space.size, generator=torch.Generator().manual_seed(seed), warm_starts=warm,
    )  # fmt: skip


def lqr_optimum(belief: Belief, horizon: int) -> tuple[float, Tensor]:
    """The least cost and its actions, from the normal equations of the stacked linear system."""
    zeros = torch.zeros(1, 1, horizon, 1)
    free = Linear().imagine(belief, zeros).z_BSHD.flatten()
    still = Belief(torch.zeros(1, 2), torch.zeros(1, 0))
    columns = [Linear().imagine(still, row.reshape(1, 1, horizon, 1)).z_BSHD.flatten() for row in torch.eye(horizon)]
    effect = torch.stack(columns, 1)
    best = torch.linalg.solve(effect.T @ effect + 0.1 * torch.eye(horizon), -effect.T @ free)
    return float((free + effect @ best).square().sum() + 0.1 * best.square().sum()), best


@pytest.mark.parametrize("name", sorted(CONTINUOUS))
def test_finds_the_lqr_optimum(name: str) -> None:
    begin = start(0.5, 0.0)
    least, actions = lqr_optimum(begin, 6)
    assert actions.abs().max() < 1  # or the box would move the optimum
    found = plan(name, belief=begin)
    assert found.cost >= least - 1e-4
    assert found.cost < least * (1.3 if name == "shooting" else 1.02)


def test_gradient_descent_follows_a_banana() -> None:
    def rosenbrock(rollout: Rollout, actions: Tensor, target: Target) -> Tensor:
        x, y = rollout.z_BSHD[:, :, -1].unbind(-1)
        return (1 - x) ** 2 + 10 * (y - x**2) ** 2

    assert plan("gradient", cost=rosenbrock, belief=start(0.0, 0.0), iterations=150, num_samples=16).cost < 0.01


@pytest.mark.parametrize("name", sorted(DISCRETE))
@pytest.mark.parametrize(("horizon", "frames"), [(8, 1), (4, 2)])
def test_discrete_methods_equal_brute_force(name: str, horizon: int, frames: int) -> None:
    cost = GoalDistance(path_weight=0.1)
    every = torch.tensor(list(itertools.product(range(4), repeat=8)))
    blocks = torch.nn.functional.one_hot(every, 4).float().reshape(1, -1, horizon, 4 * frames)
    goal = Target(torch.tensor([[3.0, 3.0]]))
    begin = start(1.0, 3.0)  # the goal is two steps away through the wall, four round it
    least = float(cost(Grid().imagine(begin, blocks), blocks, goal).min())
    found = plan(name, FOUR, cost, belief=begin, target=goal, horizon=horizon, size=4 * frames)
    assert found.cost == pytest.approx(least, abs=1e-6)
    assert found.predicted_HD[-1].tolist() == [3.0, 3.0]


def test_beam_search_keeps_to_its_samples() -> None:
    found = plan("beam", FOUR, GoalDistance(), num_samples=40, iterations=9, horizon=6)
    assert found.trace.predictor_passes <= 9 * 41 * 6
    narrow = plan("beam", FOUR, GoalDistance(), num_samples=1, iterations=9, horizon=6)
    assert narrow.trace.predictor_passes <= 9 * 5 * 6  # one beam, four actions: the least there is


@pytest.mark.parametrize(("name", "space"), METHODS)
def test_nan_and_infinity_never_win(name: str, space: Space) -> None:
    def poisoned(rollout: Rollout, actions: Tensor, target: Target) -> Tensor:
        value = rollout.z_BSHD.square().sum((2, 3))
        bad = torch.tensor([math.nan, math.inf, -math.inf])[torch.arange(value.shape[1]) % 3]
        return torch.where(actions[:, :, 0, 0] > 0, bad, value)

    found = plan(name, space, poisoned, iterations=8)
    assert math.isfinite(found.cost)
    assert found.actions_HA[0, 0] <= 0
    assert torch.isfinite(found.actions_HA).all()


@pytest.mark.parametrize(("name", "space"), METHODS)
def test_all_nan_or_one_iteration_never_crashes(name: str, space: Space) -> None:
    nothing = plan(name, space, lambda rollout, actions, target: actions.sum((2, 3)) * math.nan, iterations=3)
    assert nothing.trace.stopped == "no candidate had a finite cost"
    assert nothing.actions_HA.shape == (6, space.size)
    once = plan(name, space, deadline_seconds=0.0)
    assert len(once.trace.best_cost) == 1
    assert math.isfinite(once.cost)


@pytest.mark.parametrize(("name", "space"), METHODS)
def test_the_seed_decides(name: str, space: Space) -> None:
    few = {"num_samples": 9, "iterations": 2, "horizon": 7}
    first, second, other = (plan(name, space, seed=seed, **few) for seed in (3, 3, 4))
    assert torch.equal(first.actions_HA, second.actions_HA)
    assert first.trace.best_cost == second.trace.best_cost
    assert not torch.equal(first.actions_HA, other.actions_HA) or first.cost == other.cost


@settings(max_examples=40, deadline=None, database=None)
@given(which=st.sampled_from(METHODS), seed=st.integers(0, 2**31), samples=st.integers(2, 12), iterations=st.integers(1, 4))
def test_never_worse_than_a_warm_start_and_always_legal(which, seed: int, samples: int, iterations: int) -> None:
    name, space = which
    generator = torch.Generator().manual_seed(seed)
    warm = [torch.randn(6, space.size, generator=generator) for _ in range(2)]
    found = plan(name, space, seed=seed, num_samples=samples, iterations=iterations, warm_starts=warm)
    for sequence in warm:
        given = plan(name, space, seed=seed, num_samples=2, iterations=1, warm_starts=[sequence])
        alone = plan(name, space, seed=seed, num_samples=samples, iterations=iterations, warm_starts=[given.actions_HA])
        assert alone.cost <= given.cost
    assert found.actions_HA.abs().max() <= 1
    assert list(found.trace.best_cost) == sorted(found.trace.best_cost, reverse=True)
    if isinstance(space, DiscreteSpace):
        assert sorted(set(found.actions_HA.flatten().tolist())) == [0.0, 1.0]
        assert torch.equal(found.actions_HA.sum(-1), torch.ones(6))


def test_gradient_works_from_beliefs_made_in_inference_mode() -> None:
    torch.manual_seed(0)
    dynamics = ResidualMLP(4, 1, 1, 16).eval()

    class Learned(Linear):
        def imagine(self, belief: Belief, actions_BSHA: Tensor) -> Rollout:
            return Rollout(belief, dynamics.imagine(belief.z_BD, belief.memory_BM, actions_BSHA))

    with torch.inference_mode():
        belief, target = Belief(torch.randn(1, 4), torch.zeros(1, 0), 1), Target(torch.randn(1, 4))
        found = search(
            Learned(), GoalDistance(), target, belief, make_method("gradient", BOX),
            config=SearchConfig(num_samples=4, iterations=9, patience=9), space=BOX, action_size=1,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
    assert found.trace.best_cost[-1] < found.trace.best_cost[0]
    assert not found.actions_HA.requires_grad
    assert all(parameter.grad is None for parameter in dynamics.parameters())


@pytest.mark.parametrize(("name", "space"), METHODS)
def test_conforms(name: str, space: Space) -> None:
    discrete = isinstance(space, DiscreteSpace)
    model, cost = (Grid(), GoalDistance()) if discrete else (Linear(), regulate)
    target = Target(torch.tensor([[4.0, 4.0]]))
    check_planner(make_method(name, space), model, cost, start(1.0, 1.0), target, space, 2 * space.size if discrete else 1)


def test_a_planner_that_is_not_repeatable_is_caught() -> None:
    class Restless(RandomShooting):  # type: ignore[misc]
        def sample(self, search, num_samples, generator):
            return torch.rand(num_samples, *search.mean_HA.shape)

    with pytest.raises(ContractError, match="two different plans"):
        check_planner(Restless(), Linear(), regulate, start(1.0, 1.0), Target(None), BOX, 1)


def test_gradient_says_when_the_cost_has_none() -> None:
    with pytest.raises(UsageError, match="needs a gradient"):
        plan("gradient", cost=lambda rollout, actions, target: regulate(rollout, actions, target).detach())


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(UsageError, match=r"warm start has shape \(3, 1\), expected .* \(6, 1\)"):
        plan("cem", warm_starts=[torch.zeros(3, 1)])
    with pytest.raises(ContractError, match=r"cost returned shape \(1, 300, 6\), expected"):
        plan("cem", cost=lambda rollout, actions, target: actions.sum(-1))
    with pytest.raises(UsageError, match="for discrete actions"):
        make_method("beam", BOX)


def test_a_plan_does_not_keep_all_candidates_alive() -> None:
    found = plan("cem")
    assert found.predicted_HD.untyped_storage().nbytes() == 6 * 2 * 4
    assert found.actions_HA.untyped_storage().nbytes() == 6 * 4


@pytest.mark.parametrize("horizon", [1, 5, 6, 16])
def test_coloured_noise_has_unit_variance_and_colour(horizon: int) -> None:
    noise = coloured_noise(20000, horizon, 2, 1.5, torch.Generator().manual_seed(0))
    assert noise.shape == (20000, horizon, 2)
    assert torch.allclose(noise.std((0, 2)), torch.ones(horizon), atol=0.05)
    if horizon > 2:
        assert (noise[:, 1:] * noise[:, :-1]).mean() > 0.15  # white: 0.00 +- 0.01


def test_the_page_on_planners_runs_and_names_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parent.parent / "docs" / "choosing-a-planner.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(block, "choosing-a-planner.md", "exec"), {"__name__": "page"})
    assert "0.6" in capsys.readouterr().out
    for name in {*CONTINUOUS, *DISCRETE} - {"categorical-cem"}:
        assert f"`{name}`" in page, name


def test_the_page_shows_the_figures_in_scores() -> None:
    root = Path(__file__).parent.parent
    page = (root / "docs" / "choosing-a-planner.md").read_text(encoding="utf-8")
    points = json.loads((root / "scores" / "planner_curves.json").read_text(encoding="utf-8"))["points"]
    for point in points:
        assert f"{100 * point['excess_median']:.1f} ({100 * point['excess_p90']:.1f})" in page, point


def test_the_page_shows_success_or_says_that_it_is_not_measured() -> None:
    root = Path(__file__).parent.parent
    page = (root / "docs" / "choosing-a-planner.md").read_text(encoding="utf-8")
    scores = root / "scores" / "planner_success.json"
    assert ("Not measured yet" in page) is not scores.is_file()
    for row in json.loads(scores.read_text(encoding="utf-8"))["rows"] if scores.is_file() else []:
        assert f"{100 * row['success']['share']:.1f} ({100 * row['hard']['share']:.1f})" in page, row
