"""Forethought's own agent: observe, then follow the habit, keep the plan, or search."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
import torch
from torch import Tensor

from forethought.agent import meter
from forethought.agent.aim import Aim, aim_now, options_for, shortfall
from forethought.agent.detour import Detours
from forethought.agent.energy import Gauge, Stopwatch
from forethought.agent.guard import Guard
from forethought.agent.incoming import carried, finite, of_goal, readings, sound, unforetold
from forethought.agent.ladder import Choice, Habits, Trust, as_plan, choose
from forethought.config import Between, OneOf
from forethought.costs.cost import Cost
from forethought.costs.guardrail import Guardrail, rails_for
from forethought.errors import UsageError
from forethought.habits.policy import Habit, HabitProposal
from forethought.habits.recall import Recall
from forethought.memory.episodic import Episodic
from forethought.perception.probe import Probe
from forethought.planning.loop import SearchConfig, search
from forethought.planning.methods import CONTINUOUS, DISCRETE, make_method
from forethought.planning.proposal import GradientMethod
from forethought.surprise.monitor import Monitor
from forethought.types import (
    Array,
    Belief,
    Decision,
    DiscreteSpace,
    Effort,
    Expectation,
    ExperienceSpec,
    Goal,
    Mode,
    Observation,
    Plan,
    ReachObservation,
    ReachPredicate,
    State,
    Surprise,
    Target,
)
from forethought.world_model import LatentWorldModel

LITTLE = 0.1
"""Of what a search without guardrails would gain: towards a goal outside them, a plan that gains less is not worth a move."""


@final
@dataclass(frozen=True)
class AgentConfig:
    """How the agent thinks. `mode`: "plan" searches at every block, "habit" never does, "ladder" takes the cheapest rung that
    will do (`agent/ladder.py`). `cost`: "critic" or "latent", a plan's
    last distance (`passing`: its least, for goals that need only be passed) and by `path_weight` the mean of those on the way.

    `warm_start`: the habit's way and the old plan compete with every search. It saves samples where both can be trusted; where
    they are wrong in one place (a door's edge), they win the same search again and again, so it is off until asked for.
    `hold_noise`: CEM tries one action through a block, not another in every frame of it.
    `guardrails`: what must hold all along; a way that breaks one is not taken, and where no other is found the agent stops.
    """

    mode: Annotated[str, OneOf("mode", ("plan", "habit", "ladder"))] = "plan"
    cost: Annotated[str, OneOf("cost", ("critic", "latent"))] = "critic"
    method: Annotated[str, OneOf("planner", {**CONTINUOUS, **DISCRETE})] = "cem"
    search: SearchConfig = dataclasses.field(default_factory=SearchConfig)
    warm_start: bool = False
    hold_noise: bool = False
    path_weight: Annotated[float, Between(0.0)] = 0.0
    passing: bool = False
    guardrails: tuple[Guardrail, ...] = ()


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
        monitor: Monitor | None = None,
        trust: Trust | None = None,
    ) -> None:
        self.model, self.cost, self.habit, self.spec, self.probe = model, cost, habit, spec, probe
        self.monitor, self.trust, self.memory = monitor, trust, Episodic()
        self.frameskip, self.config = frameskip, config
        self.guard = Guard(rails_for(config.guardrails, probe, config.search.horizon))
        self.proposal = HabitProposal(habit, model)
        places_MD = torch.zeros(0) if probe is None else probe.remembered_MD
        self.detours = Detours(self.guard, self.proposal, cost, places_MD, config.search.horizon)
        recall = None if monitor is None else Recall(self.memory, model, monitor.signals.spread_D)
        self.habits = Habits(self.proposal, recall)
        self.method = make_method(config.method, spec.action_space, held_frames=frameskip if config.hold_noise else 1)
        self.device = next(model.parameters()).device
        self.gauge = Gauge.find(self.device)

    def init(self, goal: Goal, key: int = 0) -> State:
        """Encode the goal; raises UsageError for goals this agent cannot pursue."""
        expectation = None if self.monitor is None else self.monitor.begin(self.model)
        return State(goal, self._target(goal), key, known=len(self.memory), expectation=expectation)

    def redirect(self, state: State, goal: Goal) -> State:
        """Another goal in the middle of an episode: what is believed and expected stays. Raises UsageError as `init`."""
        return dataclasses.replace(state, goal=goal, target=self._target(goal), plan=None, plan_step=0)

    def _target(self, goal: Goal) -> Target:
        if isinstance(goal, ReachPredicate):
            return options_for(goal, self.probe, self.guard)
        if not isinstance(goal, ReachObservation):
            raise UsageError(
                f"this agent pursues ReachObservation and ReachPredicate goals; got {type(goal).__name__}. "
                "Give an observation to reach, or a predicate to make true"
            )
        seen = readings(self.spec.sensors, goal.observation)
        with torch.inference_mode():
            z_BD = self.model.encode(self._tensors(seen))
        return Target(z_BD, goal, strange=of_goal(self.monitor, z_BD, seen))

    def shortfall(self, observation: Observation, goal: ReachPredicate) -> float:
        """How far a predicate is from true here, in deviations of its quantities; below 0 it holds, says the probe."""
        with torch.inference_mode():
            return shortfall(goal, self.probe, self.model.encode(self._tensors(readings(self.spec.sensors, observation))))

    def act(self, observation: Observation, state: State) -> tuple[Decision, State]:
        if state.pending:
            return self._continue(state)
        watch = Stopwatch(self.gauge)
        try:
            seen = readings(self.spec.sensors, observation)
        except UsageError as error:
            return self._blind(state, f"stopped, as nothing can be made of what is seen: {error}", watch)
        with torch.inference_mode():
            belief = self.believe(seen, state)
            if not finite(belief.z_BD, belief.memory_BM):
                return self._blind(state, "stopped: the model makes no finite latent of what is seen", watch)
            surprise, expectation = self._compare(seen, belief, state)
            found = self._choose(belief, dataclasses.replace(state, expectation=expectation), surprise)
            chosen = sound(found)
            frames = self._frames(chosen)
            expectation = self._expect(expectation, belief, torch.as_tensor(np.concatenate(frames), device=self.device))
        passes = chosen.passes + (0 if surprise is None else surprise.passes)
        flops = chosen.flops + self._flops(state, surprise)
        searched = int(found.searched)
        effort = dataclasses.replace(watch.lap(), predictor_passes=passes, planner_calls=searched, flops=flops)
        action, strange = self.spec.action_space.decode(frames[0]), state.target.strange
        reason = f"{chosen.reason}; {strange}" if strange else chosen.reason
        decision = Decision(action, chosen.mode, reason, effort, surprise, chosen.plan)
        after = dataclasses.replace(
            state,
            step=state.step + 1,
            belief=belief,
            plan=chosen.plan,
            plan_step=chosen.step,
            pending=frames[1:],
            taken=(np.concatenate(frames),),
            expectation=expectation,
            roadmap=chosen.roadmap,
        )
        return decision, after

    def _blind(self, state: State, why: str, watch: Stopwatch) -> tuple[Decision, State]:
        """The safe action for a block, without looking (the rule is in `agent/incoming.py`)."""
        frames = self._frames(Choice(None, 0, Mode.STOP, why))
        block, belief, expectation = np.concatenate(frames), state.belief, state.expectation
        if belief is not None and state.taken:
            with torch.inference_mode():
                belief = carried(self.model.dynamics, belief, torch.as_tensor(state.taken[0], device=self.device))
        if self.monitor is not None and expectation is not None:
            expectation = unforetold(self.monitor, expectation, torch.as_tensor(block, device=self.device))
        passes = int(belief is not None)
        flops = passes * meter.of(self.model.dynamics)
        effort = dataclasses.replace(watch.lap(), predictor_passes=passes, flops=flops)
        after = dataclasses.replace(
            state,
            step=state.step + 1,
            belief=belief,
            plan=None,
            plan_step=0,
            pending=frames[1:],
            taken=() if belief is None else (block,),
            expectation=expectation,
        )
        return Decision(self.spec.action_space.decode(frames[0]), Mode.STOP, why, effort), after

    def _flops(self, state: State, surprise: Surprise | None) -> int:
        """Of all but the choice itself: observing, aiming, comparing and expecting."""
        dynamics = self.model.dynamics
        flops = meter.of(self.model.encoder) + (meter.filtered(dynamics) if state.taken else 0)
        if state.target.options_KD is not None:
            flops += meter.aimed(self.cost, self.probe, len(state.target.options_KD))
        if self.monitor is None or surprise is None or state.expectation is None:
            return flops
        asked = surprise.passes - len(state.expectation.ghosts_GD)  # and one expects the next
        return flops + meter.watched(self.monitor) + meter.of(dynamics, asked + 1)

    def practised(self, decisions: Sequence[tuple[Decision, State]]) -> int:
        """Remember the plans of an episode that succeeded: each decision with the state after it. Returns how many were kept.

        Episodes that begin later may do again what worked; those under way know only what was there when they began.
        """
        if self.habits.recall is None:
            return 0
        ways = [
            self.habits.recall.worked(state.belief.z_BD, state.target, decision.plan)
            for decision, state in decisions
            if decision.mode is Mode.PLAN and decision.plan is not None and state.belief is not None
        ]
        return self.memory.keep([way for way in ways if way is not None])

    def _compare(self, observation: Observation, belief: Belief, state: State) -> tuple[Surprise | None, Expectation | None]:
        if self.monitor is None or state.expectation is None:
            return None, None
        with np.errstate(over="ignore", invalid="ignore"):  # a number may be finite, and its square not
            return self.monitor.look(self.model, state.expectation, belief, observation)

    def _expect(self, expectation: Expectation | None, belief: Belief, block_A: Tensor) -> Expectation | None:
        if self.monitor is None or expectation is None:
            return None
        return self.monitor.expect(self.model, expectation, belief, block_A)

    def _continue(self, state: State) -> tuple[Decision, State]:
        action = self.spec.action_space.decode(state.pending[0])
        decision = Decision(action, Mode.CONTINUE, "the block under way is not finished", Effort(), plan=state.plan)
        return decision, dataclasses.replace(state, step=state.step + 1, pending=state.pending[1:])

    def believe(self, observation: Observation, state: State) -> Belief:
        """What is the case, from what was, the block taken since, and what is seen now."""
        previous = torch.as_tensor(state.taken[0][None], device=self.device) if state.taken else None
        return self.model.observe(self._tensors(observation), previous, state.belief)

    def _choose(self, belief: Belief, state: State, surprise: Surprise | None) -> Choice:
        aim = aim_now(belief, state.target, self.cost, self.probe, self.config.search.horizon)
        aim, roadmap, passes = self.detours.around(belief, aim, state.roadmap)
        chosen = self._rung(belief, state, aim, surprise)
        return dataclasses.replace(chosen, passes=chosen.passes + passes, roadmap=roadmap)

    def _rung(self, belief: Belief, state: State, aim: Aim, surprise: Surprise | None) -> Choice:
        horizon = self.config.search.horizon
        if self.config.mode == "plan":
            return self._search(belief, state, aim)
        if self.config.mode == "habit":
            way = next(way for _, way in Habits(self.proposal).ways(belief, state, aim, horizon if self.guard.rails else 1))
            passes, breach = way.trace.predictor_passes, self.guard.breach(belief, way.predicted_HD)
            if breach:
                why = f"stopped: the habit is not safe, and is all there is: {breach}"
                return Choice(None, 0, Mode.STOP, why, passes, flops=way.trace.flops)
            return Choice(way, 1, Mode.HABIT, f"habit only, as configured{aim.why}", passes, flops=way.trace.flops)
        if self.trust is None or surprise is None:
            raise UsageError(
                "mode 'ladder' needs to know how far the habit can be trusted, and this run does not say; "
                "`forethought trust RUN --task TASK` finds out, or set the mode to 'plan' or 'habit'"
            )
        return choose(belief, state, aim, surprise, self.trust, self.habits, horizon, self._search, self.guard)

    def _search(self, belief: Belief, state: State, aim: Aim) -> Choice:
        plan, passes, flops = self._plan(belief, state, aim, self.guard.over(aim.cost))
        why = f"searched {passes} imagined steps; {plan.trace.stopped}{aim.why}"
        found = Choice(plan, 1, Mode.PLAN, why, passes, True, flops)
        if not self.guard.rails:
            return found
        stop = dataclasses.replace(found, plan=None, step=0, mode=Mode.STOP)
        breach, outside = self.guard.breach(belief, plan.predicted_HD), self.guard.outside(aim.target.z_BD)
        if breach:
            return dataclasses.replace(stop, reason=f"stopped: no safe plan: {breach}")
        if not outside:
            return found
        free, more, work = self._plan(belief, state, aim, aim.cost)
        stay, best = as_plan(belief, aim, free.actions_HA, free.predicted_HD, time.perf_counter(), 0).trace.best_cost
        if stay - plan.cost > LITTLE * (stay - best):
            return dataclasses.replace(found, passes=passes + more, flops=flops + work)
        why = f"stopped: as near as '{outside}' allows; the goal lies outside it"
        return dataclasses.replace(stop, reason=why, passes=passes + more, flops=flops + work)

    def _plan(self, belief: Belief, state: State, aim: Aim, cost: Cost) -> tuple[Plan, int, int]:
        """Search on a cost; passes through the predictor, and FLOPs."""
        generator = torch.Generator().manual_seed(stream(state.key, state.step))
        horizon = self.config.search.horizon
        warm = [self.proposal.follow(belief, aim.target, horizon)[0]] if self.config.warm_start else []
        if state.plan is not None and self.config.warm_start:
            left_HA = state.plan.actions_HA[state.plan_step :]
            last_HA = state.plan.actions_HA[-1:].expand(horizon - len(left_HA), -1)
            warm.append(torch.cat([left_HA, last_HA]))
        plan = search(
            self.model, cost, aim.target, belief, self.method, config=self.config.search,
            space=self.spec.action_space, action_size=self.frameskip * self.spec.action_space.size,
            generator=generator, warm_starts=tuple(warm),
        )  # fmt: skip
        followed = horizon * self.config.warm_start
        by_gradient = isinstance(self.method, GradientMethod)
        flops = meter.searched(self.model.dynamics, cost, plan.trace, horizon, by_gradient)
        flops += meter.followed(self.habit, self.model.dynamics, followed)
        return plan, plan.trace.predictor_passes + followed, flops

    def _frames(self, chosen: Choice) -> tuple[Array, ...]:
        """The block to act out now; without a way, the safe one: the middle of every box, or the first discrete action."""
        size = self.spec.action_space.size
        if chosen.plan is None:
            safe = np.zeros((self.frameskip, size), np.float32)
            safe[:, 0] = float(isinstance(self.spec.action_space, DiscreteSpace))
            return tuple(safe)
        rows = chosen.plan.actions_HA[chosen.step - 1].detach().cpu().numpy().reshape(self.frameskip, -1)
        return tuple(np.array(row) for row in rows)

    def _tensors(self, observation: Observation) -> dict[str, Tensor]:
        return {name: torch.as_tensor(value[None], device=self.device) for name, value in observation.items()}


def stream(key: int, step: int) -> int:
    """Seed of one decision's random stream: a hash of the episode's key and the step (63 bits)."""
    return int.from_bytes(hashlib.blake2b(f"{key}/{step}".encode(), digest_size=8).digest(), "big") >> 1
