"""From a log's sensors and a configuration to an encoder. A new body is one new file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import nn

from forethought.config import Count, OneOf, Whole
from forethought.errors import UsageError, unknown_name
from forethought.perception.conv import Convolution
from forethought.perception.fusion import Frozen, SensorEncoder
from forethought.perception.patches import PatchPyramid
from forethought.perception.vectors import TokenNet, VectorNet
from forethought.perception.vit import VisionTransformer
from forethought.types import ExperienceSpec, Sensor, SensorKind

IMAGE_BODIES: dict[str, Callable[[tuple[int, ...], int, int], nn.Module]] = {
    "patches": PatchPyramid,
    "conv": Convolution,
    "vit": VisionTransformer,
}


@final
@dataclass(frozen=True)
class EncoderConfig:
    """`image` names the body for images; `width` is its narrowest layer, `features` what enters the two heads.

    `scene_size` becomes 0 where the log's scenes do not differ, which training measures. `frozen`: the sensors that a module
    of the user's own encodes, which is passed beside the configuration.
    """

    image: Annotated[str, OneOf("image encoder", IMAGE_BODIES)] = "patches"
    width: Count = 64
    features: Count = 256
    scene_size: Whole = 12
    state_size: Count = 16
    frozen: tuple[str, ...] = ()


def build_encoder(spec: ExperienceSpec, config: EncoderConfig, modules: Mapping[str, nn.Module] | None = None) -> SensorEncoder:
    """An encoder for all sensors of a log; `modules` holds the user's own, one for each name in `config.frozen`.

    Raises UsageError for an unknown body, and for a frozen module that is missing or does not fit its sensor.
    """
    given = modules or {}
    _check_modules(spec, config, given)
    bodies = {s.name: _frozen(s, given[s.name], config) if s.name in given else _body(s, config) for s in spec.sensors}
    return SensorEncoder(bodies, config.features, config.scene_size, config.state_size)


def _body(sensor: Sensor, config: EncoderConfig) -> nn.Module:
    if sensor.kind is SensorKind.VECTOR:
        return VectorNet(sensor.shape[0], config.features, config.features)
    if sensor.kind is SensorKind.TOKENS:
        return TokenNet(sensor.shape[0], sensor.vocabulary, config.features, config.features)
    if config.image not in IMAGE_BODIES:
        raise unknown_name("image encoder", config.image, IMAGE_BODIES)
    return IMAGE_BODIES[config.image](sensor.shape, config.width, config.features)


def _check_modules(spec: ExperienceSpec, config: EncoderConfig, given: Mapping[str, nn.Module]) -> None:
    for name in given:
        if name not in {sensor.name for sensor in spec.sensors}:
            raise unknown_name("sensor", name, [sensor.name for sensor in spec.sensors])
    missing, surplus = set(config.frozen) - set(given), set(given) - set(config.frozen)
    if missing:
        names = ", ".join(f"'{name}': ..." for name in sorted(missing))
        raise UsageError(f"a module of your own encodes {sorted(missing)}; pass one of the same shape: modules={{{names}}}")
    if surplus:
        raise UsageError(
            f"got modules for {sorted(surplus)}, which this configuration does not encode with modules; leave them out"
        )


def _frozen(sensor: Sensor, module: nn.Module, config: EncoderConfig) -> Frozen:
    """The user's module as a body; one reading of zeros tells the size of what it gives."""
    reading = torch.zeros(1, *sensor.shape, dtype=getattr(torch, sensor.dtype))
    try:
        return Frozen(module, Frozen.output_of(module, reading), config.features)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UsageError(
            f"the module for '{sensor.name}' failed on a reading of shape {tuple(reading.shape)}, {sensor.dtype}: {error}; "
            "it must take raw readings and give (batch, n)"
        ) from error
