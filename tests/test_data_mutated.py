"""Damaged files of every format: read, or refused by one DataError. The long run is benchmarks/broken_files.py."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import mutate
import numpy as np
import pytest
from attack import attacks

from forethought.data import open_log, write_log
from forethought.types import DiscreteSpace, Episode, ExperienceSpec, Sensor, SensorKind


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


@pytest.mark.lane
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "build"), mutate.BUILDERS, ids=[name for name, _ in mutate.BUILDERS])
def test_attacks(tmp_path: Path, name: str, build: mutate.Builder) -> None:
    (tmp_path / "whole").mkdir()
    whole = build(tmp_path / "whole")
    first = {path.suffix: path for path in [whole, *sorted(whole.rglob("*"))] if path.is_file()}
    outcomes = {}
    for path in first.values():
        for attack in attacks(path):
            folder = tmp_path / f"{attack.__name__}-{path.name}"
            shutil.copytree(tmp_path / "whole", folder)
            attack(folder / path.relative_to(tmp_path / "whole"), random.Random(1))
            outcomes[f"{attack.__name__} {path.name}"] = mutate.read_everything(folder / whole.name)
    assert "refused" in outcomes.values(), outcomes
    if name in ("hdf5", "npz", "npz-folder"):  # others leave out what does not fit the actions, unread
        assert [end for how, end in outcomes.items() if "bomb" in how] == ["refused"], outcomes


def test_a_heap_that_libhdf5_would_walk_for_ever_is_refused(tmp_path: Path) -> None:
    long = ExperienceSpec(
        (Sensor("state", SensorKind.VECTOR, (1,), "float32"),), DiscreteSpace(2), tasks=("tidy up " * 2000, "go")
    )
    one = Episode("e", {"state": np.zeros((3, 1), np.float32)}, np.zeros(2, np.int64))
    path = write_log(tmp_path / "log.h5", [one], long)
    assert open_log(path).spec.tasks == long.tasks, "a whole heap of several pages"
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16
    data[at : at + 16] = bytes(16)
    path.write_bytes(data)
    code = f"from forethought.data import open_log; open_log({str(path)!r})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert "DataError" in ended.stderr and "a global heap with an object of 0 bytes" in ended.stderr
