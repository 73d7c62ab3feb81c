"""The meter: FLOPs by formula against torch's counter, energy off counters in the kernel's layout, and what a run cost."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import call
from conftest import small_config
from test_learners import made_up, small_stage
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from forethought.agent import meter
from forethought.agent.agent import AgentConfig, ForethoughtAgent
from forethought.agent.energy import WATTS_PER_CORE, Gauge, Stopwatch, board, packages
from forethought.agent.ladder import Trust
from forethought.arena.costs import run_cost
from forethought.arena.evaluate import agent_in_mode, evaluate
from forethought.costs.build import CriticKind, build_critic
from forethought.costs.critic import CriticCost
from forethought.data import open_log
from forethought.data.dataset import Dataset
from forethought.data.quantities import quantities_of
from forethought.data.split import Split
from forethought.dynamics.build import FAMILIES, Architecture, build_dynamics
from forethought.dynamics.residual_mlp import ResidualMLP
from forethought.envs.two_room import record
from forethought.errors import RunError
from forethought.habits.policy import Habit
from forethought.objectives.regulariser import Regulariser
from forethought.perception.build import IMAGE_BODIES, EncoderConfig, build_encoder
from forethought.perception.decoder import Decoder
from forethought.planning.loop import SearchConfig
from forethought.planning.methods import CONTINUOUS
from forethought.surprise.senses import Nearest
from forethought.training.bundle import assemble, build_parts, load_parts
from forethought.training.config import HabitKind, PracticeConfig
from forethought.training.decoder import DecoderStage
from forethought.training.distributed import Ranks
from forethought.training.dynamics import DynamicsStage
from forethought.training.landmarks import graph_of_log
from forethought.training.latents import load_latents
from forethought.training.learners.build import heads_stage
from forethought.training.practice import PracticeStage
from forethought.training.predict import PredictStage
from forethought.training.probes import ProbeStage
from forethought.training.run import RunFolder, StageCost
from forethought.training.trainer import Stage
from forethought.types import (
    Belief,
    BoxSpace,
    Effort,
    Energy,
    ExperienceSpec,
    Known,
    Mode,
    ReachObservation,
    ReachPredicate,
    Rollout,
    Sensor,
    SensorKind,
    Target,
)

CLOSE = 0.05
IMAGE, WIDE = Sensor("a", SensorKind.IMAGE, (64, 64, 3), "uint8"), Sensor("b", SensorKind.IMAGE, (96, 120, 3), "uint8")
VECTOR, TOKENS = Sensor("c", SensorKind.VECTOR, (5,), "float32"), Sensor("d", SensorKind.TOKENS, (7,), "int64", 11)
SPACE = BoxSpace((-1.0, -1.0), (1.0, 1.0))


def distances(x: tuple[int, ...], y: tuple[int, ...], *_: object, out_shape: object = None, **__: object) -> int:
    return 2 * int(np.prod(x[:-1])) * y[-2] * x[-1]  # torch's counter does not know tables of distances


KNOWN = {torch.ops.aten._euclidean_dist: distances, torch.ops.aten._cdist_forward: distances}


def counted(work: Callable[[], object], inference: bool = True) -> int:
    """torch's own count. Fused attention and encoder layers are unknown to it: they are taken apart."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        count = FlopCounterMode(display=False, custom_mapping=KNOWN)
        with torch.inference_mode(inference), sdpa_kernel(SDPBackend.MATH), count:
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return count.get_total_flops()


@pytest.mark.parametrize("kind", IMAGE_BODIES)
@pytest.mark.parametrize("sensors", [(IMAGE,), (WIDE,), (IMAGE, VECTOR, TOKENS)])
def test_encoders(kind: str, sensors: tuple[Sensor, ...]) -> None:
    encoder = build_encoder(ExperienceSpec(sensors, SPACE), EncoderConfig(image=kind)).eval()
    one = {s.name: torch.zeros(1, *s.shape, dtype=getattr(torch, s.dtype)) for s in sensors}
    some = {name: value.expand(8, *value.shape[1:]) for name, value in one.items()}
    assert meter.of(encoder) == pytest.approx(counted(lambda: encoder(one)), rel=CLOSE)
    learned = counted(lambda: encoder(some).sum().backward(), inference=False)
    assert meter.work(encoder).learned(8) == pytest.approx(learned, rel=CLOSE)


