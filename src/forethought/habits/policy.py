"""The habit: a goal-conditioned reflex on latents. It is a proposal that may be executed unsearched."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from forethought.costs.temporal import mlp
from forethought.types import Belief, DiscreteSpace, Space, Target
from forethought.world_model import LatentWorldModel


@final
class Habit(nn.Module):
    """pi(scene, state, goal state) -> action block; continuous actions by tanh, discrete ones as one-hot rows."""

    def __init__(self, latent_size: int, scene_size: int, space: Space, frameskip: int, width: int, depth: int) -> None:
        super().__init__()
        self.scene_size, self.space, self.frameskip = scene_size, space, frameskip
        self.net = mlp((2 * latent_size - scene_size, *[width] * depth, space.size * frameskip))

    def scores(self, z_ND: Tensor, goal_ND: Tensor) -> Tensor:
        """What training sees: pre-tanh means or logits, (N, frameskip * A)."""
        joined = torch.cat([z_ND, goal_ND[..., self.scene_size :]], -1)
        scores: Tensor = self.net(joined)
        return scores

    def forward(self, z_ND: Tensor, goal_ND: Tensor) -> Tensor:
        """Action blocks (N, frameskip * A), inside the space."""
        scores = self.scores(z_ND, goal_ND)
        if not isinstance(self.space, DiscreteSpace):
            return torch.tanh(scores)
        rows = scores.reshape(*scores.shape[:-1], self.frameskip, self.space.size)
        return nn.functional.one_hot(rows.argmax(-1), self.space.size).to(scores.dtype).flatten(-2)

    def loss(self, z_ND: Tensor, goal_ND: Tensor, action_NA: Tensor, weight_N: Tensor) -> Tensor:
        """Weighted regression (continuous) or cross-entropy (discrete) towards logged or imagined actions; scalar."""
        scores = self.scores(z_ND, goal_ND)
        if not isinstance(self.space, DiscreteSpace):
            error = (torch.tanh(scores) - action_NA).square().mean(-1)
        else:
            rows = scores.reshape(*scores.shape[:-1], self.frameskip, self.space.size).log_softmax(-1)
            error = -(rows.flatten(-2) * action_NA).sum(-1) / self.frameskip
        return (error * weight_N).sum() / weight_N.sum().clamp_min(1e-8)


@final
class HabitProposal:
    """Follows the habit through the world model: the sequence it would act out."""

    def __init__(self, habit: Habit, model: LatentWorldModel) -> None:
        self.habit, self.model = habit, model

    def propose(self, belief: Belief, target: Target, num_samples: int, horizon: int, generator: torch.Generator) -> Tensor:
        """The habit's own sequence (1, 1, H, A); it is deterministic, so there is one sample whatever is asked."""
        return self.follow(belief, target, horizon)[0][None, None]

    def follow(self, belief: Belief, target: Target, horizon: int) -> tuple[Tensor, Tensor]:
        """The sequence (H, A), and where it would lead (H, D). Raises ValueError for a reward goal."""
        if target.z_BD is None:
            raise ValueError("a habit needs a goal with a latent; got a reward goal")
        z, memory, actions, path = belief.z_BD, belief.memory_BM, [], []
        with torch.no_grad():
            for _ in range(horizon):
                action = self.habit(z, target.z_BD)
                z, memory = self.model.dynamics.step(z, memory, action)
                actions.append(action[0])
                path.append(z[0])
        return torch.stack(actions), torch.stack(path)
