"""The patch pyramid against the same thing written slowly; image bodies see differences from the mean frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from forethought.data.stats import usual_frame
from forethought.perception.build import IMAGE_BODIES
from forethought.perception.image import ImageBody
from forethought.perception.patches import PatchPyramid


def slow(pyramid: PatchPyramid, image: torch.Tensor) -> torch.Tensor:
    """One image (H, W, C), patch by patch and merge by merge, as one would draw it."""
    rows, columns = pyramid.grid
    p = pyramid.patch
    scaled = torch.zeros(rows * p, columns * p, image.shape[-1])
    scaled[: image.shape[0], : image.shape[1]] = pyramid.centred(image[None])[0]
    grid = [
        [pyramid.embed(scaled[r * p : r * p + p, c * p : c * p + p].flatten()) for c in range(columns)] for r in range(rows)
    ]
    grid = [[functional.silu(cell) for cell in row] for row in grid]
    for merge in pyramid.merges:
        rows, columns = rows // 2, columns // 2
        four = [[[grid[2 * r + i][2 * c + j] for i in (0, 1) for j in (0, 1)] for c in range(columns)] for r in range(rows)]
        grid = [[functional.silu(merge(torch.cat(cells))) for cells in row] for row in four]
    return functional.silu(pyramid.last(torch.cat([cell for row in grid for cell in row])))


@pytest.mark.parametrize("shape", [(64, 64, 3), (8, 8, 1), (50, 70, 1), (96, 96, 3), (64, 128, 3)])
def test_pyramid_equals_patches_and_merges_one_by_one(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    pyramid, images = PatchPyramid(shape, 8, 16), torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    pyramid.normalise(torch.rand(shape) * 255, 20.0)
    expected = torch.stack([slow(pyramid, image.float()) for image in images])
    assert torch.allclose(pyramid(images), expected, atol=1e-5)
    ours = torch.autograd.grad(pyramid(images).square().sum(), list(pyramid.parameters()))
    theirs = torch.autograd.grad(expected.square().sum(), list(pyramid.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("name", IMAGE_BODIES)
def test_a_brighter_log_with_a_brighter_mean_frame_looks_the_same(name: str) -> None:
    torch.manual_seed(0)
    body, images = IMAGE_BODIES[name]((32, 32, 3), 8, 16), torch.randint(0, 100, (3, 32, 32, 3), dtype=torch.uint8)
    assert isinstance(body, ImageBody)
    body.normalise(torch.full((32, 32, 3), 50.0), 30.0)
    dark = body(images)
    body.normalise(torch.full((32, 32, 3), 150.0), 30.0)
    assert torch.allclose(body(images + 100), dark, atol=1e-4)
    assert not torch.allclose(body(images), dark, atol=1e-3)


def test_the_mean_frame_and_its_spread_against_numpy() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (700, 6, 5, 3), dtype=np.uint8)
    usual, deviation = usual_frame(frames)
    assert np.allclose(usual, frames.mean(0), atol=1e-3)
    assert np.isclose(deviation, np.sqrt(np.mean((frames - frames.mean(0)) ** 2)), rtol=1e-5)