@pytest.mark.parametrize(("family", "scene"), itertools.product(FAMILIES, (0, 12)))
def test_dynamics(family: str, scene: int) -> None:
    dynamics = build_dynamics(Architecture(family), 28, scene, 10)
    z, blocks = torch.zeros(1, 28), torch.zeros(1, 32, 5, 10)
    memory = dynamics.initial_memory(z)
    assert meter.rolled(dynamics).of(160) == pytest.approx(counted(lambda: dynamics.imagine(z, memory, blocks)), rel=CLOSE)
    rows = [t.expand(3, -1) for t in (z, memory, blocks[0, 0, :1])]
    assert meter.of(dynamics, 3) == pytest.approx(counted(lambda: dynamics.step(*rows)), rel=CLOSE)
    assert meter.filtered(dynamics) == counted(lambda: dynamics.update(z, memory, blocks[0, 0, :1], z))
    many, ways = [t.expand(16, -1) for t in (z, memory)], torch.zeros(16, 1, 5, 10)
    learned = counted(lambda: dynamics.imagine(*many, ways).sum().backward(), inference=False)
    assert meter.imagined_learned(dynamics, 16, 5) == pytest.approx(learned, rel=CLOSE)


@pytest.mark.parametrize(("kind", "path_weight"), itertools.product(CriticKind, (0.0, 0.2)))
def test_critics(kind: CriticKind, path_weight: float) -> None:
    critic = build_critic(kind, 28, 0 if kind is CriticKind.MAP else 12, 256, 3, 50.0)
    rollout, goal = (
        Rollout(Belief(torch.zeros(1, 28), torch.zeros(1, 0)), torch.randn(1, 32, 5, 28)),
        Target(torch.zeros(1, 28)),
    )
    cost = CriticCost(critic, path_weight)
    assert meter.judged(cost, 32, 5) == pytest.approx(counted(lambda: cost(rollout, rollout.z_BSHD, goal)), rel=CLOSE)


def test_a_drawing_and_a_table_of_what_was_seen() -> None:
    decoder = Decoder(28, (48, 40, 3), 64)
    assert meter.of(decoder, 4) == counted(lambda: decoder(torch.zeros(4, 28)))
    assert meter._near(Nearest.at(np.zeros((10, 4), np.float32))) == 80


@pytest.fixture
def decide(run: Path) -> Callable[..., tuple[int, int, Mode]]:
    """Decisions of the small run's agent: FLOPs by formula without numpy's, by the counter, and the last mode."""
    frames = next(iter(record(1, 30, 7, random=False))).observations["image"]

    def decide(agent: ForethoughtAgent, goal: ReachObservation | ReachPredicate | None = None) -> tuple[int, int, Mode]:
        state, ours, theirs = agent.init(goal or ReachObservation({"image": frames[0]})), 0, 0
        for frame in frames[4:24:4]:
            before = state
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=KNOWN) as count:
                decision, state = agent.act({"image": frame}, before)
            looked = 0 if agent.monitor is None else meter.watched(agent.monitor)
            ours, theirs = ours + decision.effort.flops - looked, theirs + count.get_total_flops()
            state = replace(state, pending=())
        return ours, theirs, decision.mode

    return decide


@pytest.mark.parametrize("mode", ["plan", "habit", "latent", "ladder"])
def test_a_whole_decision_in_each_mode(run: Path, decide: Callable[..., tuple[int, int, Mode]], mode: str) -> None:
    spec, config, parts = load_parts(run)
    for doubt in (-1.0, np.inf) if mode == "ladder" else (0.0,):
        agent = agent_in_mode(replace(parts, trust=Trust(1.0, doubt)), spec, config, mode)
        ours, theirs, _ = decide(agent)
        assert ours == pytest.approx(theirs, rel=CLOSE)


