"""Public conformance checks: our own parts pass through the same ones."""

from forethought.testing.agent import check_agent
from forethought.testing.reader import check_reader
from forethought.testing.seams import check_cost, check_planner, check_world_model

__all__ = ["check_agent", "check_cost", "check_planner", "check_reader", "check_world_model"]
