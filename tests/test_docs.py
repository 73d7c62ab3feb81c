"""The documents tell the truth: every Python block runs, generated pages are current, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TRAINED = {
    "README.md",
    "your-own-log.md",
    "report.md",
    "goals.md",
    "surprise.md",
    "learning.md",
}  # these need a log and a training: test_docs_walks.py runs them


def blocks(page: Path, language: str) -> list[str]:
    """The page's fenced blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p, "python") and p.name not in TRAINED], ids=lambda page: page.name
)
def test_python_blocks_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


def test_the_data_page_writes_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    test_python_blocks_run_in_order(ROOT / "docs" / "data.md", tmp_path, monkeypatch)
    assert "40 (40, 40, 40) (41, 32, 32, 3)" in capsys.readouterr().out
    assert {entry.name for entry in tmp_path.iterdir()} >= {"arm.h5", "live.h5", "arm.html", "cartpole.h5"}


def test_the_table_of_findings_is_complete() -> None:
    files = (ROOT / "src" / "forethought" / "data" / "checks").glob("*.py")
    source = "\n".join(file.read_text(encoding="utf-8") for file in files)
    codes = set(re.findall(r'(?:Severity\.\w+|severity), f?"([a-z-]+)', source))
    assert len(codes) >= 20
    for code in codes:
        assert f"`{code}" in (ROOT / "docs" / "data.md").read_text(encoding="utf-8"), code


def test_the_page_of_help_texts_is_current() -> None:
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == module.PAGE.read_text(encoding="utf-8"), "run: python docs/make_cli.py"


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        link = "".join(target)
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {link}"


def test_paths_named_in_the_documents_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`((?:src|tests|docs|benchmarks)/[\w./-]+)`", page.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_every_task_is_described() -> None:
    from forethought.arena.tasks import TASKS

    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for name in TASKS:
        assert name in page or f"`-{name.rpartition('maze-')[2]}`" in page, f"{name}: add it to docs/evaluation.md"
