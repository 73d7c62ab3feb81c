"""Calibrated surprise: p-values that hold, evidence that passes its threshold as rarely as it says, shifts told apart."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import small_config
from hypothesis import given
from hypothesis import strategies as st

from forethought.arena.shifts import SHIFTS, Shifted, applicable, shift_named
from forethought.arena.surprise import auroc, measure_surprise
from forethought.arena.tasks import make_task
from forethought.data import open_log, write_log
from forethought.envs.two_room import log_spec, record
from forethought.errors import RunError, UsageError
from forethought.surprise.conformal import Calibrated, adapted
from forethought.surprise.evidence import Evidence, Usual
from forethought.surprise.monitor import Traces
from forethought.surprise.otherwise import LATE, Otherwise
from forethought.surprise.scale import Moves, fit_scale
from forethought.surprise.senses import Sense
from forethought.surprise.signals import begin, expect
from forethought.training.bundle import build_parts, load_agent
from forethought.training.config import TrainConfig
from forethought.training.recipes import two_room_fixed
from forethought.training.run import RunFolder
from forethought.training.train import train
from forethought.types import Belief, BoxSpace, DiscreteSpace, ExperienceSpec, ReachObservation, Sensor, SensorKind


@given(st.integers(0, 10_000), st.floats(0.02, 0.5))
def test_p_values_are_valid(seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    kept = Calibrated.of(rng.normal(size=200).round(1))  # ties among them
    fresh = rng.normal(size=400).round(1)
    share = np.mean([kept.p_value(float(score)) <= level for score in fresh])
    assert share <= level + 4 * np.sqrt(level / 200) + 4 * np.sqrt(level / 400)
    assert min(kept.p_value(float(score)) for score in fresh) > 0


def test_intervals_cover_what_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = [rng.exponential() <= Calibrated.of(rng.exponential(size=99)).quantile(0.9) for _ in range(4000)]
    assert 0.885 < np.mean(covered) < 0.915
    assert Calibrated.of(np.arange(8)).quantile(0.9) == np.inf  # eight cases cannot promise nine in ten


def test_the_online_level_keeps_its_rate_whatever_comes() -> None:
    level, misses = 0.1, 0
    for step in range(20_000):
        p_value = 0.01 if step % 3 else 0.9  # wildly miscalibrated
        missed = p_value < level
        misses += missed
        level = adapted(level, 0.1, missed)
    assert abs(misses / 20_000 - 0.1) < 0.02


def test_an_episode_of_the_unchanged_world_rarely_passes_the_threshold() -> None:
    rng = np.random.default_rng(1)

    def episode(shift: float = 0.0) -> np.ndarray:
        odd = 2.0 * rng.exponential()  # an episode that is odd stays odd: steps are not exchangeable
        errors = odd + rng.normal(size=60) + shift
        ratios = rng.normal(-2.0 + 3 * shift, 1.0, 60)
        return np.stack([errors, ratios], 1).astype(np.float32)

    evidence = Evidence.fit([episode() for _ in range(300)], (True, False), 1, 0.02)

    def height(rows: np.ndarray) -> float:
        held, most = np.zeros(0), 0.0
        for row in rows:
            held = evidence.add(held, row)
            most = max(most, evidence.heights(held).max())
        return most

    assert np.mean([height(episode()) >= 1 for _ in range(500)]) < 0.04  # twice the rate is what is proved
    assert np.mean([height(episode(1.5)) >= 1 for _ in range(50)]) > 0.9


def test_evidence_stands_missing_signals() -> None:
    rows = np.array([[np.nan, 1.0], [0.5, np.nan], [0.2, -1.0]], np.float32)
    evidence = Evidence.fit([rows, rows, rows], (False, False), 1, 0.3)
    held = evidence.add(np.zeros(0), np.array([np.nan, np.nan], np.float32))
    assert np.isfinite(held).all() and evidence.heights(held).max() == 0


def test_otherwise_is_what_it_says() -> None:
    way = Otherwise(BoxSpace((-1.0, -1.0), (1.0, 1.0)), 2)
    block = torch.tensor([0.4, -0.8, 0.2, 1.0])
    past = torch.arange(8.0).reshape(4, 2)
    blocks = dict(zip(way.names, way.blocks(block, past), strict=True))
    assert blocks["actions take effect 1 step late"].tolist() == pytest.approx([6.0, 7.0, 0.4, -0.8])
    assert blocks["actions take effect 4 steps late"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert blocks["actions have no effect"].tolist() == [0.0] * 4
    assert blocks["action 1 works the wrong way round"].tolist() == pytest.approx([0.4, 0.8, 0.2, -1.0])
    assert blocks["action 0 does nothing"].tolist() == pytest.approx([0.0, -0.8, 0.0, 1.0])
    assert blocks["small actions do nothing"].tolist() == pytest.approx([0.1, -0.5, 0.0, 0.7])
    assert way.remember(block, past).flatten().tolist() == pytest.approx([4.0, 5.0, 6.0, 7.0, 0.4, -0.8, 0.2, 1.0])
    discrete = Otherwise(DiscreteSpace(3), 1)
    assert discrete.blocks(torch.tensor([0.0, 1.0, 0.0]), discrete.nothing()).shape == (len(LATE), 3)


def test_own_episodes_take_the_place_of_own_episodes() -> None:
    rng = np.random.default_rng(2)

    def episode(length: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(size=(length, 3)).astype(np.float32), rng.normal(size=(length, 10)).astype(np.float32)

    log = Traces.of([episode(7), episode(5)])
    first = log.with_own([episode(4)[0]] * 3)
    again = first.with_own([episode(6)[0]])
    assert first.lengths_E.tolist() == [4, 4, 4] and again.lengths_E.tolist() == [len(again.rows_NK)] == [6]
    for traces in (first, again):  # what the agent did says nothing of the horizons it did not predict
        assert all(np.array_equal(a.sorted_n, b.sorted_n) for a, b in zip(traces.horizons(), log.horizons(), strict=True))


def test_knots_never_overstate_a_p_value() -> None:
    rng = np.random.default_rng(3)
    kept = rng.normal(size=(3000, 2)).astype(np.float32)
    kept[::7, 1] = np.nan
    usual, exact = Usual.of(kept), [Calibrated.of(column) for column in kept.T]
    scores = rng.normal(size=(500, 2))
    worth = usual.strangeness(scores)
    log_p = np.array([[-np.log(c.p_value(float(s))) for c, s in zip(exact, row, strict=True)] for row in scores])
    assert (worth <= log_p + 1e-9).all() and (worth > log_p - 0.75).all()
    beyond = np.nanmax(kept, 0) * np.array([1.0, np.e])
    assert np.allclose(usual.strangeness(beyond.astype(np.float64))[1], np.log(exact[1].sorted_n.size + 1) + 4)
    assert usual.strangeness(np.array([np.nan, np.nan])).tolist() == [0.0, 0.0]


def test_errors_are_measured_by_what_is_usual_there() -> None:
    """A hundred times larger and wilder left of a wall: standardised, both sides are alike, and a factor of 4 stands out where
    errors are tame.
    """
    rng = np.random.default_rng(4)

    def moves(count: int) -> Moves:
        x = rng.uniform(-1, 1, (count, 3)).astype(np.float32)
        left = x[:, 0] < 0
        sizes = np.exp(rng.normal(np.where(left, 4.0, 0.0), np.where(left, 1.0, 0.2)))
        return Moves(x, sizes.astype(np.float32))

    scale, fresh = fit_scale([moves(6000)]), moves(2000)
    away = np.abs(fresh.foretold_NX[:, 0]) > 0.1

    def standard(factor: float) -> np.ndarray:
        pairs = zip(fresh.foretold_NX[away], factor * fresh.sizes_N[away, None], strict=True)
        return np.concatenate([scale.standard(x, size) for x, size in pairs])

    left, usual = fresh.foretold_NX[away, 0] < 0, standard(1.0)
    for side in (left, ~left):
        assert abs(usual[side].mean()) < 0.2 and 0.8 < usual[side].std() < 1.25
    assert (standard(4.0)[~left] > 4).mean() > 0.95 and np.isnan(scale.standard(fresh.foretold_NX[0], np.array([np.nan]))).all()


def test_a_sensor_with_nothing_beside_its_main_axes_has_no_rest() -> None:
    """Rounding was once taken for a pattern never seen."""
    rng = np.random.default_rng(5)
    readings = rng.normal(size=(400, 2)).astype(np.float32)
    sense = Sense.fit(Sensor("state", SensorKind.VECTOR, (2,), "float32"), readings, np.arange(400), rng)
    assert sense.look(sense.scaled(np.array([1e6, 1e-3], np.float32)))[1] == 0.0


def test_expectations_are_where_the_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The `meta` device shows, without a GPU, what would be left on the CPU (no numbers can be read from it)."""
    monkeypatch.setattr("forethought.surprise.signals.host", lambda values: np.zeros(values.shape, np.float32))
    parts = build_parts(log_spec(), small_config())
    model = parts.model.to("meta")
    signals = SimpleNamespace(otherwise=Otherwise(log_spec().action_space, 1))
    z_BD = torch.zeros(1, model.encoder.latent_size, device="meta")
    expectation = begin(model, signals)  # type: ignore[arg-type]
    block = torch.zeros(log_spec().action_space.size, device="meta")
    assert signals.otherwise.blocks(block, expectation.past_FA).device.type == "meta"
    belief = Belief(z_BD, model.dynamics.initial_memory(z_BD), 0)
    for _ in range(3):
        expectation = expect(model, signals, expectation, belief, block)  # type: ignore[arg-type]
    kept = (expectation.ghosts_GD, expectation.memory_GM, expectation.past_FA)
    assert len(kept[0]) == 3 and {tensor.device.type for tensor in kept} == {"meta"}


