"""The page on critics runs, names every kind, and shows the figures in scores/."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from small_world import KINDS

from forethought.training.config import HabitKind

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "critics.md").read_text(encoding="utf-8")
MODES = ("plan", "search", "habit", "logged")


def test_the_page_runs_and_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(block, "critics.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out == "quasimetric imagined\n"
    for kind in [*KINDS, *HabitKind]:
        assert f"| `{kind.value}`" in PAGE, kind


def shown(agent: dict[str, Any] | None) -> str:
    if agent is None:
        return ""
    return f"{100 * agent['success']['share']:.1f} ({100 * agent['classes']['hard']['share']:.1f})"


def test_the_page_shows_the_figures_in_scores() -> None:
    rows = json.loads((ROOT / "scores" / "critics.json").read_text(encoding="utf-8"))["rows"]
    assert len(rows) >= 2
    for row in rows:
        cells = " | ".join(shown(row["agents"].get(mode)) for mode in MODES)
        assert f"| {row['task']} | {row['critic']} | {row['seed']} | {row['updates']} | {cells} |" in PAGE, row["critic"]
        for agent in row["agents"].values():
            assert len(agent["outcomes"]) == row["n"] >= 290
            assert agent["outcomes"].count("1") == round(agent["success"]["share"] * row["n"])
