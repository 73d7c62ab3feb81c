"""A decision is the same to the bit, whatever mode torch is in around it."""

from __future__ import annotations

from pathlib import Path

import torch

from forethought.training.bundle import load_agent
from forethought.types import ReachObservation


def test_inference_mode_changes_no_bit(run: Path) -> None:
    agent, generator = load_agent(run), torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8, generator=generator).numpy()
    state = agent.init(ReachObservation({"image": images[0]}), key=3)
    for image in images[1:]:
        decision, after = agent.act({"image": image}, state)
        belief = agent.believe({"image": image}, state)
        plan = agent._choose(belief, state, None).plan
        assert decision.plan is not None and plan is not None
        assert torch.equal(decision.plan.actions_HA, plan.actions_HA) and decision.plan.cost == plan.cost
        assert torch.equal(decision.plan.predicted_HD, plan.predicted_HD)
        state = after
