"""Ray Data, with a real local Ray: the same windows, the same episodes and the same training as without it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import small_config

from forethought.data import open_log, ray_data, write_log
from forethought.data.dataset import Dataset
from forethought.data.split import Split
from forethought.data.windows import Draw, sample_windows
from forethought.errors import DataError
from forethought.testing.reader import _example, check_same
from forethought.training.train import train
from forethought.types import BoxSpace, DiscreteSpace, Space

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.lane, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    import ray.data

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as logs:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000, _temp_dir=logs)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
        ray.shutdown()


def test_a_log_through_ray_trains_the_same_to_the_bit(log: Path, run: Path, tmp_path: Path) -> None:
    copy = ray_data.write_ray(ray_data.episodes(log), tmp_path / "copy.h5", open_log(log).spec)
    for wrote, read in zip(open_log(log), open_log(copy), strict=True):
        check_same(wrote, read)
    found = train(copy, tmp_path / "run", small_config()).path
    weights = sorted(file.name for file in run.glob("*.safetensors"))
    assert weights
    for name in weights:
        assert (found / name).read_bytes() == (run / name).read_bytes(), name


def test_ranks_see_disjoint_shares_of_the_same_windows(log: Path) -> None:
    data, draw, updates = Dataset.load(open_log(log), Split.TRAIN), Draw(3, 8, 3, 2, windows_per_episode=2), (5, 0, 11)
    shares = [
        list(ray_data.windows(log, draw, updates, split=Split.TRAIN, rank=rank, world_size=2).iter_batches(batch_size=4))
        for rank in range(2)
    ]
    for number, update in enumerate(updates):
        whole = sample_windows(data, seed=3, update=update, batch_size=8, num_frames=3, frameskip=2, windows_per_episode=2)
        both = [shares[rank][number] for rank in range(2)]
        assert all((share["update"] == update).all() for share in both)
        assert np.array_equal(np.concatenate([share["row"] for share in both]), whole.row_BT)
        assert np.array_equal(np.concatenate([share["actions"] for share in both]), whole.actions_BTA)
        for name, values in whole.observations.items():
            assert np.array_equal(np.concatenate([share[f"observations/{name}"] for share in both]), values)


@pytest.mark.parametrize("space", [BoxSpace((-1.0, 0.0), (1.0, 5.0)), DiscreteSpace(3)], ids=["box", "discrete"])
def test_every_kind_of_sensor_and_the_shortest_episode_come_through(tmp_path: Path, space: Space) -> None:
    spec, wrote = _example(space)
    found = ray_data.episodes(write_log(tmp_path / "log.h5", wrote, spec))
    for one, other in zip(wrote, open_log(ray_data.write_ray(found, tmp_path / "copy.h5", spec)), strict=True):
        check_same(one, other)


def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page, names = (Path(__file__).parent.parent / "docs" / "data.md").read_text(encoding="utf-8"), dict[str, Any]()
    first, ours = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], re.findall(r"```py\n(.*?)```", page, re.DOTALL)
    assert len(ours) == 1 and "ray_data" in ours[0]
    for block in (first, ours[0]):
        exec(compile(block, "docs/data.md", "exec"), names)
    assert len(open_log("local.h5")) == 40


def test_shares_of_episodes_are_disjoint_and_whole(log: Path, tmp_path: Path) -> None:
    found, spec = ray_data.episodes(log), open_log(log).spec
    parts = [open_log(ray_data.write_ray(found, tmp_path / f"{r}.h5", spec, rank=r, world_size=3)).ids() for r in range(3)]
    ids = open_log(log).ids()
    assert parts == [ids[0::3], ids[1::3], ids[2::3]]


def test_rows_that_are_no_episodes_are_refused(log: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got a row with item, expected an episode"):
        ray_data.write_ray(ray.data.from_items([1, 2]), tmp_path / "log.h5", open_log(log).spec)
    assert list(tmp_path.iterdir()) == []
