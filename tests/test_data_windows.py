"""Splits, datasets, windows and statistics."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.data.dataset import Dataset
from forethought.data.episodes import MemoryExperience
from forethought.data.split import Split, split_of
from forethought.data.stats import PERCENTILES, Statistics, measure
from forethought.data.windows import block_actions, sample_windows, windows_at
from forethought.errors import DataError, UsageError
from forethought.types import BoxSpace, DiscreteSpace, Episode, ExperienceSpec, Sensor, SensorKind

SENSORS = (Sensor("pixels", SensorKind.IMAGE, (2, 2, 3), "uint8"), Sensor("state", SensorKind.VECTOR, (2,), "float32"))
SPEC = ExperienceSpec(SENSORS, BoxSpace((-2.0, 0.0), (2.0, 1.0)), has_reward=True)
STEPS = (7, 30, 0, 12, 3, 55)


def log(steps: tuple[int, ...] = STEPS) -> MemoryExperience:
    return MemoryExperience(SPEC, [_episode(i, n) for i, n in enumerate(steps)])


def _episode(index: int, steps: int) -> Episode:
    """State holds (episode, row), the action (0, row / 100): windows can be read off."""
    rng, rows = np.random.default_rng(index), np.arange(steps + 1)
    state = np.stack([np.full(steps + 1, index), rows], axis=1).astype(np.float32)
    actions = np.stack([np.zeros(steps), rows[:-1] / 100], axis=1).astype(np.float32)
    pixels = rng.integers(0, 256, (steps + 1, 2, 2, 3), dtype=np.uint8)
    metadata = {"row": rows} | ({} if index == 3 else {"sometimes": rows})
    return Episode(
        f"e{index}", {"pixels": pixels, "state": state}, actions, rows[:-1].astype(np.float32), index == 1, True, metadata
    )


DATASET = Dataset.load(log())


def test_split_is_fixed_for_ever_and_has_the_stated_fractions() -> None:
    names = [f"episode-{i}" for i in range(5000)]
    shares = [sum(split_of(name) is split for name in names) / 5000 for split in Split]
    assert np.allclose(shares, (0.8, 0.1, 0.1), atol=0.02)
    assert [split_of(f"e{i}").value[0] for i in range(12)] == list("tttctttttttt")
    assert {split_of(name, (0.0, 0.0, 1.0)) for name in names} == {Split.TEST}
    with pytest.raises(UsageError, match="add up to 1"):
        split_of("a", (0.5, 0.1, 0.1))


def test_splits_of_a_dataset_are_disjoint_and_complete() -> None:
    experience = log((9,) * 60)
    parts = [Dataset.load(experience, split).episode_ids for split in Split]
    assert sorted(name for part in parts for name in part) == sorted(experience.ids())
    with pytest.raises(DataError, match="split 'test' of 2 episodes has no episodes"):
        Dataset.load(log((9, 9)), Split.TEST)


@pytest.mark.parametrize("mapped", [False, True])
def test_dataset_layout(tmp_path: Path, mapped: bool) -> None:
    dataset = Dataset.load(log(), folder=tmp_path / "arrays" if mapped else None)
    assert isinstance(dataset.sensors["pixels"], np.memmap) is mapped
    assert dataset.sensors["pixels"].dtype == np.uint8
    assert dataset.num_rows == sum(STEPS) + len(STEPS) == len(dataset.actions_NA)
    assert dataset.terminated.tolist() == [False, True, False, False, False, False]
    assert set(dataset.metadata) == {"row"}
    assert dataset.rewards_N is not None
    for i, (start, end) in enumerate(zip(dataset.starts, dataset.ends(), strict=True)):
        rows = np.arange(start, end + 1)
        assert dataset.sensors["state"][rows].tolist() == [[i, t] for t in range(STEPS[i] + 1)]
        assert np.allclose(dataset.actions_NA[start:end, 1], np.arange(STEPS[i]) / 50 - 1)
        assert not dataset.actions_NA[end].any()
        assert dataset.rewards_N[end] == 0
        assert (dataset.episode_of(rows) == i).all()


def test_discrete_actions_travel_one_hot() -> None:
    spec = ExperienceSpec((SENSORS[1],), DiscreteSpace(3))
    dataset = Dataset.load(MemoryExperience(spec, [Episode("a", {"state": np.zeros((3, 2), np.float32)}, np.array([2, 0]))]))
    assert dataset.actions_NA.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]


def _sample(update: int = 0, dataset: Dataset = DATASET, **options: int) -> tuple[np.ndarray, ...]:
    batch = sample_windows(
        dataset, **{"seed": 3, "update": update, "batch_size": 24, "num_frames": 3, "frameskip": 2} | options
    )
    return batch.row_BT, batch.episode_B, batch.actions_BTA, batch.observations["state"], batch.observations["pixels"]


def test_windows_stay_in_their_episode_and_keep_every_action() -> None:
    for update in range(20):
        row_BT, episode_B, actions, state, pixels = _sample(update)
        assert state.shape == (24, 3, 2)
        assert actions.shape == (24, 2, 4)
        assert pixels.dtype == np.uint8
        assert (state[..., 0] == episode_B[:, None]).all()
        assert (np.diff(state[..., 1]) == 2).all()
        taken = (actions[..., 1::2] + 1) * 50  # the logged action is row / 100, encoded
        assert np.allclose(taken, state[:, :-1, 1:] + np.arange(2), atol=1e-4)
        assert (DATASET.sensors["pixels"][row_BT] == pixels).all()


def test_windows_are_uniform_over_all_that_fit() -> None:
    rows = np.concatenate([_sample(update)[0][:, 0] for update in range(2000)])
    fitting = [start + t for start, n in zip(DATASET.starts, STEPS, strict=True) for t in range(max(0, n - 4 + 1))]
    counts = np.bincount(rows, minlength=DATASET.num_rows)
    assert (counts[fitting] > 0).all()
    assert counts.sum() == counts[fitting].sum()
    expected = len(rows) / len(fitting)
    chi_square = ((counts[fitting] - expected) ** 2 / expected).sum()
    assert abs(chi_square - len(fitting)) < 5 * np.sqrt(2 * len(fitting))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 10**6), st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 2]))
def test_batch_is_a_function_of_seed_and_update_and_ranks_share_it(seed: int, update: int, ranks: int, group: int) -> None:
    options = {"seed": seed, "windows_per_episode": group}
    whole = _sample(update, **options)
    shares = [_sample(update, rank=rank, world_size=ranks, **options) for rank in range(ranks)]
    for i, values in enumerate(whole):
        assert (np.concatenate([share[i] for share in shares]) == values).all()
        assert (_sample(update, **options)[i] == values).all()
    assert (whole[0] != _sample(update + 1, **options)[0]).any()
    assert (whole[1].reshape(-1, group) == whole[1].reshape(-1, group)[:, :1]).all()


def test_a_seed_gives_the_windows_it_always_gave() -> None:
    batch = sample_windows(DATASET, seed=7, update=3, batch_size=24, num_frames=3, frameskip=2)
    assert batch.row_BT[:6, 0].tolist() == [92, 86, 23, 100, 25, 28]
    alone = sample_windows(DATASET, seed=7, update=3, batch_size=24, num_frames=1, frameskip=2)
    assert alone.actions_BTA.shape == (24, 0, 4)  # one frame, nothing between


def test_impossible_windows_are_refused() -> None:
    with pytest.raises(DataError, match="windows need 80 steps, the longest episode has 55"):
        _sample(num_frames=41)
    with pytest.raises(UsageError, match="multiple of windows_per_episode=5 times world_size=1; round it to 25"):
        _sample(windows_per_episode=5)
    with pytest.raises(UsageError, match="rank 2"):
        _sample(rank=2, world_size=2)
    with pytest.raises(UsageError, match="frameskip=0"):
        _sample(frameskip=0)


def test_block_actions_end_with_the_episode() -> None:
    rows = np.array([[0, 5], [6, 7]])
    blocks = block_actions(DATASET, rows, 3)
    encoded = DATASET.actions_NA
    assert blocks.shape == (2, 2, 6)
    assert (blocks[0, 0] == encoded[0:3].reshape(-1)).all()
    assert (blocks[0, 1].reshape(3, 2) == np.stack([encoded[5], encoded[6], np.zeros(2)])).all()
    assert (blocks[1, 0].reshape(3, 2)[1:] == 0).all()
    assert not blocks[1, 1].any()
    assert block_actions(DATASET, np.array([DATASET.num_rows - 1]), 4).shape == (1, 8)
    batch = windows_at(DATASET, np.array([[10, 13]]), np.array([1]), 3)
    assert (batch.actions_BTA[0, 0] == block_actions(DATASET, np.array([10]), 3)[0]).all()


def test_windows_are_drawn_fast_enough_not_to_matter() -> None:
    spec = ExperienceSpec((Sensor("pixels", SensorKind.IMAGE, (64, 64, 3), "uint8"),), BoxSpace((-1.0,), (1.0,)))
    one = Episode("a", {"pixels": np.zeros((501, 64, 64, 3), np.uint8)}, np.zeros((500, 1), np.float32))
    dataset = Dataset.load(MemoryExperience(spec, [one]))
    begin = time.process_time()
    for update in range(20):
        sample_windows(dataset, seed=0, update=update, batch_size=64, num_frames=4, frameskip=5)
    assert 20 * 64 * 4 / (time.process_time() - begin) > 20_000


def test_statistics_equal_numpys_and_survive_json() -> None:
    found = measure(DATASET)
    state, pixels = DATASET.sensors["state"].astype(np.float64), DATASET.sensors["pixels"].reshape(-1, 3)
    assert np.allclose(found.sensor("state").mean, state.mean(axis=0))
    assert np.allclose(found.sensor("state").std, state.std(axis=0))
    assert np.allclose(found.sensor("pixels").mean, pixels.mean(axis=0))
    assert found.sensor("pixels").high == tuple(pixels.max(axis=0))
    assert np.allclose(found.sensor("state").percentiles, np.percentile(state, PERCENTILES, axis=0).T)
    assert found.actions.count == sum(STEPS)
    assert found.actions.low == (0.0, -1.0)
    assert Statistics.from_json(found.to_json()) == found
    with pytest.raises(UsageError, match="Did you mean 'pixels'"):
        found.sensor("pixel")


def test_statistics_do_not_depend_on_the_chunks_and_stand_large_means(monkeypatch: pytest.MonkeyPatch) -> None:
    from forethought.data import stats

    offset = 1e6
    state = (np.random.default_rng(0).normal(size=(4000, 2)) + offset).astype(np.float64)
    spec = ExperienceSpec((Sensor("state", SensorKind.VECTOR, (2,), "float64"),), BoxSpace((-1.0,), (1.0,)))
    dataset = Dataset.load(MemoryExperience(spec, [Episode("a", {"state": state}, np.zeros((3999, 1), np.float32))]))
    for chunk in (7, 64, 4000):
        monkeypatch.setattr(stats, "_CHUNK", chunk)
        assert np.allclose(measure(dataset).sensor("state").std, state.std(axis=0), rtol=1e-6)


def test_a_log_without_actions_cannot_be_measured() -> None:
    with pytest.raises(UsageError, match="'actions' has no rows"):
        measure(Dataset.load(log((0,))))
