"""Forethought: from logged experience to an agent that predicts, plans, and knows when it is wrong.

>>> import forethought
>>> forethought.__version__
'0.1.0'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forethought.arena.evaluate import evaluate
    from forethought.costs.guardrail import Guardrail
    from forethought.data import open_log, write_log
    from forethought.errors import UsageError
    from forethought.planning.loop import search as plan
    from forethought.training.adapt.learn import learn
    from forethought.training.adapt.minds import load_agent
    from forethought.training.config import TrainConfig, sized, timed
    from forethought.training.train import train
    from forethought.types import ReachObservation, ReachPredicate

__version__ = "0.1.0"
__all__ = [
    "Guardrail",
    "ReachObservation",
    "ReachPredicate",
    "TrainConfig",
    "UsageError",
    "__version__",
    "evaluate",
    "learn",
    "load_agent",
    "open_log",
    "plan",
    "sized",
    "timed",
    "train",
    "write_log",
]

_HOMES = {
    "Guardrail": ("forethought.costs.guardrail", "Guardrail"),
    "ReachObservation": ("forethought.types", "ReachObservation"),
    "ReachPredicate": ("forethought.types", "ReachPredicate"),
    "TrainConfig": ("forethought.training.config", "TrainConfig"),
    "UsageError": ("forethought.errors", "UsageError"),
    "evaluate": ("forethought.arena.evaluate", "evaluate"),
    "learn": ("forethought.training.adapt.learn", "learn"),
    "load_agent": ("forethought.training.adapt.minds", "load_agent"),
    "open_log": ("forethought.data", "open_log"),
    "plan": ("forethought.planning.loop", "search"),
    "sized": ("forethought.training.config", "sized"),
    "timed": ("forethought.training.config", "timed"),
    "train": ("forethought.training.train", "train"),
    "write_log": ("forethought.data", "write_log"),
}


def __getattr__(name: str) -> Any:
    """Load the public names when they are first used, so that importing the package stays instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'forethought' has no attribute '{name}'; it has {', '.join(__all__)}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
