"""Which episode is for training, for calibration, for testing: a hash of its id decides, so it never changes."""

from __future__ import annotations

import enum
import hashlib

from forethought.errors import UsageError


class Split(enum.Enum):
    """The three parts of a log."""

    TRAIN = "train"
    CALIBRATE = "calibrate"
    TEST = "test"


def split_of(episode_id: str, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)) -> Split:
    """The part an episode belongs to, by sha256 of its id: the same on every machine, whatever else is in the log.

    >>> split_of("episode-000000")
    <Split.TRAIN: 'train'>
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UsageError(f"got split fractions {fractions}, expected three that are at least 0 and add up to 1")
    unit = int.from_bytes(hashlib.sha256(episode_id.encode()).digest()[:8], "big") / 2**64
    if unit < fractions[0]:
        return Split.TRAIN
    return Split.CALIBRATE if unit < fractions[0] + fractions[1] else Split.TEST
