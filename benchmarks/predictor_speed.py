"""How much faster is our default dynamics than LeWM's predictor, on one thread, for one plan of LeWM's budget?

The budget: 300 samples x 30 iterations x a horizon of 5 blocks, latents of 192 numbers, blocks of 10 (2603.19312). Both roll
out the same candidates from one latent in turns; one iteration is timed and 30 make a plan. The copy of the predictor has
the published shapes and random weights: speed does not depend on them. Where the publication leaves a choice, the copy is the
faster one: its history grows from one frame to three within a rollout, and the projector behind it is left out.

    python benchmarks/predictor_speed.py [--rounds 7] [--out FILE]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from _result import command_line, write_result
from torch import Tensor, nn
from torch.nn import functional

from forethought.dynamics.residual_mlp import ResidualMLP

SAMPLES, ITERATIONS, HORIZON, LATENT, ACTION, HISTORY = 300, 30, 5, 192, 10, 3
WIDTHS = (192, 256, 512, 1024)
"""Of the residual MLP: the training default, the class default, and what `--size l` and beyond would take."""


class AdaptiveLayer(nn.Module):
    """Causal attention, 16 heads of 64, and a two-layer network of 2048, shifted, scaled and gated by the action."""

    def __init__(self) -> None:
        super().__init__()
        self.modulation = nn.Linear(LATENT, 6 * LATENT)
        self.qkv, self.out = nn.Linear(LATENT, 3 * 16 * 64, bias=False), nn.Linear(16 * 64, LATENT)
        self.up, self.down = nn.Linear(LATENT, 2048), nn.Linear(2048, LATENT)

    def forward(self, x_NTD: Tensor, condition_NTD: Tensor) -> Tensor:
        shift, scale, gate, shift2, scale2, gate2 = self.modulation(functional.silu(condition_NTD)).chunk(6, -1)
        inner = functional.layer_norm(x_NTD, (LATENT,)) * (1 + scale) + shift
        q, k, v = self.qkv(inner).view(*x_NTD.shape[:2], 3, 16, 64).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x_NTD + gate * self.out(mixed.transpose(1, 2).flatten(2))
        inner = functional.layer_norm(x, (LATENT,)) * (1 + scale2) + shift2
        moved: Tensor = x + gate2 * self.down(functional.gelu(self.up(inner)))
        return moved


class PublishedPredictor(nn.Module):
    """Six layers over the last three (latent, action block) pairs; the last token is the next latent."""

    def __init__(self) -> None:
        super().__init__()
        self.action, self.position = nn.Linear(ACTION, LATENT), nn.Parameter(torch.randn(HISTORY, LATENT) * 0.02)
        self.layers = nn.ModuleList(AdaptiveLayer() for _ in range(6))

    def rollout(self, z_1D: Tensor, actions_SHA: Tensor) -> Tensor:
        condition_SHD = self.action(actions_SHA)
        latents = [z_1D.expand(len(actions_SHA), -1)]
        for h in range(actions_SHA.shape[1]):
            x = torch.stack(latents[-HISTORY:], 1)
            length = x.shape[1]
            x = x + self.position[:length]
            for layer in self.layers:
                x = layer(x, condition_SHD[:, h + 1 - length : h + 1])
            latents.append(functional.layer_norm(x[:, -1], (LATENT,)))
        return torch.stack(latents[1:], 1)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time, which a busy machine leaves comparable; on one thread it is the clock's on an idle one."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(rounds: int) -> dict[str, object]:
    torch.manual_seed(0)
    z, actions = torch.randn(1, LATENT), torch.rand(1, SAMPLES, HORIZON, ACTION) * 2 - 1
    published = PublishedPredictor().eval()
    ours = {width: ResidualMLP(LATENT, 0, ACTION, width).eval() for width in WIDTHS}
    theirs_s: list[float] = []
    ours_s: dict[int, list[float]] = {width: [] for width in WIDTHS}
    with torch.inference_mode():
        assert published.rollout(z, actions[0]).shape == ours[192].imagine(z, z[:, :0], actions)[0].shape
        for _ in range(rounds):
            theirs_s.append(cpu_seconds(lambda: published.rollout(z, actions[0])))
            for width, dynamics in ours.items():
                ours_s[width].append(cpu_seconds(lambda d=dynamics: [d.imagine(z, z[:, :0], actions) for _ in range(5)]) / 5)
    theirs = statistics.median(theirs_s)
    rows = {
        f"residual MLP, width {width}": {
            "parameters": parameters(dynamics),
            "plan_seconds": round(statistics.median(ours_s[width]) * ITERATIONS, 4),
            "times_faster": round(theirs / statistics.median(ours_s[width]), 1),
        }
        for width, dynamics in ours.items()
    }
    return {
        "budget": {"samples": SAMPLES, "iterations": ITERATIONS, "horizon": HORIZON, "latent": LATENT, "action_block": ACTION},
        "threads": 1, "rounds": rounds, "time": "CPU time of one iteration, median, times 30",
        "published": {"parameters": parameters(published), "plan_seconds": round(theirs * ITERATIONS, 2)},
        "ours": rows,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", default="predictor_speed.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    payload = measure(arguments.rounds)
    print(f"published shapes: {payload['published']}")
    for name, row in payload["ours"].items():  # type: ignore[attr-defined]
        print(f"{name}: {row}")
    print(write_result(arguments.out, command_line(), payload))


if __name__ == "__main__":
    main()
