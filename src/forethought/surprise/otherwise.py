"""Other ways the body could be: what the last block would have led to with weak, dead, reversed or late actuators.

If one of them foretells what came better than what was learned, again and again, then that is what has happened. The evidence
is a log likelihood ratio a step (Wald 1945), with the errors that held-out imagination showed as the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
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

    @property
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
        """The block as it would have been carried out, (R, A), given the frames before it (at least max(LATE) of them)."""
        frames_FA = torch.cat([past_FA, block_A.reshape(self.frameskip, self.space.size)])
        begin = len(past_FA)
        late = [frames_FA[begin - n : begin - n + self.frameskip] for n in LATE]
        if isinstance(self.space, DiscreteSpace):
            return torch.stack(late).flatten(1)
        now_FA, slow_FA = frames_FA[begin:], torch.zeros_like(frames_FA[:1])
        slow = []
        for index in range(len(frames_FA)):
            slow_FA = INERTIA * slow_FA + (1 - INERTIA) * frames_FA[index : index + 1]
            slow.append(slow_FA)
        stuck = now_FA.sign() * (now_FA.abs() - STICTION).clamp_min(0.0)
        each = [now_FA * sign for sign in self._signs().to(block_A.device)]
        return torch.stack([*late, *(now_FA * gain for gain in GAINS), torch.cat(slow[begin:]), stuck, *each]).flatten(1)

    def remember(self, block_A: Tensor, past_FA: Tensor) -> Tensor:
        """The last max(LATE) frames after this block."""
        return torch.cat([past_FA, block_A.reshape(self.frameskip, self.space.size)])[-max(LATE) :]

    def nothing(self) -> Tensor:
        """The frames before an episode: none were taken."""
        return torch.zeros(max(LATE), self.space.size)

    def _signs(self) -> Tensor:
        signs = torch.ones(2 * self.space.size, self.space.size)
        for i in range(self.space.size):
            signs[2 * i, i], signs[2 * i + 1, i] = 0.0, -1.0
        return signs
