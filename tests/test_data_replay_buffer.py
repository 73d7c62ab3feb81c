"""Diffusion policy's replay buffers, written by Zarr itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forethought.data import open_log
from forethought.data.dataset import Dataset
from forethought.data.formats import detect_format
from forethought.errors import DataError
from forethought.testing.reader import check_reader

zarr = pytest.importorskip("zarr")


def buffer(path: Path, version: int, images: str = "float32") -> Path:
    """As PushT's data set is laid out: images as floating point numbers 0 to 255, states, actions, all end to end."""
    rng = np.random.default_rng(0)
    store = zarr.storage.ZipStore(path, mode="w") if path.suffix == ".zip" else zarr.storage.LocalStore(path)
    root = zarr.open_group(store, mode="w", zarr_format=version)
    columns = {
        "data/img": rng.integers(0, 256, (9, 24, 24, 3)).astype(images),
        "data/state": rng.normal(size=(9, 5)).astype(np.float32),
        "data/action": rng.uniform(0, 512, (9, 2)).astype(np.float32),
        "meta/episode_ends": np.array([4, 9]),
    }
    for name, values in columns.items():
        root.create_array(name, shape=values.shape, dtype=values.dtype, chunks=(4, *values.shape[1:]))[:] = values
    store.close()
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ["log.zarr", "log.zarr.zip"])
def test_replay_buffers(tmp_path: Path, version: int, name: str) -> None:
    path = buffer(tmp_path / name, version)
    assert detect_format(path).name == "replay-buffer"
    check_reader(detect_format(path).reader(), path)
    log = open_log(path)
    assert [(s.name, s.shape, s.dtype) for s in log.spec.sensors] == [("img", (24, 24, 3), "uint8"), ("state", (5,), "float32")]
    assert log.lengths() == (3, 4)
    assert log.dropped[0].startswith("the last action of each episode")
    assert Dataset.load(log).num_rows == 9


def test_damage_is_one_error(tmp_path: Path) -> None:
    path = buffer(tmp_path / "log.zarr", 2)
    (path / "data" / "state" / "0.0").write_bytes(b"oops")
    with pytest.raises(DataError, match="data/state: cannot be read") as caught:
        Dataset.load(open_log(path))
    assert str(path) in str(caught.value)