@pytest.mark.parametrize("method", [m for m in CONTINUOUS if m != "cem"])
def test_a_whole_decision_by_each_planner(run: Path, decide: Callable[..., tuple[int, int, Mode]], method: str) -> None:
    spec, config, parts = load_parts(run)
    search = SearchConfig(num_samples=32, iterations=3, horizon=4)
    thinking = AgentConfig("plan", method=method, search=search, warm_start=True)
    ours, theirs, _ = decide(assemble(parts, spec, replace(config, agent=thinking)))
    assert ours == pytest.approx(theirs, rel=CLOSE)


def test_a_whole_decision_for_a_predicate(run: Path, decide: Callable[..., tuple[int, int, Mode]]) -> None:
    spec, config, parts = load_parts(run)
    ours, theirs, _ = decide(assemble(parts, spec, config), ReachPredicate("position.x > 0.6"))
    assert ours == pytest.approx(theirs, rel=CLOSE)


def zone(root: Path, folder: str, name: str, microjoules: int, span: int = 1_000_000) -> Path:
    """One power zone as the kernel shows it."""
    (root / folder).mkdir(parents=True)
    for file, text in (("name", name), ("max_energy_range_uj", span), ("energy_uj", microjoules), ("enabled", 0)):
        (root / folder / file).write_text(f"{text}\n")
    return root / folder / "energy_uj"


def test_sockets_are_read_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 100)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 900_000)
    for folder, name in (("intel-rapl:0:0", "core"), ("intel-rapl:1:0", "dram"), ("intel-rapl:2", "psys")):
        zone(tmp_path, folder, name, 5)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 5)
    (tmp_path / "intel-rapl").mkdir()
    found, why = packages(tmp_path)
    assert [p.name for p in found] == ["package-0", "package-1"] and why == ""
    gauge = Gauge.find(root=tmp_path)
    before = gauge.mark()
    first.write_text("300100\n")
    second.write_text("200000\n")  # it has started again from 0 at its span
    assert gauge.between(before, gauge.mark(), cpu_seconds=1.0) == Energy(pytest.approx(0.6), Known.READING)


def test_a_counter_that_may_not_be_read_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 100)
    closed = zone(tmp_path, "intel-rapl:1", "package-1", 100)
    closed.chmod(0)
    really = Path.read_text

    def as_user(path: Path, *args: str) -> str:
        if path.exists() and not path.stat().st_mode & 0o444:  # root may read everything; a user may not
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, *args)

    monkeypatch.setattr(Path, "read_text", as_user)
    found, why = packages(tmp_path)
    assert found == () and "chmod a+r" in why and str(closed) in why
    closed.chmod(0o444)
    gauge = Gauge.find(root=tmp_path)
    before = gauge.mark()
    closed.chmod(0)  # the permission goes while it runs
    assert gauge.between(before, gauge.mark(), 2.0) == Energy(2 * WATTS_PER_CORE, Known.ESTIMATE)


def test_without_counters_there_is_a_labelled_estimate(tmp_path: Path) -> None:
    assert packages(tmp_path / "none")[0] == () and "no processor's energy counter" in packages(tmp_path / "none")[1]
    broken = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    broken.write_text("nonsense\n")
    assert packages(tmp_path)[0] == () and "not a number" in packages(tmp_path)[1]
    gauge = replace(Gauge.find(root=tmp_path), watts=10.0)
    watch = Stopwatch(gauge)
    sum(range(100_000))
    spent = watch.lap()
    assert spent.cpu_seconds > 0 and spent.accelerator_seconds == 0
    assert spent.energy == Energy(pytest.approx(10.0 * spent.cpu_seconds), Known.ESTIMATE)
    held = gauge.between((None, None), (None, None), 1.0, accelerator_seconds=2.0)
    assert held == Energy(10.0 + 2 * gauge.accelerator_watts, Known.ESTIMATE)


