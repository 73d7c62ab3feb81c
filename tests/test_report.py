"""The report: it stands alone, every figure says n, a plan is drawn where it leads, and a real browser is content with it."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import opened

from forethought.arena.evaluate import Evaluation, evaluate
from forethought.arena.report import write_report
from forethought.arena.report.films import Film, Lens, chosen_good, chosen_worst, shoot, strip
from forethought.arena.report.futures import futures, surprises
from forethought.arena.report.place import find_place
from forethought.arena.task import Task
from forethought.arena.tasks import make_task
from forethought.config import read_json
from forethought.data.motion import moving_centre
from forethought.page.svg import Line, chart, short
from forethought.perception.probe import Probe
from forethought.training.bundle import load_agent
from forethought.training.calibrate import Calibration
from forethought.training.examples import load_examples
from forethought.training.run import RunFolder

SECTIONS = ("success", "episodes", "distance", "futures", "held-out", "learned", "cost", "failures", "surprises", "made")


@pytest.fixture(scope="module")
def measured(run: Path) -> tuple[Task, Evaluation]:
    task = make_task("two-room-random-v1")
    task.budget = 10
    return task, evaluate(run, task, count=14, modes=("plan", "habit"))


@pytest.fixture(scope="module")
def page(run: Path, measured: tuple[Task, Evaluation], tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(run, copy)
    return write_report(copy, *measured)


def test_it_stands_alone_and_every_figure_says_n(page: Path) -> None:
    text = page.read_text()
    assert [name for name in SECTIONS if f'<section id="{name}">' not in text] == ["episodes"][
        : 0 if "reached</span>" in text else 1
    ]
    assert not re.search(r"(src|href)=\"(?!data:|#)", text) and "@import" not in text and "<script" not in text
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL)
    assert len(captions) > 12
    assert [caption for caption in captions if "n =" not in caption] == []
    assert page.stat().st_size < 3e6


def test_without_probe_and_decoder_it_is_still_a_report(page: Path, measured: tuple[Task, Evaluation], tmp_path: Path) -> None:
    shutil.copytree(page.parent, tmp_path / "run")
    (tmp_path / "run" / "probe.safetensors").unlink()
    drawn = write_report(tmp_path / "run", *measured).read_text()
    assert "<polyline" not in drawn.split('id="failures"')[1].split('id="surprises"')[0] and 'class="end"' in drawn
    (tmp_path / "run" / "decoder.safetensors").unlink()
    (tmp_path / "run" / "examples.safetensors").unlink()
    bare = write_report(tmp_path / "run", *measured).read_text()
    assert 'class="end"' not in bare and 'id="futures"' not in bare and 'id="failures"' in bare


def test_a_film_goes_as_the_episode_went_and_the_plan_is_drawn_where_it_leads(run: Path) -> None:
    agent, task = load_agent(run), make_task("two-room-fixed-v1")
    task.budget = 8
    found = evaluate(run, task, count=3, modes=("plan",), out=run / "work" / "films.json")
    outcome = found.agent.outcomes[0]
    pair = next(p for p in task.pairs(3, 0) if p.id == outcome.pair)
    film = shoot(agent, task, pair, outcome)
    assert [shot.step for shot in film.shots] == list(range(outcome.steps))
    assert film.shots[0].plan_HD is not None and film.shots[0].plan_HD.shape[0] == agent.config.search.horizon
    probe = Probe(film.shots[0].z_D.shape[0], ("p[0]", "p[1]"), 4)
    for parameter in probe.parameters():
        torch.nn.init.zeros_(parameter)
    probe.mean_Q.copy_(torch.tensor([30.0, 60.0]))  # whatever the latent: here
    from forethought.arena.report.place import Place

    place = Place((0, 1), np.array([[0.01, 0.0], [0.0, 0.01], [0.0, 0.0]]), 1.0)
    assert 'cx="30.0" cy="60.0"' in strip(film, Lens(None, probe, place))
    assert "<polyline" not in strip(Film(film.outcome, film.shots), Lens(None, None, None))


def test_good_films_are_of_median_length_and_worst_are_failures_first(measured: tuple[Task, Evaluation]) -> None:
    base = measured[1].agent.outcomes[0]
    made = [replace(base, pair=str(i), success=i != 3, steps=10 + i, classes=("hard",) if i > 4 else ()) for i in range(10)]
    assert [o.pair for o in chosen_good(made)] == ["6", "7", "8"]
    assert [o.pair for o in chosen_worst(made, 3)] == ["3", "9", "8"]
    assert chosen_good([replace(base, success=False)]) == []


def moving(generator: np.random.Generator, flip: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (30, 48, 64, 3) of a dot on clutter, and [speed, far, y, x] with x in 0..10 and y upwards if `flip`."""
    frames = np.repeat(generator.integers(0, 80, (1, 48, 64, 3)), 30, 0).astype(np.uint8)
    where = np.cumsum(generator.normal(0, 0.06, (30, 2)), 0)
    where = 0.5 + 0.35 * np.sin(where + generator.uniform(0, 6, 2))
    for frame, (x, y) in zip(frames, where, strict=True):
        frame[int(y * 48) - 2 : int(y * 48) + 2, int(x * 64) - 2 : int(x * 64) + 2] = 255
    known = np.stack([generator.normal(size=30), generator.normal(size=30), where[:, 1], 10 * where[:, 0]], 1)
    known[:, 2] = 1 - known[:, 2] if flip else known[:, 2]
    return frames, known


