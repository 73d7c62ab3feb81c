"""From a log's sensors and a configuration to an encoder. A new body is one new file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, final

from torch import nn

from forethought.config import Count, OneOf, Whole
from forethought.errors import unknown_name
from forethought.perception.conv import Convolution
from forethought.perception.fusion import SensorEncoder
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
    """`image` names the body for images; `width` is its narrowest layer, `features` what enters the two heads."""

    image: Annotated[str, OneOf("image encoder", IMAGE_BODIES)] = "patches"
    width: Count = 64
    features: Count = 256
    scene_size: Whole = 12
    state_size: Count = 16


def build_encoder(spec: ExperienceSpec, config: EncoderConfig) -> SensorEncoder:
    """An encoder for all sensors of a log. Raises UsageError for an unknown body."""
    bodies = {sensor.name: _body(sensor, config) for sensor in spec.sensors}
    return SensorEncoder(bodies, config.features, config.scene_size, config.state_size)


def _body(sensor: Sensor, config: EncoderConfig) -> nn.Module:
    if sensor.kind is SensorKind.VECTOR:
        return VectorNet(sensor.shape[0], config.features, config.features)
    if sensor.kind is SensorKind.TOKENS:
        return TokenNet(sensor.shape[0], sensor.vocabulary, config.features, config.features)
    if config.image not in IMAGE_BODIES:
        raise unknown_name("image encoder", config.image, IMAGE_BODIES)
    return IMAGE_BODIES[config.image](sensor.shape, config.width, config.features)
