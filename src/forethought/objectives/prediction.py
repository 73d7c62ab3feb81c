"""Multi-step latent prediction: the learning signal of a joint-embedding predictive model."""

from __future__ import annotations

from torch import Tensor

from forethought.dynamics.base import Dynamics


def prediction_error(
    dynamics: Dynamics, z_BTD: Tensor, actions_BTA: Tensor, scene_size: int, target_BTD: Tensor | None = None
) -> Tensor:
    """Squared error of the state part, (B, T-1), for latents rolled out from the first frame without looking again.

    actions_BTA has T-1 blocks. Gradients reach both the prediction and the latent it should have been; with `target_BTD`
    (a teacher's latents) that is what it should have been.
    """
    wanted_BTD = z_BTD if target_BTD is None else target_BTD
    imagined_BHD = dynamics.imagine(z_BTD[:, 0], dynamics.initial_memory(z_BTD[:, 0]), actions_BTA.unsqueeze(1))[:, 0]
    return (imagined_BHD[..., scene_size:] - wanted_BTD[:, 1:, scene_size:]).square().mean(-1)


def unchanged_error(z_BTD: Tensor, scene_size: int) -> Tensor:
    """The same error for the prediction that nothing changes, (B, T-1): what a dynamics has to beat."""
    return (z_BTD[:, :1, scene_size:] - z_BTD[:, 1:, scene_size:]).square().mean(-1)
