"""Encoders, dynamics and the world model seam."""

from __future__ import annotations

import pytest
import torch

from forethought.dynamics.residual_mlp import ResidualMLP
from forethought.errors import UsageError
from forethought.perception.build import EncoderConfig, build_encoder
from forethought.perception.fusion import Frozen, SensorEncoder
from forethought.testing import check_world_model
from forethought.types import BoxSpace, ExperienceSpec, Sensor, SensorKind
from forethought.world_model import LatentWorldModel, copy_scene

IMAGE = Sensor("camera.top", SensorKind.IMAGE, (64, 64, 3), "uint8")
VECTOR = Sensor("joints", SensorKind.VECTOR, (5,), "float32")
TOKENS = Sensor("words", SensorKind.TOKENS, (3,), "int64", vocabulary=11)
SPACE = BoxSpace((-1.0,), (1.0,))


def observation(batch: int, *sensors: Sensor) -> dict[str, torch.Tensor]:
    made = {}
    for sensor in sensors:
        shape = (batch, *sensor.shape)
        if sensor.kind is SensorKind.IMAGE:
            made[sensor.name] = torch.randint(0, 256, shape, dtype=torch.uint8)
        elif sensor.kind is SensorKind.VECTOR:
            made[sensor.name] = torch.randn(shape)
        else:
            made[sensor.name] = torch.randint(0, sensor.vocabulary, shape)
    return made


@pytest.mark.parametrize("image", ["patches", "conv", "vit"])
@pytest.mark.parametrize(
    "sensors", [(IMAGE,), (VECTOR,), (TOKENS,), (IMAGE, VECTOR, TOKENS)], ids=lambda s: "+".join(x.name for x in s)
)
def test_any_mix_of_sensors_conforms(image: str, sensors: tuple[Sensor, ...]) -> None:
    encoder = build_encoder(ExperienceSpec(sensors, SPACE), EncoderConfig(image, 16, 32, scene_size=3, state_size=5))
    model = LatentWorldModel(encoder, ResidualMLP(8, 3, 2, 16)).eval()
    assert model.encode(observation(2, *sensors)).shape == (2, 8)
    check_world_model(model, observation(2, *sensors), action_size=2)


@pytest.mark.parametrize("shape", [(64, 64, 3), (96, 96, 3), (224, 224, 3), (50, 70, 1)])
@pytest.mark.parametrize("image", ["patches", "vit"])
def test_any_image_size(image: str, shape: tuple[int, ...]) -> None:
    camera = Sensor("camera", SensorKind.IMAGE, shape, "uint8")
    encoder = build_encoder(ExperienceSpec((camera,), SPACE), EncoderConfig(image, 8, 16, scene_size=0, state_size=4)).eval()
    assert encoder(observation(2, camera)).shape == (2, 4)


def test_every_pixel_reaches_the_latent() -> None:
    encoder = build_encoder(ExperienceSpec((IMAGE,), SPACE), EncoderConfig(width=16, features=32)).eval()
    base = observation(1, IMAGE)
    for row, column in ((0, 0), (63, 63), (31, 32), (7, 56)):
        changed = {"camera.top": base["camera.top"].clone()}
        changed["camera.top"][0, row, column] ^= 128
        assert not torch.equal(encoder(base), encoder(changed)), f"pixel {row}, {column} is not seen"


def test_fused_imagine_equals_single_steps() -> None:
    torch.manual_seed(0)
    for scene in (0, 3):
        dynamics = ResidualMLP(8, scene, 2, 32)
        z, actions = torch.randn(2, 8), torch.randn(2, 5, 4, 2)
        fused = dynamics.imagine(z, z[:, :0], actions)
        slow = super(ResidualMLP, dynamics).imagine(z, z[:, :0], actions)
        assert torch.allclose(fused, slow, atol=1e-5)
        assert torch.equal(fused[..., :scene], z[:, None, None, :scene].expand(-1, 5, 4, -1))


def test_copy_scene() -> None:
    before, after = torch.zeros(2, 4), torch.ones(2, 4)
    assert copy_scene(before, after, 1).tolist() == [[0, 1, 1, 1]] * 2


def test_a_frozen_module_is_not_trained_and_its_size_is_checked() -> None:
    body = torch.nn.Linear(5, 7)
    encoder = SensorEncoder({"joints": Frozen(body, 7, 16)}, 16, 0, 4)
    encoder(observation(3, VECTOR)).sum().backward()
    assert body.weight.grad is None
    with pytest.raises(UsageError, match="expected \\(batch, 9\\)"):
        Frozen(body, 9, 16)(torch.randn(2, 5))


def test_unknown_image_encoder_is_named() -> None:
    with pytest.raises(UsageError, match="Did you mean 'patches'"):
        build_encoder(ExperienceSpec((IMAGE,), SPACE), EncoderConfig(image="patch"))
