"""Every option of training is reached by configuration, learns a toy end to end, and loads again as an agent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_config
from torch import nn

from forethought.config import from_json
from forethought.data import write_log
from forethought.dynamics.build import FAMILIES, Architecture
from forethought.errors import ConfigError, UsageError
from forethought.objectives.regulariser import Regulariser
from forethought.perception.build import EncoderConfig
from forethought.testing import check_agent
from forethought.training.bundle import load_agent
from forethought.training.calibrate import Calibration
from forethought.training.config import TrainConfig
from forethought.training.run import RunFolder
from forethought.training.schedule import Schedule
from forethought.training.train import train
from forethought.types import BoxSpace, Episode, ExperienceSpec, Observation, ReachObservation, Sensor, SensorKind

SIDE = 24
SPEC = ExperienceSpec((Sensor("image", SensorKind.IMAGE, (SIDE, SIDE, 3), "uint8"),), BoxSpace((-1.0, -1.0), (1.0, 1.0)))


def picture(position_T2: np.ndarray) -> np.ndarray:
    """A soft dot on a dark ground, (T, SIDE, SIDE, 3)."""
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, SIDE)] * 2, indexing="xy"), -1)
    gap = ((grid[None] - position_T2[:, None, None]) ** 2).sum(-1)
    return np.repeat((255 * np.exp(-gap / 0.02))[..., None], 3, -1).astype(np.uint8)


def dots(episodes: int = 40, steps: int = 24) -> Iterator[Episode]:
    """A dot that goes where it is pushed."""
    for index in range(episodes):
        generator = np.random.default_rng(index)
        actions = np.repeat(generator.uniform(-1, 1, (steps // 4, 2)), 4, 0).astype(np.float32)
        position = [generator.uniform(0.2, 0.8, 2)]
        for action in actions:
            position.append(np.clip(position[-1] + 0.1 * action, 0, 1))
        yield Episode(f"dot-{index}", {"image": picture(np.stack(position))}, actions)


@pytest.fixture(scope="module")
def dot_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("dots") / "log.h5", dots(), SPEC)


def toy_config(updates: int = 100) -> TrainConfig:
    base = small_config()
    schedule = Schedule(updates=updates, learning_rate=3e-3, warmup=10, decay=0.5, log_every=25)
    return replace(
        base,
        encoder=EncoderConfig(width=16, features=64, scene_size=0, state_size=6),
        predict=replace(base.predict, schedule=schedule, episodes=16, windows=4),
        dynamics=replace(base.dynamics, schedule=schedule, batch_size=128, architecture=Architecture(width=64, depth=2)),
        heads=replace(base.heads, schedule=replace(schedule, updates=10)),
    )


def learned(run: RunFolder, share: float = 0.6) -> None:
    """The state kept its rank, and on held-out episodes the model beats "nothing changes" clearly."""
    rank = [line["rank"] for line in run.read_metrics() if line["stage"] == "predict"][-1]
    assert rank > 1.5
    figures = from_json(Calibration, run.calibration.read_text())
    for imagined, unchanged in zip(figures.horizon_error[:3], figures.unchanged_error[:3], strict=True):
        assert imagined < share * unchanged, (figures.horizon_error, figures.unchanged_error)


def acts(run: RunFolder, observation: Observation, modules: dict[str, nn.Module] | None = None) -> None:
    check_agent(load_agent(run.path, modules=modules), observation, ReachObservation(observation))


@pytest.mark.lane
@pytest.mark.parametrize("family", FAMILIES)
def test_every_dynamics_learns(dot_log: Path, tmp_path: Path, family: str) -> None:
    config = toy_config()
    config = replace(config, dynamics=replace(config.dynamics, architecture=Architecture(family, 64, 2)))
    run = train(dot_log, tmp_path / "run", config)
    learned(run)
    acts(run, {"image": picture(np.array([[0.5, 0.5]]))[0]})


@pytest.mark.lane
@pytest.mark.parametrize("regulariser", Regulariser)
def test_every_regulariser_keeps_the_rank(dot_log: Path, tmp_path: Path, regulariser: Regulariser) -> None:
    config = toy_config(300)  # a teacher, which begins where the encoder began, is the slowest
    run = train(dot_log, tmp_path / "run", replace(config, predict=replace(config.predict, regulariser=regulariser)))
    learned(run)
    load_agent(run.path)


@pytest.mark.lane
@pytest.mark.parametrize("image", ["conv", "vit"])
def test_every_image_encoder_learns(dot_log: Path, tmp_path: Path, image: str) -> None:
    config = toy_config()
    run = train(dot_log, tmp_path / "run", replace(config, encoder=replace(config.encoder, image=image)))
    learned(run)
    load_agent(run.path)


class Blurred(nn.Module):
    """Stands for somebody's pretrained network: an 8x8 average of the raw picture, (B, 64)."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.mix = nn.Linear(64, 64)
        with torch.no_grad():
            self.mix.weight.copy_(torch.randn(64, 64, generator=torch.Generator().manual_seed(seed)) / 8)

    def forward(self, image_BHWC: torch.Tensor) -> torch.Tensor:
        return self.mix(nn.functional.adaptive_avg_pool2d(image_BHWC.float().mean(-1) / 64, 8).flatten(1))


