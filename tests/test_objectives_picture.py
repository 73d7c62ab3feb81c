"""The picture objective: coarse means of every camera, read from the state, and only from a state that tells them."""

from __future__ import annotations

import pytest
import torch

from forethought.objectives.picture import PictureHead, coarse
from forethought.types import Sensor, SensorKind

CAMERA = Sensor("eye", SensorKind.IMAGE, (8, 8, 3), "uint8")
JOINTS = Sensor("joints", SensorKind.VECTOR, (2,), "float32")


def test_coarse_equals_the_loop() -> None:
    image = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    picture = coarse(image, 4).reshape(2, 3, 4, 4)
    for row in range(4):
        for column in range(4):
            block = image[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].float().mean((1, 2)) / 255
            assert torch.allclose(picture[:, :, row, column], block, atol=1e-6)
    assert coarse(image, 16).shape == (2, 8 * 8 * 3)  # never more cells than pixels


@pytest.mark.parametrize("telling", [True, False])
def test_only_a_state_that_tells_the_moments_apart_reads_their_pictures(telling: bool) -> None:
    torch.manual_seed(0)
    head = PictureHead((CAMERA, JOINTS), 8, cells=4, width=32)
    images = torch.randint(0, 256, (8, 8, 8, 3), dtype=torch.uint8)
    target = head.target({"eye": images, "joints": torch.zeros(8, 2)})
    state = torch.eye(8) if telling else torch.ones(8, 8)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(200):
        loss = head(state, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01 if telling else loss.item() > 0.95
