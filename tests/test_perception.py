"""The patch pyramid against the same thing written slowly."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from forethought.perception.patches import PatchPyramid


def slow(pyramid: PatchPyramid, image: torch.Tensor) -> torch.Tensor:
    """One image (H, W, C), patch by patch and merge by merge, as one would draw it."""
    rows, columns = pyramid.grid
    p = pyramid.patch
    padded = torch.zeros(rows * p, columns * p, image.shape[-1])
    padded[: image.shape[0], : image.shape[1]] = image
    scaled = padded / 64 - 2
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
    expected = torch.stack([slow(pyramid, image.float()) for image in images])
    assert torch.allclose(pyramid(images), expected, atol=1e-5)
    ours = torch.autograd.grad(pyramid(images).square().sum(), list(pyramid.parameters()))
    theirs = torch.autograd.grad(expected.square().sum(), list(pyramid.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))
