"""Environments: our Two-Room, and thin adapters around other people's. Importing this registers the Gymnasium ids."""

from gymnasium.envs.registration import register, registry

if "forethought/TwoRoom-v1" not in registry:
    register(id="forethought/TwoRoom-v1", entry_point="forethought.envs.two_room:TwoRoomEnv")
