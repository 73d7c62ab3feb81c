"""Other ways the body could be: what the last block would have led to with weak, dead, reversed or late actuators.

If one of them foretells what came better than what was learned, again and again, then that is what has happened. The evidence
is a log likelihood ratio a step (Wald 1945), with the errors that held-out imagination showed as the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from forethought.types import DiscreteSpace, Space

GAINS = (0.0, 0.5, 0.8, 1.5)
LATE = (1, 2, 4)
INERTIA, STICTION = 0.7, 0.3


@final
@dataclass(frozen=True)
class Otherwise:
    """The alternatives for one action space: `names` in the order of `blocks`."""

    space: Space
    frameskip: int

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each alternative says, as a sentence."""
        late = tuple(f"actions take effect {n} step{'s' if n > 1 else ''} late" for n in LATE)
        if isinstance(self.space, DiscreteSpace):
            return late
        gains = (
            "actions have no effect",
            "actions have less effect",
            "actions have a little less effect",
            "actions have more effect",
        )
        each = tuple(
            f"action {i} {what}" for i in range(self.space.size) for what in ("does nothing", "works the wrong way round")
        )
        return (*late, *gains, "actions build up slowly", "small actions do nothing", *each)

    def blocks(self, block_A: Tensor, past_FA: Tensor) -> Tensor:
        """The block as it would have been carried out, (R, A), given the frames before it (max(LATE) of them)."""
        frames_PA = torch.cat([past_FA, block_A.reshape(self.frameskip, self.space.size)])
        if isinstance(self.space, DiscreteSpace):
            begin = len(past_FA)
            return torch.stack([frames_PA[begin - n : begin - n + self.frameskip] for n in LATE]).flatten(1)
        times_RFP, signs_RA = (part.to(block_A.device) for part in self._linear)
        blocks_RFA = (times_RFP @ frames_PA) * signs_RA[:, None]
        now_FA = frames_PA[-self.frameskip :]
        blocks_RFA[len(LATE) + len(GAINS) + 1] = now_FA - now_FA.clamp(-STICTION, STICTION)
        return blocks_RFA.flatten(1)

    @cached_property
    def _linear(self) -> tuple[Tensor, Tensor]:
        """All ways but one are linear: what each frame of the block is of past and present ones (R, F, P), and of each action
        (R, A). One product then makes all, which matters: other ways are asked in the middle of a decision.
        """
        frames, size, past = self.frameskip, self.space.size, max(LATE)
        at_FP = past + torch.arange(frames)[:, None] - torch.arange(past + frames)
        now = (at_FP == 0).float()
        late = [(at_FP == n).float() for n in LATE]
        slow = (1 - INERTIA) * INERTIA ** at_FP.clamp_min(0).float() * (at_FP >= 0)
        each = torch.ones(2 * size, size)
        for i in range(size):
            each[2 * i, i], each[2 * i + 1, i] = 0.0, -1.0
        times = torch.stack([*late, *(gain * now for gain in GAINS), slow, now, *[now] * (2 * size)])
        return times, torch.cat([torch.ones(len(times) - 2 * size, size), each])

    def remember(self, block_A: Tensor, past_FA: Tensor) -> Tensor:
        """The last max(LATE) frames after this block."""
        return torch.cat([past_FA, block_A.reshape(self.frameskip, self.space.size)])[-max(LATE) :]

    def nothing(self) -> Tensor:
        """The frames before an episode: none were taken."""
        return torch.zeros(max(LATE), self.space.size)
