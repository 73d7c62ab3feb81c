"""Damaged files of every format: read, or refused by one DataError. The long run is benchmarks/broken_files.py."""

from __future__ import annotations

import shutil
from pathlib import Path

import mutate
import pytest

from forethought.data import open_log


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "build"), mutate.BUILDERS, ids=[name for name, _ in mutate.BUILDERS])
def test_damaged_files(tmp_path: Path, name: str, build: mutate.Builder) -> None:
    (tmp_path / "whole").mkdir()
    whole = build(tmp_path / "whole")
    assert len(open_log(whole)) and mutate.read_everything(whole) == "read"
    outcomes = set()
    for seed in range(15):
        folder = tmp_path / str(seed)
        shutil.copytree(tmp_path / "whole", folder)
        how = mutate.mutate(folder / whole.name, seed)
        try:
            outcomes.add(mutate.read_everything(folder / whole.name))
        except Exception as error:
            raise AssertionError(f"{name}, {how}: {type(error).__name__}: {error}") from error
    assert "refused" in outcomes
