"""The examples of docs/data.md run, in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "data.md"


def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert "40 (40, 40, 40) (41, 32, 32, 3)" in capsys.readouterr().out
    assert {entry.name for entry in tmp_path.iterdir()} >= {"arm.h5", "live.h5", "sheet.png", "histograms.png", "cartpole.h5"}


def test_the_table_of_findings_is_complete() -> None:
    source = (PAGE.parent.parent / "src" / "forethought" / "data" / "check.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'Severity\.\w+, f?"([a-z-]+)', source)) | set(re.findall(r'_at\(severity, "([a-z-]+)', source))
    assert len(codes) >= 12
    for code in codes:
        assert f"`{code}" in PAGE.read_text(encoding="utf-8"), code
