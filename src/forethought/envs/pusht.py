"""Push-T: the real `gym_pusht` environment behind exact state setting, 64-pixel frames, relative actions, and a weak pusher."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from forethought.errors import MissingExtra, UsageError
from forethought.types import BoxSpace, Episode, ExperienceSpec, Sensor, SensorKind

Floats = NDArray[np.float64]
REACH = 100.0  # pixels of target displacement that a relative action of 1 asks for
WORLD = 512.0
NEAR, TURN = 20.0, np.pi / 9  # success: joint position error in pixels, block angle error in radians
BODY = 15.0  # radius of the agent's disc
CENTRE = np.array([0.0, 45.0])  # the T's middle in its own frame, for going round it
CORNERS = np.array([(-60, 0), (60, 0), (60, 30), (15, 30), (15, 120), (-15, 120), (-15, 30), (-60, 30)], dtype=np.float64)


def success(state_5: Floats, goal_5: Floats) -> bool:
    """Is ||(agent, block) difference|| < 20 px and the angle within pi/9 (mod 2 pi)? States are (ax, ay, bx, by, angle)."""
    gap = np.asarray(state_5, dtype=np.float64) - np.asarray(goal_5, dtype=np.float64)
    turn = abs((gap[4] + np.pi) % (2 * np.pi) - np.pi)
    return bool(np.linalg.norm(gap[:4]) < NEAR and turn < TURN)


def absolute(action_2: NDArray[Any], agent_2: Floats) -> Floats:
    """The target in [0, 512]^2 that a relative action in [-1, 1]^2 asks for."""
    target: Floats = np.clip(agent_2 + np.clip(np.asarray(action_2, dtype=np.float64), -1, 1) * REACH, 0.0, WORLD)
    return target


def relative(target_2: Floats, agent_2: Floats) -> Floats:
    """The relative action nearest to a target, (2,) in [-1, 1]."""
    action: Floats = np.clip((target_2 - agent_2) / REACH, -1, 1)
    return action


@final
class PushT:
    """`gym_pusht/PushT-v0` with states (5,), frames (size, size, 3) uint8, and targets in [0, 512]^2 or relative actions."""

    def __init__(self, size: int = 64, relative_actions: bool = False) -> None:
        if not 1 <= size <= 96:
            raise UsageError(f"frame size {size} is not in 1..96; the environment renders 96 pixels, give at most that")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame wants a screen even to draw off one
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import cv2
            from gym_pusht.envs.pusht import PushTEnv
        except ImportError as error:
            raise MissingExtra("Push-T", "pusht") from error
        self._cv2: Any = cv2
        self._env: Any = PushTEnv(obs_type="state", render_mode="rgb_array")
        self.size, self.relative_actions = size, relative_actions
        self._env.reset(seed=0)

    def reset(self, state_5: Floats) -> Floats:
        """Start at rest in exactly this state; returns what the simulator then holds, (5,).

        `reset_to_state` sets the angle after the position, which moves the T (it turns about its centre of mass), and then
        steps the space. Angle first, then position, and no step, is exact; velocities are zero, whatever the log's were.
        """
        env, state = self._env, np.asarray(state_5, dtype=np.float64)
        if state.shape != (5,) or not np.isfinite(state).all():
            raise UsageError(f"a Push-T state is five finite numbers (ax, ay, bx, by, angle); got {state_5!r}")
        env._setup()
        env._last_action = None
        env.agent.position = state[:2].tolist()
        env.block.angle = float(state[4])
        env.block.position = state[2:4].tolist()
        env.space.reindex_shapes_for_body(env.agent)
        env.space.reindex_shapes_for_body(env.block)
        return self.state()

    def state(self) -> Floats:
        """(agent x, agent y, block x, block y, angle in [0, 2 pi))."""
        state: Floats = self._env.get_obs()
        return state

    def step(self, action_2: NDArray[Any]) -> Floats:
        """One control step (0.1 s) towards a target; the state after it (5,)."""
        target = np.asarray(action_2, dtype=np.float64)
        if self.relative_actions:
            target = absolute(target, np.array(self._env.agent.position))
        state: Floats = self._env.step(np.clip(target, 0.0, WORLD))[0]
        return state

    def frame(self) -> NDArray[np.uint8]:
        """The environment's own 96-pixel picture, averaged down to (size, size, 3)."""
        surface = self._env._draw()
        raw = np.frombuffer(surface.get_buffer(), np.uint8).reshape(512, 512, 4)  # BGRA; the same bytes, none copied
        small = self._cv2.resize(raw, (96, 96))[..., 2::-1]
        image: NDArray[np.uint8] = self._cv2.resize(small, (self.size, self.size), interpolation=self._cv2.INTER_AREA)
        return image

    @property
    def coverage(self) -> float:
        """The share of the green target that the T covers."""
        return float(self._env._get_coverage())

    @property
    def touching(self) -> bool:
        """Did anything touch anything in the last step?"""
        return bool(self._env.n_contact_points > 0)


@final
@dataclass(frozen=True)
class Intention:
    """What the pusher is about: mode (push or wander), the approach and the push target in the T's frame, pace, steps left."""

    push: bool
    approach_2: Floats
    inward_2: Floats
    pace: float
    left: int
    arrived: bool = False


def initial_state(generator: np.random.Generator) -> Floats:
    """A random state (5,), with the environment's own ranges."""
    agent, block = generator.uniform(50, 450, 2), generator.uniform(100, 400, 2)
    return np.concatenate([agent, block, [generator.uniform(-np.pi, np.pi)]])