@pytest.mark.parametrize("flip", [False, True])
def test_the_place_of_a_position_is_found_from_pictures(flip: bool) -> None:
    generator = np.random.default_rng(0)
    films = [moving(generator, flip) for _ in range(6)]
    names = ("state[0]", "state[1]", "state[2]", "state[3]")
    place = find_place(names, [f for f, _ in films], [q for _, q in films])
    assert place is not None and place.columns == (2, 3)
    at = place.locate(np.array([[0.0, 0.0, 0.25, 5.0]]))[0]
    assert at.tolist() == pytest.approx([0.5, 0.75 if flip else 0.25], abs=0.03)
    noise = [generator.normal(size=q.shape) for _, q in films]
    assert find_place(names, [f for f, _ in films], noise) is None
    assert np.isnan(moving_centre(np.repeat(films[0][0][:1], 5, 0))).all()  # nothing moves


def test_without_a_camera_futures_are_curves_and_surprises_are_numbers(run: Path) -> None:
    examples, figures = load_examples(RunFolder(run).examples), read_json(Calibration, RunFolder(run).calibration)
    assert examples is not None
    blind = replace(
        examples,
        frames_KHHWC=examples.frames_KHHWC[..., :0, :0, :],
        worst_frames_M2HWC=examples.worst_frames_M2HWC[..., :0, :0, :],
    )
    lens = Lens(None, load_agent(run).probe, None)
    shown = futures(blind, figures, lens).body
    assert shown.count("<svg") == 5 and "position[0], imagined" in shown and "<img" not in shown
    assert "<td>position[1]</td>" in surprises(blind, figures, lens).body


def test_charts_bear_what_training_may_log() -> None:
    odd = chart([Line("a", [0, 1, 2], [1.0, math.nan, math.inf]), Line("none", [], [])], "x", "y")
    assert "nan" not in odd and "inf" not in odd
    assert "logarithmic" in chart([Line("a", [0, 1], [1e-4, 1.0])], "x", "y")
    assert "logarithmic" not in chart([Line("a", [0, 1], [0.0, 1.0])], "x", "y")
    assert [short(v) for v in (0.0, 0.25, 12000.0, 0.0001)] == ["0", "0.25", "12k", "1e-04"]


@pytest.mark.lane
@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1200, "light")])
def test_a_real_browser_is_content(page: Path, width: int, scheme: str) -> None:
    with opened(page, width, scheme) as view:
        assert view.evaluate("document.images.length") > 60
