"""Checkpoints: module weights and optimizer state in one safetensors file, so that a resumed run ends with the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from forethought.errors import RunError
from forethought.training.files import write_atomic_with


def save_modules(path: Path, modules: Mapping[str, nn.Module], note: Mapping[str, str] | None = None) -> None:
    """Weights and buffers of named modules, atomically. `note` is stored as metadata."""
    tensors = {f"{name}/{key}": t for name, m in modules.items() for key, t in m.state_dict().items()}
    save_tensors(path, tensors, note)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, str] | None = None) -> None:
    """Tensors by name, atomically. Raises DataError if they cannot be written."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic_with(path, lambda temporary: save_file(whole, temporary, dict(note or {})))


def load_modules(path: Path, modules: Mapping[str, nn.Module]) -> Mapping[str, str]:
    """Load what `save_modules` wrote, strictly: every tensor must be there and fit. Returns the note."""
    tensors, note = read_tensors(path)
    for name, module in modules.items():
        prefix = f"{name}/"
        own = {key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)}
        try:
            module.load_state_dict(own, strict=True)
        except RuntimeError as error:
            raise RunError(
                f"{path}: part '{name}' does not fit this configuration: {error}; was config.json changed?"
            ) from None
    return note


def save_training(path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, update: int) -> None:
    """Everything a stage needs to go on after `update` finished updates, in one atomic file."""
    tensors = {f"{name}/{key}": t.detach().cpu().clone() for name, m in modules.items() for key, t in m.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        for slot, value in slots.items():
            tensors[f"optimizer/{index}/{slot}"] = torch.as_tensor(value).detach().cpu().clone()
    save_tensors(path, tensors, {"update": str(update)})


def load_training(path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> int:
    """The inverse of `save_training`; returns the number of finished updates."""
    note = load_modules(path, modules)
    tensors, _ = read_tensors(path)
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer/"):
            _, index, slot = key.split("/")
            state.setdefault(int(index), {})[slot] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return int(note["update"])


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """All tensors and the note of a safetensors file. Raises RunError if it is missing or damaged."""
    if not path.is_file():
        raise RunError(f"{path}: no such file; a finished run has it. Resume the training, or give another run folder")
    try:
        with safe_open(path, framework="pt") as handle:
            return {key: handle.get_tensor(key) for key in handle.keys()}, handle.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise RunError(f"{path}: damaged ({error}); restore it or train again") from None
