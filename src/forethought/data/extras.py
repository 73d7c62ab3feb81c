"""Optional packages, imported when a format needs them."""

from __future__ import annotations

import importlib
from typing import Any

from forethought.errors import MissingExtra


def optional(module: str, feature: str, extra: str) -> Any:
    """The module, for example `optional("pyarrow.parquet", "LeRobot data sets", "lerobot")`. Raises MissingExtra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(feature, extra) from error
