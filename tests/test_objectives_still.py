"""The still-frame objective: the agent is taken away, the scenery stays, and reading it needs a scene that tells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from forethought.objectives.still import StillTargets, still_frame, thumbnail, within_variance


def test_the_median_takes_away_what_moves() -> None:
    frames = np.full((12, 8, 8, 1), 51, np.uint8)
    frames[:, :, :4] = 255  # scenery
    for t in range(12):
        frames[t, t % 8, 6] = 0  # what moves
    still = thumbnail(still_frame(frames, every=1), cells=4).reshape(4, 4)
    assert np.allclose(still[:, :2], 1.0) and np.allclose(still[:, 2:], 0.2)
    assert still_frame(np.array([[1.0, 5.0], [2.0, 5.0], [9.0, 5.0]]), every=1).tolist() == [2.0, 5.0]


def test_within_variance_equals_the_loop() -> None:
    scenes = torch.randn(6, 2)
    total = sum(((group - group.mean(0)) ** 2).sum() for group in scenes.split(3)) / 12
    assert within_variance(scenes, 3).item() == pytest.approx(float(total), rel=1e-5)


@pytest.mark.parametrize("telling", [True, False])
def test_only_a_scene_that_tells_episodes_apart_reads_their_still_frames(telling: bool) -> None:
    torch.manual_seed(0)
    stills = np.random.default_rng(0).random((8, 5), np.float32)
    target, episode = StillTargets(stills, 8, 32), torch.arange(8).repeat(4)
    scene = torch.eye(8)[episode] if telling else torch.ones(32, 8)
    optimizer = torch.optim.Adam(target.parameters(), 1e-2)
    for _ in range(150):
        loss = target(scene, episode)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    spread = float((target.centred_EP**2).mean())
    assert loss.item() < 0.01 * spread if telling else loss.item() > 0.95 * spread