def test_auroc_by_hand() -> None:
    assert auroc([0, 0], [1, 1]) == 1 and auroc([1], [1]) == 0.5 and auroc([2], [1]) == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A minute's worth of Two-Room, in less: enough for imagination to be right by a step."""
    folder = tmp_path_factory.mktemp("surprise")
    write_log(folder / "rooms.h5", record(160, 64, 3, random=False), log_spec())
    base = two_room_fixed(3)
    updates = {"predict": 250, "dynamics": 500, "heads": 300, "probe": 20, "decoder": 20}
    few = {n: replace(getattr(base, n), schedule=replace(getattr(base, n).schedule, updates=u)) for n, u in updates.items()}
    config: TrainConfig = replace(base, threads=1, **few)
    return train(folder / "rooms.h5", folder / "run", config)


@pytest.mark.lane
def test_the_agent_notices_and_says_why(run: RunFolder) -> None:
    figures = measure_surprise(
        run.path, "two-room-fixed-v1", shifts=("gain", "reversed", "lighting", "frozen"), episodes=6, calibrate=12
    )
    by_name = {s.shift: s for s in figures.shifts}
    assert figures.false_alarms <= 2 and figures.clean == 12
    for name in ("reversed", "lighting", "frozen"):
        assert by_name[name].auroc > 0.95 and by_name[name].found >= 3, by_name[name]
    assert by_name["gain"].auroc > 0.9
    assert "wrong way round" in by_name["reversed"].reason
    assert "camera" in by_name["lighting"].reason


