"""The page of `data show`: it stands alone, its figures are right, its marks stand where the findings are."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import opened

from forethought.data import open_log, write_log
from forethought.data.checks import Examination, Finding, Severity, examine
from forethought.data.checks.seam import Log
from forethought.data.episodes import MemoryExperience
from forethought.data.show import write_page
from forethought.data.show.films import films
from forethought.data.show.gather import Gather
from forethought.data.show.numbers import actions, coverage, histogram, plane
from forethought.data.show.timeline import MARKS, timeline
from forethought.errors import DataError
from forethought.page.plots import bars
from forethought.page.svg import Line, chart
from forethought.types import BoxSpace, DiscreteSpace, Episode, ExperienceSpec, Sensor, SensorKind

CAMERAS = (Sensor("top", SensorKind.IMAGE, (24, 24, 3), "uint8"), Sensor("wrist", SensorKind.IMAGE, (16, 20, 1), "uint8"))
JOINTS = Sensor("joints", SensorKind.VECTOR, (6,), "float32")
SPEC = ExperienceSpec((*CAMERAS, JOINTS), BoxSpace((-1.0, -1.0), (1.0, 1.0)), has_reward=True)
FIXTURES = Path(__file__).parent / "fixtures"


def make(index: int, steps: int = 20, spec: ExperienceSpec = SPEC) -> Episode:
    rng = np.random.default_rng(index)
    values = {
        s.name: rng.normal(size=(steps + 1, *s.shape)).astype(s.dtype) for s in spec.sensors if s.kind is SensorKind.VECTOR
    }
    images = {s.name: rng.integers(0, 255, (steps + 1, *s.shape), np.uint8) for s in spec.sensors if s.kind is SensorKind.IMAGE}
    discrete = isinstance(spec.action_space, DiscreteSpace)
    moves = rng.integers(0, 2, steps) if discrete else rng.uniform(-1, 1, (steps, 2)).astype(np.float32)
    rewards = rng.normal(size=steps).astype(np.float32) if spec.has_reward else None
    return Episode(f"e{index}", {**values, **images}, moves, rewards)


def gathered(episodes: list[Episode], spec: ExperienceSpec = SPEC) -> Gather:
    seen = Gather(Log(spec), [episode.num_steps for episode in episodes])
    examine(MemoryExperience(spec, episodes), also=(seen,))
    return seen


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    episodes = [make(i, 20 + i % 7) for i in range(40)]
    broken = episodes[30].actions.copy()
    broken[12] = np.nan
    episodes[30] = replace(episodes[30], actions=broken)
    episodes[0] = replace(episodes[0], id="<script>alert(1)</script>", metadata={"<b>mood": np.zeros((21, 1))})
    path = tmp_path_factory.mktemp("show") / "log.html"
    write_page(MemoryExperience(SPEC, episodes), path)
    return path


def test_it_stands_alone_and_every_figure_says_n(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r'<section id="([\w-]+)">', text) == ["episodes", "findings", "coverage", "lengths", "actions", "sensors"]
    assert not re.search(r"(src|href)=\"(?!data:|#)", text) and "@import" not in text
    assert "<script" not in text and "<b>mood" not in text and "&lt;script&gt;" in text
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL)
    assert len(captions) > 20 and [caption for caption in captions if "n = " not in caption] == []
    assert page.stat().st_size < 2e6


@pytest.mark.lane
@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1200, "light")])
def test_a_real_browser_is_content(page: Path, width: int, scheme: str) -> None:
    with opened(page, width, scheme) as view:
        assert view.evaluate("document.images.length") >= 4 * 2 * 10
        mark = view.locator("#findings .lane", has_text="not-finite").locator("a")
        told = view.locator(mark.get_attribute("href"))
        assert "episode 'e30', row 12" in mark.get_attribute("aria-label") and not told.is_visible()
        mark.click()
        assert told.is_visible() and "leave the episode out" in told.inner_text()


def test_marks_stand_where_the_findings_are() -> None:
    ids = tuple(f"e{i}" for i in range(40))
    places = (
        Finding(Severity.ERROR, "bad", "mend it", "arm", 3, "e10", 15),
        Finding(Severity.ERROR, "bad", "mend it too", "arm", 1, "e10", 15),
        Finding(Severity.WARNING, "whole-episode", "cut it", episode="e39"),
        Finding(Severity.INFO, "whole-log", "know it"),
    )
    body = timeline(Examination(ids, places, ()), dict.fromkeys(range(40), 29)).body
    marks = [(int(x), int(wide)) for x, wide in re.findall(r'<rect x="(\d+)" y="1" width="(\d+)"', body)]
    assert marks == [(int(MARKS * 10.5 / 40), 1), (MARKS * 39 // 40, MARKS // 40), (0, MARKS)]
    assert "episode &#x27;e10&#x27;, row 15, 3 rows: mend it, and 1 more here" in body
    assert all(f'id="{target}"' in body for target in re.findall(r'href="#(.*?)"', body))
    assert "No findings" in timeline(Examination(ids, (), ()), {}).body


def test_histograms_count_everything_once() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    found = histogram(np.append(values, [np.nan, np.inf]))
    assert sum(found.counts) == 1000 and found.missing == 2
    assert histogram(np.array([0, 2, 2, 5]), 0, 6).counts == (1, 0, 2, 0, 0, 1, 0)
    assert sum(histogram(np.full(7, 3.25)).counts) == 7 and sum(histogram(np.zeros(0)).counts) == 0
    assert (
        bars((0.0, 1.0, 2.0), (3, 0), "x", empty=True).count("<rect") == 2 and bars((0.0, 1.0), (0,), "x").count("<rect") == 0
    )


def test_actions_that_were_never_tried_are_named() -> None:
    spec = replace(SPEC, sensors=(JOINTS,), action_space=DiscreteSpace(5))
    body = actions(gathered([make(i, spec=spec) for i in range(9)], spec)).body
    assert "never taken: 2, 3, 4" in body and body.count("fill:var(--c1)") == 3
    half = [replace(make(i, 200), actions=np.abs(make(i, 200).actions) * [1, -1.5]) for i in range(9)]
    seen = gathered([replace(one, actions=one.actions.astype("f4")) for one in half])
    assert "108 of 144 cells between the spec's bounds never tried" in coverage(seen).body
    assert "20 of 40 bins never tried" in actions(seen).body and "outside, drawn at the bound" in actions(seen).body


def ring(values: np.ndarray) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, len(values))
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def test_the_map_shows_where_the_log_has_been() -> None:
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0][:2]
    rings = [make(i, 300) for i in range(9)]
    episodes = [
        replace(one, observations={**one.observations, "joints": (ring(one.observations["joints"]) @ turned).astype("f4")})
        for one in rings
    ]
    found = plane(gathered(episodes))
    assert found is not None and "principal axes of the vector sensors, 100 %" in found.how and "joints[" in found.labels[0]
    visited = int(re.findall(r"(\d+) of 576 cells visited", coverage(gathered(episodes)).body)[0])
    assert 60 < visited < 140, "a ring, and neither its middle nor the corners"
    named = [replace(one, metadata={"position": ring(one.observations["joints"])}) for one in rings]
    found = plane(gathered(named))
    assert found is not None and found.labels == ("position[0]", "position[1]")
    assert np.allclose(np.hypot(*found.values_N2.T), 1)


def test_without_numbers_the_map_follows_what_moves() -> None:
    spec = replace(SPEC, sensors=CAMERAS[:1])
    frames = np.zeros((25, 24, 24, 3), np.uint8)
    for row in range(25):
        frames[row, 10, min(row, 23)] = 255
    one = replace(make(0, 24, spec), observations={"top": frames})
    found = plane(gathered([one], spec))
    assert found is not None and found.labels == ("top: x", "top: y")
    assert "<figure>" in coverage(gathered([one], spec)).body
    still = replace(one, observations={"top": np.zeros_like(frames)})
    assert plane(gathered([still], spec)) is None


def test_films_are_the_first_the_extremes_and_the_middle() -> None:
    episodes = [replace(make(i, steps), rewards=np.full(steps, reward, "f4")) for i, (steps, reward) in enumerate(
        [(12, 0), (9, 0), (15, 1), (14, 0), (11, -1)])]  # fmt: skip
    shown = {why: film.id for why, (_, film) in gathered(episodes).films.items()}
    assert {shown.pop("longest"), shown.pop("highest return")} == {"e2"}
    assert shown == {"first": "e0", "shortest": "e1", "lowest return": "e4"}, "the first is the median: shown once"
    body = films(gathered(episodes)).body
    assert body.count('class="film"') == 4 and body.count("<img") == 2 * (10 + 10 + 10 + 10)
    assert all(f"{camera}, row 0" in body for camera in ("top", "wrist")) and "return 15" in body


def test_a_chart_of_negative_numbers_shows_all_of_them() -> None:
    heights = re.findall(r'points="(.*?)"', chart([Line("return", [0, 1], [-1832.0, -763.0])], "x", "y", linear=True))[0]
    assert all(0 < float(point.split(",")[1]) < 210 for point in heights.split())


def test_a_real_log_of_two_cameras(tmp_path: Path) -> None:
    log = open_log(FIXTURES / "lerobot_v3_two_cameras")
    found = write_page(log, tmp_path / "page.html")
    assert found.findings == examine(log).findings
    assert "push the dot" in (tmp_path / "page.html").read_text()


def test_a_log_with_nothing_to_show_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no episodes"):
        write_page(MemoryExperience(SPEC, []), tmp_path / "page.html")
    log = write_log(tmp_path / "log.npz", [make(0)], SPEC, format="npz")
    archive = bytearray(log.read_bytes())
    at = archive.index(b"NUMPY", archive.index(b"joints")) + 200
    archive[at : at + 40] = bytes(40)
    log.write_bytes(archive)
    with pytest.raises(DataError, match="none of its 1 episodes can be read"):
        write_page(open_log(log), tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == [log]


def test_a_page_replaces_only_a_page(tmp_path: Path) -> None:
    log, page = MemoryExperience(SPEC, [make(0)]), tmp_path / "page.html"
    write_page(log, page)
    write_page(log, page)
    (tmp_path / "log.h5").write_bytes(b"precious")
    for path, words in (
        (tmp_path / "log.h5", "is no page"),
        (tmp_path, "is no page"),
        (tmp_path / "none" / "a.html", "cannot be written"),
    ):
        with pytest.raises(DataError, match=words):
            write_page(log, path)
    assert (tmp_path / "log.h5").read_bytes() == b"precious"
