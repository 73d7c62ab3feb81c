"""An image, numbers and tokens with discrete actions, from a real environment to an agent that acts in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from test_training_options import learned, toy_config

from forethought.data import open_log, open_writer
from forethought.data.record import collect, random_policy, spec_of, to_env_action, to_sensors
from forethought.training.bundle import load_agent
from forethought.training.train import train
from forethought.types import DiscreteSpace, ReachObservation, SensorKind


class ManySensors(gymnasium.ObservationWrapper[Any, Any, Any]):
    """MiniGrid's picture and direction as they are, and where the agent stands; not the mission, which is a text."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        own = env.observation_space.spaces
        place = gymnasium.spaces.Box(0, 1, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)  # left, right, forward: there is nothing to pick up
        self.observation_space = gymnasium.spaces.Dict(image=own["image"], direction=own["direction"], place=place)

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        place = np.array(self.unwrapped.agent_pos, np.float32) / self.unwrapped.width
        return {"image": observation["image"], "direction": observation["direction"], "place": place}


def minigrid() -> gymnasium.Env[Any, Any]:
    wrappers = pytest.importorskip("minigrid.wrappers")
    return ManySensors(wrappers.RGBImgObsWrapper(gymnasium.make("MiniGrid-Empty-Random-6x6-v0"), tile_size=8))


@pytest.mark.lane
def test_many_sensors_are_fused_from_collect_to_the_agent(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "log.h5", spec_of(minigrid()))
    assert collect(minigrid, random_policy, 80, writer, seed=0, max_steps=24) == 80
    writer.close()
    spec = open_log(tmp_path / "log.h5").spec
    assert {s.name: s.kind for s in spec.sensors} == {
        "image": SensorKind.IMAGE, "direction": SensorKind.TOKENS, "place": SensorKind.VECTOR,
    }  # fmt: skip
    assert spec.action_space == DiscreteSpace(3)
    config = toy_config(200)
    longer = replace(config.dynamics, schedule=replace(config.dynamics.schedule, updates=500))
    config = replace(config, dynamics=longer, encoder=replace(config.encoder, state_size=10))
    run = train(tmp_path / "log.h5", tmp_path / "run", config)
    learned(run)
    agent, env = load_agent(run.path), minigrid()
    raw, _ = env.reset(seed=1)
    state = agent.init(ReachObservation(to_sensors(raw, env.observation_space)))
    for _ in range(4):
        decision, state = agent.act(to_sensors(raw, env.observation_space), state)
        raw, *_ = env.step(to_env_action(decision.action, env.action_space))
