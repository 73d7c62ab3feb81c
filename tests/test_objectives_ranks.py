"""Whole-batch objectives under data parallelism: two gloo ranks, half a batch each, give what one rank gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from forethought.objectives.episode import scene_contrast, scene_spread, within_episode_sigreg
from forethought.objectives.sigreg import sigreg
from forethought.objectives.vicreg import vicreg

RANK = """
import sys
import torch, torch.distributed as dist
from safetensors.torch import save_file
from forethought.training.distributed import Ranks, average_gradients, gather_batch
torch.set_num_threads(1)
folder, rank = sys.argv[1], int(sys.argv[2])
sys.path.insert(0, sys.argv[3])
from test_objectives_ranks import OBJECTIVES, encoder, rows
dist.init_process_group("gloo", init_method="file://" + folder + "/meet", rank=rank, world_size=2)
for name, objective in OBJECTIVES.items():
    model, ranks = encoder(), Ranks(rank, 2)
    loss = objective(gather_batch(model(rows()[16 * rank : 16 * rank + 16]), ranks))
    loss.backward()
    average_gradients(model.parameters(), ranks)
    save_file({"loss": loss.detach(), **{n: p.grad for n, p in model.named_parameters()}}, f"{folder}/{rank}.{name}")
dist.destroy_process_group()
"""


def stream() -> torch.Generator:
    """The same directions on every rank: they come from a seed, not from the rank."""
    return torch.Generator().manual_seed(3)


OBJECTIVES = {
    "sigreg": lambda z: sigreg(z, stream(), 64),
    "vicreg": vicreg,
    "within_episode_sigreg": lambda z: within_episode_sigreg(z, 4, stream()),
    "scene_spread": lambda z: scene_spread(z, 4, stream()),
    "scene_contrast": lambda z: scene_contrast(z, 4),
}


def encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 16), torch.nn.SiLU(), torch.nn.Linear(16, 6))


def rows() -> torch.Tensor:
    return torch.randn(32, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.lane
def test_two_ranks_equal_one(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", RANK, str(tmp_path)]
    here = str(Path(__file__).parent)
    processes = [subprocess.Popen([*command, str(rank), here], stderr=subprocess.PIPE) for rank in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()[-2000:]
    for name, objective in OBJECTIVES.items():
        model = encoder()
        loss = objective(model(rows()))
        loss.backward()
        expected = {"loss": loss.detach(), **{n: p.grad for n, p in model.named_parameters()}}
        for rank in range(2):
            got = load_file(tmp_path / f"{rank}.{name}")
            for key, wanted in expected.items():
                assert torch.allclose(got[key], wanted, rtol=1e-4, atol=1e-6), f"{name}: {key} on rank {rank}"


def test_a_mean_per_rank_would_be_another_objective() -> None:
    """What public copies do: SIGReg of each share, averaged. It differs, so the test above can fail."""
    z = encoder()(rows())
    apart = (sigreg(z[:16], stream(), 64) + sigreg(z[16:], stream(), 64)) / 2
    assert abs(apart.item() - sigreg(z, stream(), 64).item()) > 0.01


def test_sigreg_gradient_is_that_of_the_formula() -> None:
    z = torch.randn(9, 3, dtype=torch.float64, generator=stream(), requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: sigreg(z, stream(), 5), (z,))
    (gradient,) = torch.autograd.grad(sigreg(z, stream(), 5), z)
    (half,) = torch.autograd.grad(sigreg(z.bfloat16(), stream(), 5), z)
    assert torch.allclose(half, gradient, rtol=0.1, atol=0.1 * gradient.abs().max().item())
