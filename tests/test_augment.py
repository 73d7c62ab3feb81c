"""Augmentation: whole windows alike, in bounds, the same on any number of ranks, and off unless asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_config
from torch import Tensor

from forethought.perception.augment import augment
from forethought.training.run import RunFolder
from forethought.training.train import train


def pictures(windows: int, frames: int = 3) -> Tensor:
    return torch.randint(0, 256, (windows * frames, 12, 10, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def changed(images: Tensor, windows: slice, total: int, shift: int, light: float) -> Tensor:
    return augment(images, windows, total, shift, light, torch.Generator().manual_seed(5))


def test_a_window_moves_as_one_and_by_whole_pixels() -> None:
    images = pictures(4)
    moved = changed(images, slice(0, 4), 4, 2, 0.0)
    assert moved.dtype == torch.uint8 and moved.shape == images.shape
    offsets = torch.randint(-2, 3, (4, 2), generator=torch.Generator().manual_seed(5))
    for window, (down, right) in enumerate(offsets.tolist()):
        padded = np.pad(images[3 * window : 3 * window + 3].numpy(), ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
        wanted = padded[:, 2 + down : 14 + down, 2 + right : 12 + right]
        assert np.array_equal(moved[3 * window : 3 * window + 3].numpy(), wanted)


def test_light_stays_in_bounds_and_is_one_factor_a_window() -> None:
    images = pictures(6)
    lit = changed(images, slice(0, 6), 6, 0, 0.5).float()
    for window in range(6):
        before, after = images[3 * window : 3 * window + 3].float(), lit[3 * window : 3 * window + 3]
        inside = (after > 20) & (after < 250)
        ratio = (after / before)[inside & (before > 40)]
        assert 0.49 < float(ratio.median()) < 1.51 and float(ratio.std()) < 0.02


@pytest.mark.parametrize(("shift", "light"), [(2, 0.0), (0, 0.4), (3, 0.3)])
def test_ranks_see_the_shares_of_one_batch(shift: int, light: float) -> None:
    images = pictures(4)
    whole = changed(images, slice(0, 4), 4, shift, light)
    shares = [changed(images[6 * r : 6 * r + 6], slice(2 * r, 2 * r + 2), 4, shift, light) for r in (0, 1)]
    assert torch.equal(torch.cat(shares), whole)


@pytest.mark.lane
def test_training_takes_it(log: Path, run: Path, tmp_path: Path) -> None:
    base = small_config()
    other = train(log, tmp_path / "other", replace(base, predict=replace(base.predict, shift=2, light=0.2)))
    assert RunFolder(run).stage_file("predict").read_bytes() != other.stage_file("predict").read_bytes()
