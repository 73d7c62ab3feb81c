"""The README's table of bars agrees with scores/, marks what misses its bar, and says what is not measured."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.table")


def test_the_readme_agrees_with_the_scores(table: ModuleType) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert table.rewritten(page, table.table()) == page, "run: python -m benchmarks.table"


def test_the_tables_of_layouts_and_faults_agree_with_the_scores(table: ModuleType) -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    shown = table.rewritten(page, table.speed_table(), table.SPEED_BEGIN, table.SPEED_END)
    shown = table.rewritten(shown, table.faults_table(), table.FAULTS_BEGIN, table.FAULTS_END)
    assert shown == page, "run: python -m benchmarks.table"


def interval(share: float) -> dict[str, float]:
    return {"share": share, "low": share - 0.01, "high": min(1.0, share + 0.01)}


def scores(folder: Path, share: float, hard: float, minutes: float) -> Path:
    agent = {"n": 900, "success": interval(share), "classes": {"hard": {"n": 200, **interval(hard)}}}
    agent |= {"p50_ms": [3.0, 4.0], "p99_ms": [9.0, 16.0]}
    record = {"seeds": [0, 1, 2], "agents": {"plan": agent}, "training_cpu_seconds": [60 * minutes, 60.0]}
    (folder / "two-room-random-v1.json").write_text(json.dumps(record))
    return folder


def line(table: ModuleType, folder: Path, what: str) -> str:
    return next(row for row in table.table(folder).splitlines() if what in row)


def test_what_misses_its_bar_is_marked_and_what_holds_is_not(table: ModuleType, tmp_path: Path) -> None:
    good = line(table, scores(tmp_path, 0.98, 0.96, 14.0), "random wall")
    assert "98.0 % [97.0, 99.0] (n = 900, 3 seeds); hard 96.0 % [95.0, 97.0] (n = 200); training 14.0 CPU min" in good
    assert "below the bar" not in good
    assert line(table, scores(tmp_path, 0.96, 0.96, 14.0), "random wall").count("below the bar") == 1
    assert line(table, scores(tmp_path, 0.96, 0.94, 16.0), "random wall").count("below the bar") == 3
    timing = line(table, tmp_path, "one planned decision")
    assert "p50 4.0 ms; p99 16.0 ms **(below the bar)**" in timing


def test_what_has_no_file_says_so(table: ModuleType, tmp_path: Path) -> None:
    assert table.table(tmp_path).count(table.ABSENT) == len(table.ROWS)


def test_a_page_without_markers_is_refused(table: ModuleType) -> None:
    with pytest.raises(SystemExit, match="put both back"):
        table.rewritten("no markers here", "x")
