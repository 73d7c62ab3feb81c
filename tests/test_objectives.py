"""Objectives against naive references, and against collapse."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from forethought.dynamics.residual_mlp import ResidualMLP
from forethought.objectives.ema import follow
from forethought.objectives.episode import scene_contrast, scene_spread, within_episode_sigreg
from forethought.objectives.inverse import InverseHead, inverse_error
from forethought.objectives.prediction import prediction_error, unchanged_error
from forethought.objectives.rank import effective_rank
from forethought.objectives.sigreg import sigreg
from forethought.objectives.straighten import curvature
from forethought.objectives.vicreg import vicreg


def stream() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_sigreg_equals_the_formula_written_as_loops() -> None:
    z = torch.randn(6, 3, generator=stream())
    directions = torch.randn(3, 4, generator=stream())
    directions = directions / directions.norm(dim=0, keepdim=True)
    total = 0.0
    for m in range(4):
        x = (z @ directions[:, m]).tolist()
        heights = []
        for k in range(17):
            t = 3 * k / 16
            normal = math.exp(-t * t / 2)
            cosine, sine = sum(math.cos(t * v) for v in x) / 6, sum(math.sin(t * v) for v in x) / 6
            heights.append(((cosine - normal) ** 2 + sine**2) * normal)
        total += sum((a + b) / 2 * 3 / 16 for a, b in itertools.pairwise(heights)) * 6
    assert sigreg(z, stream(), 4).item() == pytest.approx(total / 4, rel=1e-4)


def test_sigreg_prefers_a_gaussian() -> None:
    gaussian = torch.randn(512, 8, generator=stream())
    for worse in (gaussian * 0.1, gaussian * 3, gaussian.sign(), torch.zeros(512, 8)):
        assert sigreg(gaussian, stream()) * 2 < sigreg(worse, stream())


@pytest.mark.parametrize("regulariser", ["sigreg", "vicreg", "within", "none"])
def test_only_a_regulariser_keeps_a_latent_from_collapse(regulariser: str) -> None:
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.SiLU(), torch.nn.Linear(32, 4))
    optimizer = torch.optim.Adam(encoder.parameters(), 1e-2)
    terms = {
        "sigreg": lambda z: 0.1 * sigreg(z, stream()),
        "vicreg": vicreg,
        "within": lambda z: 0.1 * within_episode_sigreg(z, 8, stream()),
        "none": lambda z: z.sum() * 0,
    }
    for _ in range(200):
        x = torch.randn(128, 4)
        z, shifted = encoder(x), encoder(x + 0.1 * torch.randn(128, 4))
        loss = (z - shifted).square().mean() + terms[regulariser](z)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    spread = encoder(torch.randn(256, 4)).std(0).mean().item()
    assert (spread < 0.15) if regulariser == "none" else (spread > 0.4), spread


def test_prediction_error_is_the_squared_gap_of_rolled_out_states() -> None:
    dynamics = ResidualMLP(5, 2, 2, 8)
    z, actions = torch.randn(3, 4, 5), torch.randn(3, 3, 2)
    error = prediction_error(dynamics, z, actions, 2)
    now, expected = z[:, 0], []
    for k in range(3):
        now, _ = dynamics.step(now, now[:, :0], actions[:, k])
        expected.append((now[:, 2:] - z[:, k + 1, 2:]).square().mean(-1))
    assert torch.allclose(error, torch.stack(expected, 1), atol=1e-6)
    assert torch.allclose(unchanged_error(z, 2)[:, 0], (z[:, 0, 2:] - z[:, 1, 2:]).square().mean(-1))


def test_inverse_dynamics_learns_which_action_it_was() -> None:
    torch.manual_seed(0)
    head = InverseHead(2, 2)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(300):
        start, action = torch.randn(128, 2), torch.rand(128, 1, 2) * 2 - 1
        loss = inverse_error(head, torch.stack([start, start + action[:, 0]], 1), action)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02


def test_scene_objectives_want_agreement_within_and_spread_across() -> None:
    across = torch.randn(32, 1, 4, generator=stream())
    good = across.expand(-1, 4, -1).reshape(128, 4)
    mixed = torch.randn(128, 4, generator=stream())
    assert scene_spread(good, 4, stream()) < scene_spread(mixed, 4, stream())
    assert scene_spread(good, 4, stream()) < scene_spread(good * 0, 4, stream())
    assert scene_contrast(good, 4) < scene_contrast(mixed, 4)
    distinct = torch.eye(32).repeat_interleave(4, 0)
    assert scene_contrast(distinct, 4).item() == pytest.approx(math.log(3), abs=0.01)  # three equal positives each


def test_curvature_of_straight_and_reversing_paths() -> None:
    line = torch.arange(5.0)[None, :, None].expand(2, 5, 3)
    assert curvature(line).item() == pytest.approx(0, abs=1e-6)
    zigzag = torch.tensor([0.0, 1, 0, 1])[None, :, None].expand(1, 4, 3)
    assert curvature(zigzag).item() == pytest.approx(2, abs=1e-6)


def test_rank_and_teacher() -> None:
    line = torch.randn(100, 1, generator=stream()) @ torch.ones(1, 6)
    assert effective_rank(line).item() == pytest.approx(1, abs=0.05)
    assert effective_rank(torch.randn(1000, 6, generator=stream())).item() > 5.9
    teacher, student = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    expected = 0.75 * teacher.weight + 0.25 * student.weight
    follow(teacher, student, 0.25)
    assert torch.allclose(teacher.weight, expected)
