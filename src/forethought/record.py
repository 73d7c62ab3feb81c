"""Record a robot, a game, or any Gymnasium environment, so that nothing acknowledged is ever lost."""

from forethought.data.recorder import Recorder
from forethought.data.recorder_env import RecordedEnv

__all__ = ["RecordedEnv", "Recorder"]
