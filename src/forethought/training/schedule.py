"""How long a stage learns, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from forethought.config import Count, Positive, Share, Weight


@final
@dataclass(frozen=True)
class Schedule:
    """How long and how fast: a fixed number of updates, or seconds of wall clock (then `updates` is ignored).

    The rate warms up, stays, and falls linearly over the last `decay` share (WSD), so a longer run shares its beginning.
    """

    updates: Count
    learning_rate: Positive
    weight_decay: Weight = 1e-3
    warmup: Count = 50
    decay: Share = 0.3
    clip: Positive = 1.0
    seconds: Positive | None = None
    log_every: Count = 50
    checkpoint_seconds: Weight = 15.0

    def rate(self, update: int, progress: float) -> float:
        """Learning rate of an update, given the share of the stage that is done (0..1)."""
        rise = min(1.0, (update + 1) / self.warmup)
        fall = min(1.0, (1.0 - progress) / self.decay) if self.decay > 0 else 1.0
        return self.learning_rate * rise * max(fall, 0.02)
