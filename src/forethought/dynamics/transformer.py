"""A causal transformer over the last few latents, conditioned on action blocks by adaptive normalisation (2212.09748)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from forethought.dynamics.base import Dynamics


@final
class AdaptiveBlock(nn.Module):
    """Attention and a two-layer network, each shifted, scaled and gated per token."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x_NTW: Tensor, modulation_NTG: Tensor, allowed_N1TT: Tensor) -> Tensor:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = modulation_NTG.chunk(6, -1)
        x = x_NTW + gate * self._attend(_norm(x_NTW) * (1 + scale) + shift, allowed_N1TT)
        inner = functional.gelu(self.up(_norm(x) * (1 + scale_mlp) + shift_mlp))
        moved: Tensor = x + gate_mlp * self.down(inner)
        return moved

    def _attend(self, x_NTW: Tensor, allowed_N1TT: Tensor) -> Tensor:
        q, k, v = self.qkv(x_NTW).reshape(*x_NTW.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed_N1TT)
        attended: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return attended


@final
class TransformerDynamics(Dynamics):
    """Sees the last `context` (latent, action block) pairs and the present one; predicts a change of the state part.

    memory_BM: the pairs, oldest first, end to end, and at its end how many of them are filled.
    """

    def __init__(
        self, latent_size: int, scene_size: int, action_size: int, width: int = 128, depth: int = 2, context: int = 3,
        heads: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        self.latent_size, self.scene_size, self.action_size = latent_size, scene_size, action_size
        self.context = context
        self.memory_size = context * (latent_size + action_size) + 1
        self.embed, self.embed_action = nn.Linear(latent_size, width), nn.Linear(action_size, width)
        self.modulation = nn.Linear(width, 6 * width * depth)  # of all blocks; zero, so that they begin by doing nothing
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.position = nn.Parameter(torch.randn(context + 1, width) * 0.02)
        self.blocks = nn.ModuleList(AdaptiveBlock(width, heads) for _ in range(depth))
        self.last = nn.Linear(width, latent_size - scene_size)

    def initial_memory(self, z_BD: Tensor) -> Tensor:
        return z_BD.new_zeros(len(z_BD), self.memory_size)

    def update(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor, next_z_BD: Tensor) -> Tensor:
        if not self.context:
            return memory_BM
        pair = self.latent_size + self.action_size
        filled = (memory_BM[:, -1:] + 1).clamp_max(self.context)
        return torch.cat([memory_BM[:, pair:-1], z_BD, action_BA, filled], -1)

    def step(self, z_BD: Tensor, memory_BM: Tensor, action_BA: Tensor) -> tuple[Tensor, Tensor]:
        past_z, past_action, filled = self._unpack(memory_BM)
        token = self.embed(torch.cat([past_z, z_BD.unsqueeze(1)], 1))
        modulation = self._modulate(torch.cat([past_action, action_BA.unsqueeze(1)], 1))
        next_z = self._moved(z_BD, self._change(token, modulation, filled))
        return next_z, self.update(z_BD, memory_BM, action_BA, next_z)

    def imagine(self, z_BD: Tensor, memory_BM: Tensor, actions_BSHA: Tensor) -> Tensor:
        """Fused: each latent is embedded once, and all modulations (the widest product) are one product."""
        batch, samples, horizon, _ = actions_BSHA.shape
        past_z, past_action, filled = self._unpack(memory_BM)
        past, ahead = self._modulate(past_action), self._modulate(actions_BSHA.flatten(0, 1))
        modulation = torch.cat([past.repeat_interleave(samples, 0), ahead], 1)
        tokens = list(self.embed(past_z).repeat_interleave(samples, 0).unbind(1))
        z, filled = z_BD.repeat_interleave(samples, 0), filled.repeat_interleave(samples, 0)
        latents = []
        for h in range(horizon):
            tokens.append(self.embed(z))
            window = modulation[:, h : h + self.context + 1]
            z = self._moved(z, self._change(torch.stack(tokens[h:], 1), window, filled + h))
            latents.append(z)
        return torch.stack(latents, 1).reshape(batch, samples, horizon, -1)

    def _unpack(self, memory_BM: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Past latents (B, K, D), past action blocks (B, K, A), and how many are filled (B, 1)."""
        pairs = memory_BM[:, :-1].reshape(-1, self.context, self.latent_size + self.action_size)
        return pairs[..., : self.latent_size], pairs[..., self.latent_size :], memory_BM[:, -1:]

    def _modulate(self, action_NTA: Tensor) -> Tensor:
        modulation_NTG: Tensor = self.modulation(functional.silu(self.embed_action(action_NTA)))
        return modulation_NTG

    def _change(self, token_NTW: Tensor, modulation_NTG: Tensor, filled_N1: Tensor) -> Tensor:
        slots = torch.arange(self.context + 1, device=token_NTW.device)
        # A slot not yet filled is seen by itself alone: a row with nothing to see would be NaN.
        seen_NTT = (slots >= self.context - filled_N1).unsqueeze(1) & (slots <= slots[:, None])
        allowed = (seen_NTT | (slots == slots[:, None])).unsqueeze(1)
        x = token_NTW + self.position
        for block, modulation in zip(self.blocks, modulation_NTG.chunk(len(self.blocks), -1), strict=True):
            x = block(x, modulation, allowed)
        change: Tensor = self.last(_norm(x[:, -1]))
        return change

    def _moved(self, z_ND: Tensor, change_NE: Tensor) -> Tensor:
        return torch.cat([z_ND[:, : self.scene_size], z_ND[:, self.scene_size :] + change_NE], -1)


def _norm(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:])
