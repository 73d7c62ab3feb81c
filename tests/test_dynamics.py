"""Every family of dynamics: fused = stepped, filtering, gradients, and learning a toy that needs (or does not need) memory."""

from __future__ import annotations

import pytest
import torch

from forethought.dynamics.base import Dynamics
from forethought.dynamics.build import FAMILIES, Architecture, build_dynamics
from forethought.dynamics.transformer import TransformerDynamics
from forethought.errors import UsageError


def shaken(family: str, scene: int = 3) -> Dynamics:
    """A dynamics with no weight left at zero, as gates that start closed would hide mistakes."""
    torch.manual_seed(0)
    dynamics = build_dynamics(Architecture(family, 32, 2), 8, scene, 2)
    with torch.no_grad():
        for parameter in dynamics.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return dynamics.eval()


@torch.no_grad()
def filtered(dynamics: Dynamics, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A latent and the memory after some real steps."""
    z = torch.randn(2, 8)
    memory = dynamics.initial_memory(z)
    for _ in range(steps):
        following = torch.cat([z[:, : dynamics.scene_size], torch.randn(2, 8 - dynamics.scene_size)], -1)
        memory = dynamics.update(z, memory, torch.rand(2, 2), following)
        z = following
    return z, memory


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scene", [0, 3])
@pytest.mark.parametrize("steps", [0, 2, 6])
def test_fused_imagine_equals_repeated_steps(family: str, scene: int, steps: int) -> None:
    dynamics = shaken(family, scene)
    z, memory = filtered(dynamics, steps)
    actions = torch.rand(2, 5, 6, 2) * 2 - 1
    fused, stepped = dynamics.imagine(z, memory, actions), Dynamics.imagine(dynamics, z, memory, actions)
    assert torch.allclose(fused, stepped, atol=1e-5)
    assert torch.equal(fused[..., :scene], z[:, None, None, :scene].expand(-1, 5, 6, -1))
    with torch.inference_mode():
        assert torch.allclose(dynamics.imagine(z, memory, actions), stepped, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_fused_and_stepped_gradients_agree(family: str) -> None:
    dynamics = shaken(family)
    z, memory = filtered(dynamics, 2)
    actions = torch.rand(2, 3, 4, 2)

    def gradients(imagined: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad(imagined.square().sum(), list(dynamics.parameters())))

    fused = gradients(dynamics.imagine(z, memory, actions))
    stepped = gradients(Dynamics.imagine(dynamics, z, memory, actions))
    for one, other in zip(fused, stepped, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_action_moves_the_future_but_not_the_past(family: str) -> None:
    dynamics = shaken(family)
    z, memory = filtered(dynamics, 2)
    actions = torch.zeros(2, 2, 4, 2)
    actions[:, 1, 2] = 1.0
    z_BSHD = dynamics.imagine(z, memory, actions)
    assert torch.equal(z_BSHD[:, 0, :2], z_BSHD[:, 1, :2])
    assert not torch.allclose(z_BSHD[:, 0, 2], z_BSHD[:, 1, 2], atol=1e-4)


def test_transformer_ignores_slots_that_are_not_filled_and_forgets_the_oldest() -> None:
    dynamics = shaken("transformer")
    assert isinstance(dynamics, TransformerDynamics)
    z, memory = filtered(dynamics, 1)
    pair = 8 + 2
    dirty = memory.clone()
    dirty[:, : 2 * pair] = 99.0  # two of three slots are empty after one step
    action = torch.rand(2, 2)
    assert torch.allclose(dynamics.step(z, memory, action)[0], dynamics.step(z, dirty, action)[0], atol=1e-6)
    dirty[:, 2 * pair : 3 * pair] = 99.0
    assert not torch.allclose(dynamics.step(z, memory, action)[0], dynamics.step(z, dirty, action)[0], atol=1e-3)
    _, full = filtered(dynamics, 7)
    assert full[:, -1].tolist() == [3, 3]
    assert full.shape == (2, dynamics.memory_size)


def momentum_error(family: str) -> float:
    """Prediction error on a mass whose velocity is not observed: only a memory can know it."""
    torch.manual_seed(0)
    dynamics = build_dynamics(Architecture(family, 32, 2), 1, 0, 1)
    optimizer = torch.optim.Adam(dynamics.parameters(), 1e-2)
    error = torch.tensor(0.0)
    for _ in range(100):
        velocity, z = torch.randn(128, 1), 2 * torch.randn(128, 1)
        memory, still = dynamics.initial_memory(z), torch.zeros(128, 1)
        for _ in range(2):
            following = z + velocity
            memory = dynamics.update(z, memory, still, following)
            z = following
        error = (dynamics.step(z, memory, still)[0] - (z + velocity)).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    return error.item()


def test_memory_knows_what_one_observation_does_not_show() -> None:
    assert momentum_error("residual_mlp") > 0.4  # var(velocity | position) is 1/2
    assert momentum_error("gru") < 0.2
    assert momentum_error("transformer") < 0.2


def test_momentum_knows_what_the_last_block_set_in_motion() -> None:
    torch.manual_seed(0)
    errors = {}
    for family in ("residual_mlp", "momentum"):
        dynamics = build_dynamics(Architecture(family, 32, 2), 1, 0, 1)
        optimizer = torch.optim.Adam(dynamics.parameters(), 1e-2)
        for _ in range(150):
            z, pushes = torch.randn(128, 1), torch.rand(128, 1, 3, 1) * 2 - 1
            last = torch.rand(128, 1) * 2 - 1
            moved = pushes[:, 0, :, :] + 0.5 * torch.cat([last.unsqueeze(1), pushes[:, 0, :-1]], 1)  # half of a push goes on
            memory = dynamics.update(z, dynamics.initial_memory(z), last, z)
            error = (dynamics.imagine(z, memory, pushes)[:, 0] - (z.unsqueeze(1) + moved.cumsum(1))).square().mean()
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
        errors[family] = error.item()
    assert errors["momentum"] < 0.02 < 0.05 < errors["residual_mlp"]


def test_unknown_family_is_named() -> None:
    with pytest.raises(UsageError, match="Did you mean 'gru'"):
        build_dynamics(Architecture("gruu"), 4, 0, 1)