def test_a_part_that_is_read_does_not_hide_one_that_is_estimated() -> None:
    assert (Energy(1.0, Known.READING) + Energy(1.0, Known.ESTIMATE)).known is Known.ESTIMATE
    assert (Energy(1.0, Known.READING) + Energy(1.0, Known.UNKNOWN)).known is Known.UNKNOWN
    assert sum([Energy(1.0, Known.READING)] * 3, Energy()) == Energy(3.0, Known.READING)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an accelerator whose energy may be readable")
def test_no_accelerator_is_said_in_words() -> None:
    pytest.importorskip("pynvml")
    assert board(0)[0] == () and "NVML cannot read" in board(0)[1]


def test_a_decision_says_what_it_cost(run: Path) -> None:
    spec, config, parts = load_parts(run)
    agent = assemble(parts, spec, config)
    frame = next(iter(record(1, 5, 7, random=False))).observations["image"][0]
    effort = agent.act({"image": frame}, agent.init(ReachObservation({"image": frame})))[0].effort
    assert effort.flops > 1e6 and effort.accelerator_seconds == 0 and effort.energy.joules > 0
    assert effort.energy.known is (Known.READING if agent.gauge.processor else Known.ESTIMATE)


def updated(stage: Stage) -> int:
    def update() -> None:
        stage.loss(0)[0].backward()

    return counted(update, inference=False)


@pytest.mark.parametrize(("kind", "habit"), itertools.product((k for k in CriticKind if k is not CriticKind.MAP), HabitKind))
def test_an_update_of_heads(kind: CriticKind, habit: HabitKind) -> None:
    stage = small_stage(kind, habit, SPACE)
    assert stage.flops() == pytest.approx(updated(stage), rel=CLOSE)


