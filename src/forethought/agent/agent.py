"""Forethought's own agent: observe, then follow the habit, keep the plan, or search."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
import torch
from torch import Tensor

from forethought.agent.aim import aim_now, options_for, shortfall
from forethought.config import Between, OneOf
from forethought.costs.cost import Cost
from forethought.errors import UsageError
from forethought.habits.policy import Habit, HabitProposal
from forethought.perception.probe import Probe
from forethought.planning.loop import SearchConfig, search
from forethought.planning.methods import CONTINUOUS, DISCRETE, make_method
from forethought.types import (
    Array,
    Belief,
    Decision,
    Effort,
    ExperienceSpec,
    Goal,
    Mode,
    Observation,
    Plan,
    ReachObservation,
    ReachPredicate,
    SensorKind,
    State,
    Target,
)
from forethought.world_model import LatentWorldModel


@final
@dataclass(frozen=True)
class AgentConfig:
    """How the agent thinks. `mode`: "plan" searches at every block, "habit" never does. `cost`: "critic" or "latent", a plan's
    last distance (`passing`: its least, for goals that need only be passed) and by `path_weight` the mean of those on the way.

    `warm_start`: the habit's way and the old plan compete with every search. It saves samples where both can be trusted; where
    they are wrong in one place (a door's edge), they win the same search again and again, so it is off until asked for.
    `hold_noise`: CEM tries one action through a block, not another in every frame of it.
    """

    mode: Annotated[str, OneOf("mode", ("plan", "habit"))] = "plan"
    cost: Annotated[str, OneOf("cost", ("critic", "latent"))] = "critic"
    method: Annotated[str, OneOf("planner", {**CONTINUOUS, **DISCRETE})] = "cem"
    search: SearchConfig = dataclasses.field(default_factory=SearchConfig)
    warm_start: bool = False
    hold_noise: bool = False
    path_weight: Annotated[float, Between(0.0)] = 0.0
    passing: bool = False


@final
class ForethoughtAgent:
    """Plans through a latent world model on a learned cost, warm-started by habit and by its old plan."""

    def __init__(
        self,
        model: LatentWorldModel,
        cost: Cost,
        habit: Habit,
        spec: ExperienceSpec,
        frameskip: int,
        config: AgentConfig,
        probe: Probe | None = None,
    ) -> None:
        self.model, self.cost, self.habit, self.spec, self.probe = model, cost, habit, spec, probe
        self.frameskip, self.config = frameskip, config
        self.proposal = HabitProposal(habit, model)
        self.method = make_method(config.method, spec.action_space, held_frames=frameskip if config.hold_noise else 1)
        self.device = next(model.parameters()).device

    def init(self, goal: Goal, key: int = 0) -> State:
        """Encode the goal; raises UsageError for goals this agent cannot pursue."""
        if isinstance(goal, ReachPredicate):
            return State(goal, options_for(goal, self.probe), key)
        if not isinstance(goal, ReachObservation):
            raise UsageError(
                f"this agent pursues ReachObservation and ReachPredicate goals; got {type(goal).__name__}. "
                "Give an observation to reach, or a predicate to make true"
            )
        with torch.inference_mode():
            z_BD = self.model.encode(self._tensors(goal.observation))
        return State(goal, Target(z_BD, goal), key)

    def shortfall(self, observation: Observation, goal: ReachPredicate) -> float:
        """How far a predicate is from true here, in deviations of its quantities; below 0 it holds, says the probe."""
        with torch.inference_mode():
            return shortfall(goal, self.probe, self.model.encode(self._tensors(observation)))

    def act(self, observation: Observation, state: State) -> tuple[Decision, State]:
        if state.pending:
            return self._continue(state)
        started, cpu = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            belief = self._observe(observation, state)
            block_HA, plan, mode, reason, passes = self._choose(belief, state)
            frames = self._frames(block_HA[0])
        effort = Effort(passes, int(mode is Mode.PLAN), time.perf_counter() - started, time.process_time() - cpu)
        decision = Decision(self.spec.action_space.decode(frames[0]), mode, reason, effort, plan=plan)
        after = dataclasses.replace(
            state,
            step=state.step + 1,
            belief=belief,
            plan=plan,
            plan_step=1,
            pending=frames[1:],
            taken=(np.concatenate(frames),),
        )
        return decision, after

    def _continue(self, state: State) -> tuple[Decision, State]:
        action = self.spec.action_space.decode(state.pending[0])
        decision = Decision(action, Mode.CONTINUE, "the block under way is not finished", Effort(), plan=state.plan)
        return decision, dataclasses.replace(state, step=state.step + 1, pending=state.pending[1:])

    def _observe(self, observation: Observation, state: State) -> Belief:
        previous = torch.as_tensor(state.taken[0][None], device=self.device) if state.taken else None
        return self.model.observe(self._tensors(observation), previous, state.belief)

    def _choose(self, belief: Belief, state: State) -> tuple[Tensor, Plan | None, Mode, str, int]:
        generator = torch.Generator().manual_seed(stream(state.key, state.step))
        horizon = self.config.search.horizon
        aim = aim_now(belief, state.target, self.cost, self.probe, horizon)
        if self.config.mode == "habit":
            habit_HA = self.proposal.propose(belief, aim.target, 1, 1, generator)[0, 0]
            return habit_HA, None, Mode.HABIT, f"habit only, as configured{aim.why}", 1
        warm = [self.proposal.propose(belief, aim.target, 1, horizon, generator)[0, 0]] if self.config.warm_start else []
        if state.plan is not None and self.config.warm_start:
            old_HA = state.plan.actions_HA
            warm.append(torch.cat([old_HA[1:], old_HA[-1:]]))
        plan = search(
            self.model, aim.cost, aim.target, belief, self.method, config=self.config.search,
            space=self.spec.action_space, action_size=self.frameskip * self.spec.action_space.size,
            generator=generator, warm_starts=tuple(warm),
        )  # fmt: skip
        passes = plan.trace.predictor_passes + horizon * len(warm[:1])
        return plan.actions_HA, plan, Mode.PLAN, f"searched {passes} imagined steps; {plan.trace.stopped}{aim.why}", passes

    def _frames(self, block_A: Tensor) -> tuple[Array, ...]:
        rows = block_A.detach().cpu().numpy().reshape(self.frameskip, -1)
        return tuple(np.array(row) for row in rows)

    def _tensors(self, observation: Observation) -> dict[str, Tensor]:
        return {
            s.name: torch.as_tensor(_reading(observation, s.name, s.shape, s.kind)[None], device=self.device)
            for s in self.spec.sensors
        }


def _reading(observation: Observation, name: str, shape: tuple[int, ...], kind: SensorKind) -> Array:
    if name not in observation:
        raise UsageError(
            f"the observation lacks sensor '{name}'; got {sorted(observation)}; give every sensor the model was trained on"
        )
    value = np.ascontiguousarray(observation[name])
    if value.shape != shape:
        raise UsageError(f"sensor '{name}' has shape {value.shape}, expected {shape}; resize it as the log's was")
    return value.astype(np.float32) if kind is SensorKind.VECTOR else value


def stream(key: int, step: int) -> int:
    """Seed of one decision's random stream: a hash of the episode's key and the step (63 bits)."""
    return int.from_bytes(hashlib.blake2b(f"{key}/{step}".encode(), digest_size=8).digest(), "big") >> 1