@pytest.mark.lane
def test_surprise_is_a_value_and_the_run_keeps_it(run: RunFolder) -> None:
    agent, again = load_agent(run.path), load_agent(run.path)
    images = open_log(run.path.parent / "rooms.h5").episode(0).observations["image"]
    state = agent.init(ReachObservation({"image": images[-1]}), key=5)
    for image in images[:4]:
        decision, after = agent.act({"image": image}, state)
        twice, _ = again.act({"image": image}, state)
        assert decision.surprise is not None and twice.surprise is not None
        assert np.array_equal(decision.surprise.row_K, twice.surprise.row_K, equal_nan=True)
        state = after
    assert state.expectation is not None and len(state.expectation.ghosts_GD) == 1
    assert decision.surprise.p_value > 0 and decision.surprise.height >= 0
    run.surprise.unlink()
    assert load_agent(run.path).monitor is None
    with pytest.raises(RunError, match="no monitor of surprise"):
        measure_surprise(run.path, "two-room-fixed-v1", episodes=1)


def test_shifts_do_what_they_say() -> None:
    task = make_task("two-room-fixed-v1")
    pair, spec = next(p for p in task.pairs(50, 0) if 0.15 < p.setup[2] < 0.3), log_spec()  # room for the first action
    names = applicable(task.begin(pair), spec)
    assert set(names) == set(SHIFTS) and len(names) >= 16
    for name in names:
        episode = Shifted(task.begin(pair), SHIFTS[name](np.random.default_rng(0), spec), begins=3)
        usual = task.begin(pair)
        changed = False
        for step in range(12):
            action = np.array([0.9, 0.5 * (-1) ** step])
            seen, plain = episode.step(action), usual.step(action)
            same = np.array_equal(seen.observation["image"], plain.observation["image"])
            assert same or step >= 3, f"{name} began too early"
            assert seen.observation["image"].dtype == np.uint8 and seen.observation["image"].shape == (64, 64, 3)
            changed = changed or not same
        assert changed, f"{name} changed nothing"
    maze = make_task("pusht-states-v1").begin(make_task("pusht-states-v1").pairs(1, 0)[0])
    assert "camera" not in applicable(maze, log_spec_states()) and "gain" in applicable(maze, log_spec_states())
    with pytest.raises(UsageError, match="gain"):
        shift_named("gian")


def log_spec_states() -> ExperienceSpec:
    return ExperienceSpec((Sensor("state", SensorKind.VECTOR, (6,), "float32"),), BoxSpace((-1.0, -1.0), (1.0, 1.0)))
