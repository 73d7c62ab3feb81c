"""The benchmarks run, count right, and leave what is needed to run them again. Their figures are in scores/, not here."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from forethought.training.allocator import keep_freed_memory

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_a_result_says_how_to_get_it_again(benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = benchmark("_result")
    monkeypatch.setattr(sys, "argv", [str(FOLDER / "speed.py"), "--rounds", "2"])
    written = json.loads(result.write_result(tmp_path / "s.json", result.command_line(), {"figure": 1.5}).read_text())
    assert written["command"] == "python benchmarks/speed.py --rounds 2"
    assert written["figure"] == 1.5 and written["versions"]["torch"] == torch.__version__
    assert written["machine"]["cores"] >= 1 and written["commit"]


@pytest.mark.lane
def test_a_training_update_is_counted_as_its_layers_say(benchmark, tmp_path: Path) -> None:
    rate = benchmark("matrix_rate")
    update = rate.Update(rate.two_room_data(tmp_path), rate.configured(*rate.MODELS["patches s"]))
    frames, layers = update.stage.frames_per_update, ((64, 192, 64), (16, 256, 128), (4, 512, 256), (1, 1024, 256))
    encoder = sum(2 * (2 if i == 0 else 3) * patches * given * made for i, (patches, given, made) in enumerate(layers))
    assert 1 <= update.flops / (frames * encoder) < 1.15  # the rest: heads, dynamics, inverse, projections
    before = [p.detach().clone() for p in update.stage.trained()]
    update.work()
    assert any(not torch.equal(a, b) for a, b in zip(before, update.stage.trained(), strict=True))


@pytest.mark.lane
def test_the_published_shapes_are_right_and_slower(benchmark) -> None:
    speed = benchmark("predictor_speed")
    payload = speed.measure(1)
    assert payload["published"]["parameters"] == 10_788_480
    assert payload["ours"]["residual MLP, width 192"]["times_faster"] > 20


def test_an_earlier_frame_of_the_published_copy_does_not_see_a_later_action(benchmark) -> None:
    speed = benchmark("predictor_speed")
    torch.manual_seed(0)
    model, z, actions = speed.PublishedPredictor().eval(), torch.randn(1, 192), torch.rand(2, 4, 10)
    later = actions.clone()
    later[:, 3] += 1
    with torch.inference_mode():
        one, other = model.rollout(z, actions), model.rollout(z, later)
    assert torch.equal(one[:, :3], other[:, :3]) and not torch.allclose(one[:, 3], other[:, 3])


def test_freed_memory_is_kept_on_linux() -> None:
    assert keep_freed_memory() == (sys.platform == "linux")


@pytest.mark.lane
def test_startup_is_measured_in_fresh_processes(benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER.parent))
    startup = importlib.import_module("benchmarks.startup")
    payload = startup.measure(1)
    assert set(payload["bars_wall_seconds"]) <= set(payload["commands"])
    assert all(figures["wall_seconds"] > 0 for figures in payload["commands"].values())


def test_the_readme_picture_can_be_drawn_from_a_run(benchmark, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER.parent))
    image = importlib.import_module("benchmarks.pictures").draw(run)
    assert image.ndim == 3 and image.shape[1] > 900 and len({tuple(pixel) for pixel in image.reshape(-1, 3)[::7]}) > 50