def test_a_module_of_the_users_own_is_frozen_and_comes_back_with_the_run(dot_log: Path, tmp_path: Path) -> None:
    module = Blurred()
    before = module.mix.weight.clone()
    run = train(dot_log, tmp_path / "run", toy_config(), modules={"image": module})
    learned(run)
    assert torch.equal(module.mix.weight, before)
    other = Blurred(seed=1)
    acts(run, {"image": picture(np.array([[0.5, 0.5]]))[0]}, {"image": other})
    assert torch.equal(other.mix.weight, before)  # the run's weights, not the ones passed
    with pytest.raises(UsageError, match=r"pass one of the same shape: modules=\{'image'"):
        load_agent(run.path)


@pytest.mark.parametrize(
    ("module", "said"),
    [(nn.Linear(3, 5), "must take raw readings"), (nn.Identity(), r"expected \(batch, n\); flatten or pool")],
)
def test_a_module_that_does_not_fit_is_one_clear_error(dot_log: Path, tmp_path: Path, module: nn.Module, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        train(dot_log, tmp_path / "run", toy_config(), modules={"image": module})
    with pytest.raises(UsageError, match="Did you mean 'image'"):
        train(dot_log, tmp_path / "run", toy_config(), modules={"imag": module})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"predict": {"regulariser": "sigregg"}}', "Did you mean 'sigreg'"),
        ('{"device": "gpu"}', "known: auto, cpu, cuda, mps"),
        ('{"dynamics": {"architecture": {"widht": 3}}}', "Did you mean 'width'"),
    ],
)
def test_options_are_typed(text: str, said: str) -> None:
    with pytest.raises((ConfigError, UsageError), match=said):
        from_json(TrainConfig, text)


def test_metrics_show_the_error_on_held_out_episodes_and_tensorboard_shows_them_too(dot_log: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(dot_log, tmp_path / "run", toy_config(200))
    lines = [line for line in run.read_metrics() if line["stage"] == "predict" and "held_out" in line]
    assert [line["update"] for line in lines] == [25, 150]
    assert lines[1]["held_out"] < 0.8 * lines[1]["held_out_unchanged"] and lines[1]["held_out_p99"] > lines[1]["held_out"]
    assert any("held_out" in line for line in run.read_metrics() if line["stage"] == "dynamics")
    board = EventAccumulator(str(run.board / "predict"))
    board.Reload()
    for name in ("loss", "rank", "held_out"):
        shown = [(event.step, round(event.value, 3)) for event in board.Scalars(name)]
        kept = [m for m in run.read_metrics() if m["stage"] == "predict" and name in m]
        assert shown == [(line["update"], pytest.approx(line[name], abs=2e-3)) for line in kept]


def test_a_resumed_board_forgets_what_is_done_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from forethought.training.board import Board

    first = Board(tmp_path, 0)
    first.add(10, {"loss": 3.0})
    first.add(20, {"loss": 2.0})
    Board(tmp_path, 10).add(20, {"loss": 1.0})
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert [(event.step, event.value) for event in read.Scalars("loss")] == [(10, 3.0), (20, 1.0)]