def _turned(vector_2: Floats, angle: float) -> Floats:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cos * vector_2[0] - sin * vector_2[1], sin * vector_2[0] + cos * vector_2[1]])


def intend(generator: np.random.Generator, share: float = 0.8) -> Intention:
    """A new intention: with `share`, push at a random place of the T's outline; else go somewhere."""
    pace = generator.uniform(25, 90)
    if generator.random() > share:
        return Intention(False, generator.uniform(40, 470, 2), np.zeros(2), pace, int(generator.integers(4, 12)))
    edges = np.roll(CORNERS, -1, 0) - CORNERS
    lengths: Floats = np.hypot(edges[:, 0], edges[:, 1])
    side = int(generator.choice(len(CORNERS), p=lengths / lengths.sum()))
    contact = CORNERS[side] + edges[side] * generator.uniform(0.1, 0.9)
    outward = np.array([edges[side, 1], -edges[side, 0]]) / lengths[side]
    inward = _turned(-outward, generator.uniform(-0.6, 0.6))
    return Intention(True, contact + outward * (BODY + 14), inward, pace, int(generator.integers(15, 35)))


def _waypoint(agent_2: Floats, goal_2: Floats, middle_2: Floats) -> Floats:
    """Straight on if the T is not in the way, else along a circle about it."""
    path, to_middle = goal_2 - agent_2, middle_2 - agent_2
    along = float(np.clip(path @ to_middle / max(float(path @ path), 1e-6), 0, 1))
    if np.linalg.norm(agent_2 + along * path - middle_2) > 72 or np.linalg.norm(path) < 45:
        return goal_2
    here, there = np.arctan2(*(agent_2 - middle_2)[::-1]), np.arctan2(*(goal_2 - middle_2)[::-1])
    turn = np.clip((there - here + np.pi) % (2 * np.pi) - np.pi, -0.7, 0.7)
    rim: Floats = middle_2 + 105 * np.array([np.cos(here + turn), np.sin(here + turn)])
    return rim


def pusher(generator: np.random.Generator, state_5: Floats, plan: Intention) -> tuple[Floats, Intention]:
    """A relative action (2,) and the updated intention: go round to a random contact point, push inwards, leave; noisily."""
    if plan.left <= 0:
        plan = intend(generator)
    agent, block, angle = state_5[:2], state_5[2:4], float(state_5[4])
    goal = plan.approach_2
    if plan.push:
        goal = block + _turned(plan.approach_2, angle)
        if not plan.arrived and np.linalg.norm(goal - agent) < 14:
            plan = replace(plan, arrived=True, left=int(generator.integers(5, 16)))
        if plan.arrived:
            goal = agent + _turned(plan.inward_2, angle) * plan.pace
        else:
            goal = _waypoint(agent, goal, block + _turned(CENTRE, angle))
    step = goal - agent
    step *= min(1.0, plan.pace * 1.2 / max(float(np.linalg.norm(step)), 1e-6))
    if not plan.arrived:
        step *= 1.6  # the controller covers only a quarter of a distance in a step from rest
    return relative(agent + step + generator.normal(0, 10, 2), agent), replace(plan, left=plan.left - 1)


def reading(state_5: Floats) -> NDArray[np.float32]:
    """A state as a sensor tells it, (6,): the agent's and the T's place in pixels, sine and cosine of the T's angle."""
    return np.array([*state_5[:4], np.sin(state_5[4]), np.cos(state_5[4])], dtype=np.float32)


def log_spec(size: int = 64, *, pixels: bool = True) -> ExperienceSpec:
    """What `record` records: one camera or one vector of state, two-dimensional relative actions."""
    camera, state = (
        Sensor("image", SensorKind.IMAGE, (size, size, 3), "uint8"),
        Sensor("state", SensorKind.VECTOR, (6,), "float32"),
    )
    return ExperienceSpec((camera if pixels else state,), BoxSpace((-1.0, -1.0), (1.0, 1.0)))


def record(count: int, steps: int, seed: int, *, first: int = 0, size: int = 64, pixels: bool = True) -> Iterator[Episode]:
    """Episodes first .. count - 1 of the weak pusher; episode i depends on (seed, i) alone. Metadata: states (steps + 1, 5)."""
    env = PushT(size, relative_actions=True)
    for index in range(first, count):
        yield _record_one(env, steps, seed, index, pixels)


def _record_one(env: PushT, steps: int, seed: int, index: int, pixels: bool) -> Episode:
    generator = np.random.default_rng([seed, index])
    env.reset(initial_state(generator))
    state = env.step(np.zeros(2))  # lets an overlap of agent and T, which random states allow, push itself apart
    plan = intend(generator)
    seen: list[NDArray[Any]] = [env.frame() if pixels else reading(state)]
    states, actions, touches, cover = [state], [], [False], [env.coverage]
    for _ in range(steps):
        action, plan = pusher(generator, state, plan)
        state = env.step(action)
        actions.append(action.astype(np.float32))
        seen.append(env.frame() if pixels else reading(state))
        states.append(state)
        touches.append(env.touching)
        cover.append(env.coverage)
    looked = {"state": np.stack(states).astype(np.float32), "touch": np.array(touches), "coverage": np.array(cover)}
    return Episode(
        f"pusht-{seed}-{index:06d}", {"image" if pixels else "state": np.stack(seen)}, np.stack(actions), metadata=looked
    )
