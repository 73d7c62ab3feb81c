"""A way round: where guardrails bar the habit's way to the goal, remembered places become a map of what is allowed.

The critic knows nothing of guardrails, and a search sees a few blocks ahead: without this the agent stands before what it may
not enter, as near to the goal as it can be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from forethought.agent.aim import Aim
from forethought.agent.guard import Guard
from forethought.costs.cost import Cost
from forethought.habits.policy import HabitProposal
from forethought.types import Belief, Roadmap, Rollout, Target
from forethought.world_model import copy_scene

AHEAD, PLACES, SETTLE, LEG, ARRIVED = 14, 200, 8, 8, 0.3
RANKS = (0, 1, 2, 3, 4, 6, 9, 13, 18, 24, 31, 39)
"""Blocks that the way to the goal is looked at; places of a map; blocks in which they settle (`training/alike.py`); blocks
that a leg may take; a leg arrives where that share of its way is left; and which of the others are its neighbours."""


@final
@dataclass(frozen=True)
class Detours:
    """Looks for ways round, with the margins of `horizon` blocks ahead."""

    guard: Guard
    proposal: HabitProposal
    cost: Cost
    remembered_MD: Tensor
    horizon: int

    def around(self, belief: Belief, aim: Aim, roadmap: Roadmap | None) -> tuple[Aim, Roadmap | None, int]:
        """The aim, or one at a place on a way round; the map once there is one; and passes through the predictor."""
        goal_BD = aim.target.z_BD
        if goal_BD is None or not self.guard.rails or self.guard.outside(goal_BD):
            return aim, None, 0
        passes = 0
        if roadmap is None or roadmap.goal is not goal_BD:
            passes = AHEAD
            if not bool(self._barred(belief.z_BD, self._follow(belief, goal_BD, AHEAD)).any()):
                return aim, None, passes
            roadmap = self._survey(belief, goal_BD)
            passes += len(RANKS) * LEG * len(roadmap.places_KD)
        roadmap = self._onward(belief, roadmap)
        passes += LEG * (len(RANKS) + 2)
        if roadmap.heading is None:
            return aim, roadmap, passes
        why = f"{aim.why}; by a way round, as a guardrail bars the habit's way"
        place_BD = roadmap.places_KD[roadmap.heading][None]
        return Aim(replace(aim.target, z_BD=place_BD), self.cost, why), roadmap, passes

    def _survey(self, belief: Belief, goal_BD: Tensor) -> Roadmap:
        """Allowed places of this scene, the goal first, and the blocks from each to the goal by free legs."""
        places_KD = self._settled(belief)
        goal = copy_scene(belief.z_BD, goal_BD, belief.scene_size)
        places_KD = torch.cat([goal, places_KD[self.guard.allowed(places_KD)]])
        count = len(places_KD)
        left_KK = self._left(places_KD.repeat_interleave(count, 0), places_KD.repeat(count, 1)).reshape(count, count)
        left_KK.fill_diagonal_(torch.inf)
        pairs_KK = torch.zeros_like(left_KK, dtype=torch.bool)
        pairs_KK.scatter_(1, self._neighbours(left_KK), True)
        pairs_KK[self._neighbours(left_KK[:, 0]), 0] = True
        start, end = pairs_KK.nonzero(as_tuple=True)
        memory = self.proposal.model.dynamics.initial_memory(places_KD[start])
        legs_KK = torch.full_like(left_KK, torch.inf)
        legs_KK[start, end] = self._legs(Belief(places_KD[start], memory, belief.scene_size), places_KD[end])[0]
        blocks_K = torch.full((count,), torch.inf, device=goal_BD.device)
        blocks_K[0] = 0.0
        for _ in range(count):
            shorter_K = torch.minimum(blocks_K, (legs_KK + blocks_K).amin(1))
            if torch.equal(shorter_K, blocks_K):
                break
            blocks_K = shorter_K
        return Roadmap(goal_BD, places_KD, blocks_K)

    def _settled(self, belief: Belief) -> Tensor:
        """States that were seen in scenes like this one, led out of its walls by some blocks of standing still."""
        scene = belief.scene_size
        unlike_M = (self.remembered_MD[:, :scene] - belief.z_BD[:, :scene]).square().sum(-1)
        places_KD = self.remembered_MD[unlike_M.argsort(stable=True)[:PLACES]]
        z, model = copy_scene(belief.z_BD.expand(len(places_KD), -1), places_KD, scene), self.proposal.model.dynamics
        memory, still = model.initial_memory(z), z.new_zeros(len(z), model.action_size)
        for _ in range(SETTLE if scene else 0):
            z, memory = model.step(z, memory, still)
        return z

    def _onward(self, belief: Belief, roadmap: Roadmap) -> Roadmap:
        """Head for the farthest place on a shortest way from here; not back, while the way to the last one is good."""
        places_KD, blocks_K = roadmap.places_KD, roadmap.blocks_K
        left_K = self._left(belief.z_BD.expand_as(places_KD), places_KD)
        heading = roadmap.heading or 0
        near = torch.cat([torch.tensor([0, heading], device=left_K.device), self._neighbours(left_K)])
        here = Belief(belief.z_BD.expand(len(near), -1), belief.memory_BM.expand(len(near), -1), belief.scene_size)
        legs, barred = self._legs(here, places_KD[near])
        total = legs + blocks_K[near]
        keep = roadmap.heading is not None and bool(legs[1].isfinite() | ((near[1] == 0) & ~barred[1]))
        if keep:
            total = torch.where(blocks_K[near] <= blocks_K[heading], total, torch.inf)
        if not bool(total.isfinite().any()):
            return roadmap if keep else replace(roadmap, heading=None)
        best = torch.where(total <= total.amin() + 1.0, blocks_K[near], torch.inf).argmin()
        return replace(roadmap, heading=int(near[best]))

    def _legs(self, belief: Belief, place_KD: Tensor) -> tuple[Tensor, Tensor]:
        """Blocks (K,) that the habit's way takes to each place, infinite where it is barred or does not arrive; and whether it
        is barred before it arrives, or comes as near as it will.
        """
        way_KLD = self._follow(belief, place_KD, LEG)
        left_KL = torch.stack([self._left(z_KD, place_KD) for z_KD in way_KLD.unbind(1)], 1)
        base_K = self._left(place_KD, place_KD)  # what a critic says of no way at all
        enough_K = base_K + ARRIVED * (self._left(belief.z_BD, place_KD) - base_K)
        there_KL = left_KL <= enough_K[:, None]
        came_K = torch.where(there_KL.any(1), there_KL.int().argmax(1), left_KL.argmin(1))  # the first block that arrives
        before_KL = torch.arange(LEG, device=came_K.device) <= came_K[:, None]
        barred_K = (self._barred(belief.z_BD, way_KLD) & before_KL).any(1)
        return torch.where(there_KL.any(1) & ~barred_K, came_K + 1.0, torch.inf), barred_K

    @staticmethod
    def _neighbours(left: Tensor) -> Tensor:
        """The nearest, and ever fewer of those farther off, by what is left to each (..., K)."""
        ranks = [rank for rank in RANKS if rank < left.shape[-1] - 1]
        return left.argsort(stable=True)[..., ranks]

    def _follow(self, belief: Belief, goal_KD: Tensor, blocks: int) -> Tensor:
        """Where the habit would go, (K, blocks, D)."""
        z, memory, path = belief.z_BD, belief.memory_BM, []
        with torch.no_grad():
            for _ in range(blocks):
                z, memory = self.proposal.model.dynamics.step(z, memory, self.proposal.habit(z, goal_KD))
                path.append(z)
        return torch.stack(path, 1)

    def _barred(self, start_KD: Tensor, path_KLD: Tensor) -> Tensor:
        """Which blocks of each way break a guardrail, (K, L)."""
        return torch.stack([~(rail.looking(start_KD, path_KLD, self.horizon) <= 0) for rail in self.guard.rails]).any(0)

    def _left(self, z_KD: Tensor, goal_KD: Tensor) -> Tensor:
        """What is left of the way from each to its goal, (K,)."""
        stay = Rollout(Belief(z_KD, z_KD[:, :0], 0), z_KD[:, None, None])
        return self.cost(stay, z_KD[:, None, None, :0], Target(goal_KD))[:, 0]
