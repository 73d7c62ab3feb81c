"""Costs against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from forethought.costs.combine import Guarded, Sum
from forethought.costs.critic import CriticCost
from forethought.costs.goal import GoalDistance
from forethought.costs.reward import RewardCost
from forethought.errors import UsageError
from forethought.testing import check_cost
from forethought.types import Belief, Rollout, Target

PATHS = torch.tensor([[[[9.0, 3.0], [9.0, 1.0], [9.0, 2.0]], [[9.0, 2.0], [9.0, 2.0], [9.0, 2.0]]]])  # (1, 2, 3, 2)
ROLLOUT = Rollout(Belief(torch.tensor([[9.0, 4.0]]), torch.zeros(1, 0), scene_size=1), PATHS)
ACTIONS = torch.zeros(1, 2, 3, 1)
GOAL = Target(torch.tensor([[-5.0, 1.0]]))  # of another scene: only the state part is the goal


def away(z_ND: Tensor, goal_ND: Tensor) -> Tensor:
    return (z_ND - goal_ND)[:, 1].abs()


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (GoalDistance(), [1.0, 1.0]),
        (GoalDistance(path_weight=3.0), [6.0, 4.0]),
        (GoalDistance(passing=True), [0.0, 1.0]),
        (CriticCost(away, path_weight=0.0), [1.0, 1.0]),
        (CriticCost(away, path_weight=0.5), [2.5, 2.5]),
        (CriticCost(away, path_weight=0.0, passing=True), [0.0, 1.0]),
        (Sum(((2.0, GoalDistance()), (1.0, CriticCost(away, 0.0, True)))), [2.0, 3.0]),
        (RewardCost(lambda z, action: z[:, 1], discount=0.5), [-4.0, -3.5]),
        (RewardCost(lambda z, action: z[:, 1], lambda z: 8 * z[:, 1], discount=0.5), [-6.0, -5.5]),
    ],
)
def test_values(cost, expected: list[float]) -> None:
    assert cost(ROLLOUT, ACTIONS, GOAL)[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    "cost",
    [
        GoalDistance(0.5, 0.5),
        CriticCost(away, 0.2, 0.3),
        RewardCost(lambda z, action: z[:, 0] + action[:, 0], lambda z: z[:, 1]),
        Guarded(GoalDistance(), (lambda rollout, actions, target: rollout.z_BSHD[..., 0].amax(-1),)),
        Guarded(GoalDistance(), ()),
    ],
)
def test_conforms_and_lets_nan_through(cost) -> None:
    check_cost(cost, latent_size=3, action_size=2)
    broken = PATHS.clone()
    broken[0, 1] = math.nan
    value = cost(Rollout(ROLLOUT.start, broken), ACTIONS, GOAL)[0]
    assert math.isfinite(value[0])
    assert math.isnan(value[1])


def test_what_breaks_a_guardrail_ranks_after_all_that_breaks_none() -> None:
    base = torch.tensor([[1e9, 3.0, -1e9, -7.0, 0.0, 5.0, math.inf]])
    excess = torch.tensor([[-1.0, 0.0, 2.0, 1e-4, 1.0, math.nan, -1.0]])
    cost = Guarded(lambda rollout, actions, target: base, (lambda rollout, actions, target: excess,))
    value = cost(ROLLOUT, ACTIONS, GOAL)[0]
    assert value[1] < value[0]
    assert value[[2, 3, 4]].min() > value[[0, 1]].max()
    assert not torch.isfinite(value[5:]).any()


@pytest.mark.parametrize("cost", [GoalDistance(), CriticCost(away)])
def test_a_reward_goal_is_refused(cost) -> None:
    with pytest.raises(UsageError, match="reward goal"):
        cost(ROLLOUT, ACTIONS, Target(None))