def test_an_update_of_heads_with_a_map(log: Path) -> None:
    latents, dynamics = made_up(SPACE, 0), ResidualMLP(8, 0, 4, 16, 2)
    config = replace(small_config(), frameskip=2)
    config = replace(config, heads=replace(config.heads, critic=CriticKind.MAP, landmarks=30, nodes=30))
    graph = graph_of_log(latents, dynamics, SPACE, config)
    critic, habit = (
        build_critic(CriticKind.MAP, 8, 0, 16, 2, 60.0, landmarks=len(graph.state_GNE[0])),
        Habit(8, 0, SPACE, 2, 16, 2),
    )
    stage = heads_stage(latents, graph, dynamics, critic, habit, config)
    assert stage.flops() == pytest.approx(updated(stage), rel=CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_update_of_dynamics_and_of_practice(family: str) -> None:
    latents, dynamics = made_up(SPACE, 3), build_dynamics(Architecture(family, 64, 2), 8, 3, 4)
    config = small_config()
    stage = DynamicsStage(latents, dynamics, replace(config, dynamics=replace(config.dynamics, horizon=3)), Ranks())
    assert stage.flops() == pytest.approx(updated(stage), rel=CLOSE)
    habit, practice = Habit(8, 3, SPACE, 2, 32, 2), PracticeConfig(batch_size=16)
    stage = PracticeStage(latents, dynamics, habit, config, practice)
    assert stage.flops() == pytest.approx(updated(stage), rel=CLOSE)


@pytest.mark.parametrize(
    ("changes", "encoder"),
    [
        ({}, {}), ({"regulariser": Regulariser.VICREG}, {"image": "conv"}), ({"picture": 1.0}, {"image": "vit"}),
        ({"regulariser": Regulariser.TEACHER}, {}), ({}, {"scene_size": 0}),
    ],
)  # fmt: skip
def test_an_update_of_prediction(log: Path, changes: dict[str, object], encoder: dict[str, object]) -> None:
    data, config = Dataset.load(open_log(log), Split.TRAIN), small_config()
    config = replace(config, encoder=replace(config.encoder, **encoder), predict=replace(config.predict, **changes))
    parts = build_parts(data.spec, config)
    stage = PredictStage(data, parts.encoder, parts.first_dynamics, config, Ranks())
    assert stage.flops() == pytest.approx(updated(stage), rel=CLOSE)


def test_an_update_of_what_people_look_through(log: Path, run: Path) -> None:
    data, config = Dataset.load(open_log(log), Split.TRAIN), small_config()
    latents = load_latents(RunFolder(run).latents, data, config.frameskip, 4)
    for stage in (
        DecoderStage(latents, data, "image", config, torch.device("cpu")),
        ProbeStage(latents, quantities_of(data), config, torch.device("cpu")),
    ):
        assert stage.flops() == pytest.approx(updated(stage), rel=CLOSE)


def test_a_run_says_what_every_stage_cost(run: Path) -> None:
    folder = RunFolder(run)
    costs = folder.stage_costs()
    assert {"predict", "dynamics", "heads", "probe", "decoder"} <= set(costs)
    for cost in costs.values():
        assert cost.updates == 30 and cost.flops and cost.effort.cpu_seconds > 0 and cost.effort.energy.joules > 0
        assert cost.effort.energy.known is not Known.UNKNOWN
    steps = folder.step_costs()
    assert steps["encode"].flops and steps["calibrate"].flops is None and steps["graphs"].effort.seconds > 0


def test_a_journal_of_before_is_read() -> None:
    cost = StageCost.of({"updates": 5, "seconds": 1.5, "cpu_seconds": 2.0})
    assert cost == StageCost(5, Effort(seconds=1.5, cpu_seconds=2.0), None)
    assert StageCost.of(cost.record()) == cost


def test_what_a_run_and_a_solved_task_cost(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "evaluation.json").unlink(missing_ok=True)  # other tests evaluate the same run
    done = call("meter", copy)
    assert f"forethought eval {copy} --task TASK" in done.said and "predict" in done.stdout
    found = evaluate(copy, "two-room-random-v1", count=3, modes=("habit", "plan"))
    record = json.loads(call("meter", copy, "--json").stdout)
    assert record["training"]["all"]["flops"] == sum(c["flops"] or 0 for n, c in record["training"].items() if n != "all")
    habit, plan = record["per_solved"]
    for told, result in zip((habit, plan), found.results, strict=False):
        for name in ("flops", "cpu_seconds", "joules"):
            assert told[name] is None or told[name] == pytest.approx(result.per_solved(name))
    each = [sum(o.flops for o in r.outcomes) / sum(len(o.milliseconds) for o in r.outcomes) for r in found.results[:2]]
    assert each[1] > each[0] > 0  # a decision that searches costs more than a habit's


def test_other_watts_change_estimates_alone(run: Path, tmp_path: Path) -> None:
    known, doubled = (run_cost(run, watts).stages["predict"].effort for watts in (None, 2 * WATTS_PER_CORE))
    if known.energy.known is Known.ESTIMATE:
        assert doubled.energy.joules == pytest.approx(2 * known.energy.joules, rel=0.01)
    folder = RunFolder(tmp_path)
    folder.finish_stage("predict", StageCost(1, Effort(cpu_seconds=1.0, energy=Energy(3.0, Known.READING)), 10))
    assert run_cost(tmp_path, 99.0).stages["predict"].effort.energy == Energy(3.0, Known.READING)


def test_files_of_before_are_read(tmp_path: Path) -> None:
    (tmp_path / "journal.json").write_text('{"finished": {"predict": {"updates": 5, "seconds": 1.5, "cpu_seconds": 2.0}}}')
    outcome = {"pair": "a", "success": True, "predictor_passes": 90, "planner_calls": 3, "cpu_seconds": 0.5}
    result = {"task": "t", "agent": "plan", "p50_ms": 1.0, "p99_ms": 2.0, "outcomes": [outcome, {**outcome, "success": False}]}
    (tmp_path / "evaluation.json").write_text(json.dumps({"results": [result]}))
    told = call("meter", tmp_path, "--watts", 10).stdout
    assert "~20" in told and "~10" in told and "180" in told and "evaluate again" in told  # 2 x 10 W; 1 s x 10 W; 2 x 90 passes
    cost = run_cost(tmp_path).agents[0]
    assert cost.flops is None and cost.solved == 1 and cost.energy == Energy(7.0, Known.ESTIMATE)
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(RunError, match="write it again"):
        run_cost(tmp_path)
    with pytest.raises(RunError, match="no stage of a training"):
        run_cost(tmp_path / "none")
