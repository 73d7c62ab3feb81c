"""The house's arrows run one way: every import is read, and a back edge fails."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import forethought

ROOT = Path(forethought.__file__).parent
LAYERS = (
    {"types", "errors", "config", "grammar"},
    {"page"},
    {"data", "record"},
    {"perception", "dynamics", "objectives", "world_model"},
    {"costs", "memory", "surprise"},
    {"planning", "habits"},
    {"agent"},
    {"training"},
    {"arena"},
    {"serving", "studio"},
    {"cli"},
)
# Beside the ladder: environments know the vocabulary alone; conformance checks look at everything below the command line.
BESIDE = {"envs": 0, "testing": 8}
FORBIDDEN = {("planning", "envs"), ("planning", "data"), ("agent", "envs"), ("training", "envs")}


def level(part: str) -> int:
    return BESIDE.get(part, next((i for i, layer in enumerate(LAYERS) if part in layer), -1))


def edges(root: Path) -> list[tuple[str, str, str]]:
    found = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        here = relative.parts[0].removesuffix(".py")
        if here in ("__init__", "__main__"):  # the front door looks at everything
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [(str(relative), here, n.split(".")[1]) for n in names if n.startswith("forethought.")]
    return found


def back_edges(root: Path) -> list[str]:
    bad = []
    for path, here, there in edges(root):
        assert level(here) >= 0, f"{path}: '{here}' stands nowhere on the ladder; add it to LAYERS and docs/architecture.md"
        if here != there and (level(there) > level(here) or (here, there) in FORBIDDEN):
            bad.append(f"{path}: {here} -> {there}")
    return bad


def test_arrows_run_one_way() -> None:
    assert len(edges(ROOT)) > 100
    assert back_edges(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line"), [("planning/cem.py", "import forethought.envs"), ("data/x.py", "from forethought.agent.agent import A")]
)
def test_a_back_edge_would_be_found(tmp_path: Path, file: str, line: str) -> None:
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(line)
    assert back_edges(tmp_path)


def test_a_new_folder_must_take_its_place(tmp_path: Path) -> None:
    (tmp_path / "nowhere.py").write_text("import forethought.types")
    with pytest.raises(AssertionError, match="stands nowhere"):
        back_edges(tmp_path)


def test_library_code_never_prints_and_never_unpickles() -> None:
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "eval", "exec"), f"{path}:{node.lineno}"
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "dill", "joblib"} & set(names), f"{path}:{node.lineno}"
