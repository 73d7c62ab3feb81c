"""What people look through: named quantities, the probe, the decoder, the tail of the prediction error."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_config

from forethought.config import from_json
from forethought.data import open_log
from forethought.data.dataset import Dataset
from forethought.data.episodes import MemoryExperience
from forethought.data.quantities import Quantities, quantities_of, select
from forethought.data.split import Split
from forethought.dynamics.residual_mlp import ResidualMLP
from forethought.errors import DataError, RunError
from forethought.perception.decoder import small_images, small_shape
from forethought.training.bundle import load_parts
from forethought.training.calibrate import Calibration
from forethought.training.decoder import DecoderStage, load_decoder
from forethought.training.examples import load_examples
from forethought.training.latents import Latents
from forethought.training.probes import ProbeStage, probe_quality
from forethought.training.run import RunFolder
from forethought.training.schedule import Schedule
from forethought.training.tail import measure_tail
from forethought.training.trainer import run_stage
from forethought.types import BoxSpace, Episode, ExperienceSpec, Sensor, SensorKind

QUICK = Schedule(updates=150, learning_rate=5e-3, warmup=5)


def latents_of(z_ND: torch.Tensor, lengths: list[int]) -> Latents:
    lengths_E = np.array(lengths)
    starts_E = np.concatenate([[0], np.cumsum(lengths_E + 1)[:-1]])
    return Latents(z_ND, torch.zeros(len(z_ND), 1), starts_E, lengths_E, 1, 0)


def dataset(metadata: dict[str, np.ndarray], state: np.ndarray) -> Dataset:
    spec = ExperienceSpec((Sensor("state", SensorKind.VECTOR, state.shape[1:], "float32"),), BoxSpace((-1.0,), (1.0,)))
    episode = Episode("one", {"state": state}, np.zeros((len(state) - 1, 1), np.float32), metadata=metadata)
    return Dataset.load(MemoryExperience(spec, [episode]))


def test_quantities_are_named_and_what_says_nothing_is_left_out() -> None:
    line = np.linspace(0, 1, 6).astype(np.float32)
    metadata = {"battery": line, "position": np.stack([line, line**2], 1), "wall": np.ones(6), "lost": np.full(6, np.nan)}
    data = dataset(metadata, np.stack([np.zeros(6), -line], 1).astype(np.float32))
    known = quantities_of(data)
    assert known.names == ("battery", "position[0]", "position[1]", "state[1]")
    assert known.values_NQ[2].tolist() == pytest.approx([0.4, 0.4, 0.16, -0.4])
    assert select(data, ("position[1]",)).values_NQ[:, 0].tolist() == pytest.approx((line**2).tolist())
    with pytest.raises(DataError, match="lack the quantities speed"):
        select(data, ("speed",))
    metadata["battery"] = np.where(line > 0.5, np.nan, line)
    assert len(quantities_of(dataset(metadata, data.sensors["state"])).finite_rows()) == 3


def test_a_probe_reads_what_is_there_and_nothing_else(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(3000, 4, generator=generator)
    noise = torch.randn(3000, generator=generator)
    values = torch.stack([100 + 5 * z[:, 0], 7 * z[:, 1] * z[:, 2], noise], 1).numpy()
    values[::50] = np.nan  # rows that the log does not know
    known = Quantities(("straight", "bent", "absent"), values)
    train, held_out = latents_of(z[:2000], [1999]), latents_of(z[2000:], [999])
    first, last = replace(known, values_NQ=values[:2000]), replace(known, values_NQ=values[2000:])
    config = small_config()
    stage = ProbeStage(
        train, first, replace(config, probe=replace(config.probe, batch_size=256, width=64)), torch.device("cpu")
    )
    (tmp_path / "run").mkdir()
    run_stage(stage, replace(QUICK, updates=400), RunFolder(tmp_path / "run"))
    straight, bent, absent = probe_quality(stage.probe, train, first, held_out, last)
    assert straight.linear > 0.999 and straight.nonlinear > 0.98
    assert bent.linear < 0.05 and bent.nonlinear > 0.9
    assert absent.linear < 0.05 and absent.nonlinear < 0.2
    assert straight.rows == 980


def test_a_decoder_draws_a_small_thing(tmp_path: Path) -> None:
    place = torch.rand(600, 2, generator=torch.Generator().manual_seed(0))
    frames = np.full((600, 32, 32, 3), 230, np.uint8)
    for frame, (x, y) in zip(frames, (place * 28).int().tolist(), strict=True):
        frame[y : y + 4, x : x + 4] = (200, 30, 30)
    spec = ExperienceSpec((Sensor("camera", SensorKind.IMAGE, (32, 32, 3), "uint8"),), BoxSpace((-1.0,), (1.0,)))
    episode = Episode("one", {"camera": frames}, np.zeros((599, 1), np.float32))
    data = Dataset.load(MemoryExperience(spec, [episode]))
    config = small_config()
    config = replace(config, decoder=replace(config.decoder, batch_size=64, width=64, side=16))
    stage = DecoderStage(latents_of(4 * place - 2, [599]), data, "camera", config, torch.device("cpu"))
    (tmp_path / "run").mkdir()
    run = RunFolder(tmp_path / "run")
    run_stage(stage, replace(QUICK, updates=300), run)
    decoder = load_decoder(run)
    assert decoder is not None
    drawn = decoder.pictures(torch.tensor([[-1.2, -1.2], [1.2, 1.2]])).float()
    assert drawn.shape == (2, 16, 16, 3)
    red = drawn[..., 0] - drawn[..., 1]  # the thing, not the background
    for image, (row, column) in zip(red, ((3, 3), (12, 12)), strict=True):
        best = divmod(int(image.argmax()), 16)
        assert abs(best[0] - row) <= 2 and abs(best[1] - column) <= 2
    (tmp_path / "run" / "decoder.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match="damaged"):
        load_decoder(run)


def test_small_images_are_means_of_areas() -> None:
    image = torch.arange(16.0).reshape(1, 4, 4, 1)
    assert small_images(image, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert small_shape((224, 112, 3), 32) == (32, 16, 3) and small_shape((20, 20, 1), 32) == (20, 20, 1)


def test_the_tail_names_the_transitions_that_surprise() -> None:
    torch.manual_seed(0)
    z = torch.zeros(303, 3)
    z[150], z[202] = 3.0, 5.0  # rows of episode "b" (it begins at 101) and of "c" (at 202), whose first row is no arrival
    tail = measure_tail(latents_of(z, [100, 100, 100]), _still(3), ("a", "b", "c"))
    assert tail.count == 300 and len(tail.worst) == 3
    found = [(t.episode, t.step, t.row) for t in tail.worst]
    assert found[0] == ("c", 0, 202) and set(found[1:]) == {("b", 48, 149), ("b", 49, 150)}
    assert tail.worst[0].error == pytest.approx(25.0) and tail.worst[1].error == pytest.approx(9.0)
    assert tail.share == pytest.approx(1.0) and tail.mean == pytest.approx(43 / 300) and tail.p50 == 0


def _still(size: int) -> ResidualMLP:
    dynamics = ResidualMLP(size, 0, 1, 8, 1)
    for parameter in dynamics.parameters():
        torch.nn.init.zeros_(parameter)  # a residual of zero: nothing ever changes
    return dynamics


def test_a_run_keeps_what_the_report_needs(log: Path, run: Path, tmp_path: Path) -> None:
    folder = RunFolder(run)
    figures = from_json(Calibration, folder.calibration.read_text())
    held_out = Dataset.load(open_log(log), Split.CALIBRATE)
    assert [quality.name for quality in figures.probes] == ["position[0]", "position[1]"]
    assert figures.tail.count == int(held_out.lengths.sum()) and len(figures.tail.worst) == max(1, figures.tail.count // 100)
    assert {t.episode for t in figures.tail.worst} <= set(held_out.episode_ids)
    examples = load_examples(folder.examples)
    assert examples is not None
    assert examples.frames_KHHWC.shape == (5, 11, 64, 64, 3) and examples.imagined_KHD.shape[:2] == (5, 10)
    assert examples.error_K.tolist() == sorted(examples.error_K.tolist())  # percentiles, in order
    worst = figures.tail.worst[int(examples.worst_M[0])]
    frame = held_out.sensors["image"][worst.row]
    assert np.array_equal(examples.worst_frames_M2HWC[0, 0].numpy(), frame)
    _, _, parts = load_parts(run)
    assert parts.probe is not None and parts.probe.names == ("position[0]", "position[1]")
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "probe.safetensors").unlink()
    assert load_parts(copy)[2].probe is None
