"""Guardrails: intervals that hold, ways that keep them, stops that say why, names that come later."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import call
from hypothesis import given, settings
from hypothesis import strategies as st
from small_world import BOX, LATENT, TrueDynamics, to_latent, wandering
from torch import Tensor, nn

from forethought.agent.agent import AgentConfig, ForethoughtAgent
from forethought.agent.aim import Aim
from forethought.agent.ladder import Choice, Trust, choose
from forethought.config import checked
from forethought.costs.guardrail import Guardrail, Rail, margins, rails_for
from forethought.costs.predicate import read_predicate
from forethought.data.quantities import Quantities
from forethought.envs.two_room import fixed_layout, move
from forethought.errors import DataError, UsageError
from forethought.habits.policy import Habit
from forethought.perception.probe import PathErrors, Probe
from forethought.planning.loop import SearchConfig
from forethought.testing import check_cost
from forethought.training.bundle import load_agent
from forethought.training.path_errors import measure_path_errors
from forethought.types import (
    Belief,
    ExperienceSpec,
    Mode,
    Plan,
    ReachObservation,
    Rollout,
    SearchTrace,
    Sensor,
    SensorKind,
    State,
    Surprise,
    Target,
)
from forethought.world_model import LatentWorldModel

NAMES, NOTHING = ("position[0]", "position[1]"), np.zeros(0, np.float32)


@pytest.mark.parametrize(
    "text",
    ["x < 0.3 or y > 0.2", "not (0.2 < x < 0.4 and y < x)", "x > y and not (y > 0.5 or not x < 0.1)", "0.1 <= x <= 0.9"],
)
@settings(max_examples=30, deadline=None, database=None)
@given(seed=st.integers(0, 2**31))
def test_no_point_of_the_box_is_worse_than_its_unfavourable_ends(text: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    predicate = read_predicate(text, ("x", "y"), (0.5, 2.0))
    low, wide = torch.rand(20, 2, generator=generator), torch.rand(20, 2, generator=generator) * 0.3
    bound = predicate.shortfall_within(low, low + wide)
    for share in (torch.rand(20, 2, generator=generator) for _ in range(10)):
        assert bool((predicate.shortfall(low + share * wide) <= bound + 1e-6).all())
    assert torch.equal(predicate.shortfall_within(low, low), predicate.shortfall(low))


def test_a_predicate_leans_on_the_ends_that_can_break_it() -> None:
    ends = {
        text: read_predicate(text, ("x", "y")).leans_on() for text in ("x < 1", "not x < 1", "x < y", "not (x < y or x > 2)")
    }
    assert ends == {"x < 1": ((0, 1),), "not x < 1": ((0, 0),), "x < y": ((0, 1), (1, 0)),
                    "not (x < y or x > 2)": ((0, 0), (0, 1), (1, 1))}  # fmt: skip


def test_margins_hold_for_whole_stretches_and_all_ends_at_once() -> None:
    rng, ends, covered = np.random.default_rng(0), ((0, 0), (0, 1), (1, 1)), []
    scale = torch.tensor([[[1.0, 2.0], [3.0, 1.0]], [[2.0, 4.0], [6.0, 1.0]]])
    for _ in range(300):
        score = torch.from_numpy(rng.gumbel(size=(60, 2, 2, 2))).float() * scale
        margin = margins(PathErrors(score[:59], scale, 1, 64), ends, 0.9)
        inside = torch.stack([score[59, :, q, side] <= margin[:, q, side] for q, side in ends]).all(0)
        covered.append(inside.numpy())
    assert np.all(np.abs(np.mean(covered, 0) - 0.9) < 0.05)  # each horizon by itself
    assert bool(margins(PathErrors(score[:59], scale, 1, 64), ends, 0.99).isinf().any())  # 59 stretches cannot promise that


def reader(names: tuple[str, ...] = NAMES) -> Probe:
    """A probe that reads the position exactly off the small world's latents."""
    probe = Probe(LATENT, names, remembered=200).requires_grad_(False)
    line = nn.Linear(LATENT, 2).requires_grad_(False)
    line.weight.copy_(torch.eye(LATENT)[:2])
    line.bias.zero_()
    probe.net = nn.Sequential(line)
    probe.mean_Q.fill_(0.5)
    probe.deviation_Q.fill_(0.25)
    probe.remembered_MD.copy_(to_latent(np.random.default_rng(0).uniform(0.08, 0.92, (200, 2))))
    return probe


def exact(margin: float, frames: int = 1) -> PathErrors:
    return PathErrors(torch.full((200, 10, 2, 2), margin), torch.ones(10, 2, 2), frames, 64)


def test_frames_inside_a_block_count_and_the_cost_conforms() -> None:
    text, ends = "not (0.4 < position.x < 0.6 and 0.4 < position.y < 0.6)", np.array([[0.2, 0.8], [0.8, 0.2]])
    start, end = to_latent(ends[:1]), to_latent(ends[1:])[None, None]
    excess = {}
    for frames in (1, 2):
        probe = reader()
        probe.errors = exact(0.05, frames)
        (rail,) = rails_for((Guardrail(text),), probe, 3)
        excess[frames] = rail.by_block(start, end)[0, 0].tolist()
        check_cost(rail, LATENT, 2)
    # at the end (0.8, 0.2) either coordinate is 0.2 - 0.05 clear; half the way there, in the middle of the box, it is not
    assert excess[1] == pytest.approx([-0.6], abs=1e-4) and excess[2] == pytest.approx([0.1 / 0.25 + 0.2], abs=1e-4)
    broken = end.clone()
    broken[...] = torch.nan
    assert not bool(rail(Rollout(Belief(start, start[:, :0]), broken), broken[..., :2], Target(None)) <= 0)


def test_path_errors_are_the_worst_frame_of_each_block_over_each_stretch() -> None:
    skip, horizon = 2, 3
    latents, probe = wandering(BOX, 4, skip), reader()
    dynamics = TrueDynamics(BOX, skip)
    truth = (latents.z_ND[:, :2] / 4 + 0.5).numpy()
    truth = truth + 0.01 * np.sin(np.arange(len(truth)))[:, None].astype(np.float32)  # as if the probe erred
    known = Quantities(NAMES, truth)
    errors = measure_path_errors(probe, dynamics, latents, known, latents, known, horizon)
    assert errors is not None and errors.score_EHQ2.shape == (8, 10, 2, 2) and errors.stretch == 32 and errors.frames == skip
    expected = torch.full((8, 10, 2, 2), -torch.inf)
    for episode, first in enumerate(latents.starts_E):
        for row in range(int(first) + skip, int(first) + 64 - skip + 1):
            stretch, at, z = 2 * episode + (row - int(first)) * 2 // 65, row, latents.z_ND[row][None]
            for block in range(10):
                if at + skip > first + 64:
                    break
                after = dynamics.step(z, z[:, :0], latents.action_NA[at][None])[0]
                for frame in (1, 2):
                    read = probe(z) + frame / skip * (probe(after) - probe(z))
                    off = torch.from_numpy(truth[at + frame]) - read[0]
                    expected[stretch, block] = torch.maximum(expected[stretch, block], torch.stack([-off, off], -1))
                z, at = after, at + skip
    known_rows = expected.isfinite()
    assert torch.equal(known_rows, errors.score_EHQ2.isfinite())
    assert torch.allclose(errors.score_EHQ2[known_rows], expected[known_rows], atol=1e-4)


class Reading(nn.Module):
    """State (x, y) to the small world's latent."""

    latent_size, scene_size = LATENT, 0

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        return to_latent(observation["state"].double().numpy())


def straight(rollout: Rollout, actions_BSHA: Tensor, target: Target) -> Tensor:
    assert target.z_BD is not None
    return (rollout.z_BSHD - target.z_BD[:, None, None])[..., :2].norm(dim=-1).mean(-1)


def guarded_agent(*guardrails: Guardrail, mode: str = "plan", margin: float = 0.01) -> ForethoughtAgent:
    torch.manual_seed(0)
    model, probe = LatentWorldModel(Reading(), TrueDynamics(BOX, 2)), reader()
    probe.errors = exact(margin, 2)
    spec = ExperienceSpec((Sensor("state", SensorKind.VECTOR, (2,), "float32"),), BOX)
    config = AgentConfig(mode=mode, search=SearchConfig(horizon=4), hold_noise=True, guardrails=guardrails)
    return ForethoughtAgent(model, straight, Habit(LATENT, 0, BOX, 2, 16, 1), spec, 2, checked(config), probe)


def goal(x: float, y: float) -> ReachObservation:
    return ReachObservation({"state": np.array([x, y], np.float32)})


def drive(agent: ForethoughtAgent, start: tuple[float, float], to: ReachObservation, steps: int = 40):
    position, state, walked, decisions = np.array([start]), agent.init(to), [], []
    for _ in range(steps):
        decision, state = agent.act({"state": position[0].astype(np.float32)}, state)
        decisions.append(decision)
        position = move(fixed_layout(1), position, decision.action[None])
        walked.append(position[0].copy())
    return np.stack(walked), decisions


def test_a_way_round_is_taken_and_the_free_agent_would_have_gone_through() -> None:
    text, to = "position.y < 0.5 or position.x < 0.2 or position.x > 0.24", goal(0.4, 0.6)
    inside = lambda walked: bool(((walked[:, 1] >= 0.5) & (walked[:, 0] >= 0.2) & (walked[:, 0] <= 0.24)).any())  # noqa: E731
    free, _ = drive(guarded_agent(), (0.1, 0.55), to)
    kept, decisions = drive(guarded_agent(Guardrail(text)), (0.1, 0.55), to, 80)
    assert inside(free) and not inside(kept)
    assert kept[-1, 0] > 0.24 and all(d.mode in (Mode.PLAN, Mode.CONTINUE) for d in decisions)


def test_a_long_way_round_is_found_on_a_map_of_allowed_places() -> None:
    from forethought.agent.guard import Guard

    ends = {}
    for name in ("with", "without"):
        agent = guarded_agent(Guardrail("position.x < 0.2 or position.x > 0.26 or position.y < 0.3"))
        head = nn.Linear(2 * LATENT, 4).requires_grad_(False)  # a habit that heads straight for its goal
        head.weight.zero_()
        for frame in (0, 2):
            head.weight[[frame, frame + 1], [0, 1]], head.weight[[frame, frame + 1], [LATENT, LATENT + 1]] = -3.0, 3.0
        head.bias.zero_()
        agent.habit.net = nn.Sequential(head)
        if name == "without":
            agent.detours = replace(agent.detours, guard=Guard())
        walked, decisions = drive(agent, (0.1, 0.7), goal(0.4, 0.7), 70)
        assert not bool(((walked[:, 0] >= 0.2) & (walked[:, 0] <= 0.26) & (walked[:, 1] >= 0.3)).any())
        ends[name] = float(np.linalg.norm(walked - [0.4, 0.7], axis=1).min())
        assert any("by a way round" in d.reason for d in decisions) is (name == "with")
    assert ends["with"] < 0.06 < 0.12 < ends["without"]


def test_as_near_as_allowed_and_then_it_stops_and_says_why() -> None:
    walked, decisions = drive(guarded_agent(Guardrail("position.x < 0.3")), (0.1, 0.3), goal(0.42, 0.3))
    assert walked[:, 0].max() < 0.3 and walked[-1, 0] > 0.22
    last = [d for d in decisions if d.mode is not Mode.CONTINUE][-1]
    assert last.mode is Mode.STOP and "as near as 'position.x < 0.3' allows" in last.reason
    assert not last.action.any() and last.effort.planner_calls == 1


def test_no_safe_plan_is_a_stop_with_the_guardrail_and_not_for_ever() -> None:
    agent = guarded_agent(Guardrail("position.x < 0.3", 0.9))
    state, (inside, outside) = agent.init(goal(0.1, 0.3)), (np.array([x, 0.3], np.float32) for x in (0.28, 0.45))
    decision, state = agent.act({"state": outside}, state)
    assert decision.mode is Mode.STOP and decision.plan is None and not decision.action.any()
    assert decision.reason == "stopped: no safe plan: 'position.x < 0.3' does not hold here, as the probe reads it"
    _, state = agent.act({"state": outside}, state)
    decision, _ = agent.act({"state": inside}, state)
    assert decision.mode is Mode.PLAN
    narrow = guarded_agent(Guardrail("0.25 < position.x < 0.3", 0.9), margin=0.02)
    decision, _ = narrow.act({"state": np.array([0.275, 0.3], np.float32)}, narrow.init(goal(0.275, 0.9)))
    assert decision.mode is Mode.STOP and decision.reason.startswith(
        "stopped: no safe plan: '0.25 < position.x < 0.3' would be"
    )


def test_from_within_the_margin_only_ways_out_of_it_are_allowed() -> None:
    agent = guarded_agent(Guardrail("position.x < 0.3", 0.9), margin=0.05)
    (rail,) = agent.guard.rails
    start = to_latent(np.array([[0.28, 0.5]]))  # it holds, and standing still exceeds by 0.03
    paths = np.array([[0.26, 0.22], [0.27, 0.27], [0.29, 0.2], [0.27, 0.25]])
    ways = to_latent(np.stack([paths, np.full_like(paths, 0.5)], -1).reshape(-1, 2)).reshape(1, 4, 2, LATENT)
    kept = (rail.by_block(start, ways).amax(-1)[0] <= 0).tolist()
    # the last one's last block begins at 0.27: its first frame, at 0.26, has 0.01 too little, of 0.015 allowed
    assert kept == [True, False, False, True]
    broken = to_latent(np.array([[0.32, 0.5]]))
    assert not bool((rail.by_block(broken, ways).amax(-1) <= 0).any())  # where it does not hold, nothing is allowed


def test_a_habit_that_breaks_one_is_not_taken() -> None:
    from forethought.agent.guard import Guard

    free, agent = guarded_agent(mode="habit"), guarded_agent(Guardrail("position.y < 0.5"), mode="habit", margin=0.0)
    agent.habit.load_state_dict(free.habit.state_dict())
    up = free.habit.net[-1]
    assert isinstance(up, nn.Linear)
    for habit in (free.habit, agent.habit):
        habit.net[-1].bias.data[1::2] = 9.0  # type: ignore[union-attr,index,operator]
    here = {"state": np.array([0.2, 0.45], np.float32)}
    assert free.act(here, free.init(goal(0.2, 0.9)))[0].mode is Mode.HABIT
    decision, _ = agent.act(here, agent.init(goal(0.2, 0.9)))
    assert decision.mode is Mode.STOP and "the habit is not safe" in decision.reason
    rungs = [rung(free, here, guard) for guard in (Guard(), agent.guard)]
    assert [r.mode for r in rungs] == [Mode.HABIT, Mode.PLAN]
    assert "habit: 'position.y < 0.5' would be broken within 1 block at 99 %; searched" in rungs[1].reason
    kept = [rung(free, here, guard, in_hand=True) for guard in (Guard(), agent.guard)]
    assert [k.mode for k in kept] == [Mode.CONTINUE, Mode.PLAN] and "plan in hand: 'position.y < 0.5'" in kept[1].reason


def rung(agent: ForethoughtAgent, here: dict[str, np.ndarray], guard, in_hand: bool = False) -> Choice:
    def search(belief: Belief, state: State, aim: Aim) -> Choice:
        return Choice(None, 1, Mode.PLAN, "searched")

    state = agent.init(goal(0.2, 0.9))
    if in_hand:
        up = torch.tensor([0.0, 1.0, 0.0, 1.0]).repeat(3, 1)
        plan = Plan(up, torch.zeros(3, LATENT), 0.0, SearchTrace((0.0,), "", 0, 0.0))
        state = replace(state, plan=plan, plan_step=1)
    usual, aim = Surprise(0.6, 0.05, 0.2, NOTHING, NOTHING), Aim(state.target, agent.cost)
    with torch.inference_mode():
        belief = agent.believe(here, state)
        return choose(belief, state, aim, usual, Trust(1.0, np.inf), agent.habits, 3, search, guard)


@pytest.mark.parametrize(
    ("guardrails", "said"),
    [
        ([Guardrail("position.x < 0.2"), Guardrail("position.x > 0.8")], "none of 200 places .* satisfies them together"),
        ([Guardrail("position.x > 5")], "none of 200 places .* satisfies it; loosen"),
        ([Guardrail("positon.x > 0.5")], r"unknown quantity 'positon.x'.*Did you mean 'position"),
        ([Guardrail("position.x = 0.5")], "expected"),
        ([Guardrail("position.x > 0.1", 0.9999)], "200 held-out stretches promise at most 99.5 %"),
    ],
)
def test_what_cannot_be_kept_is_said_at_construction(guardrails: list[Guardrail], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        guarded_agent(*guardrails)


def test_runs_without_intervals_load_and_guardrails_say_what_to_do(run: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(run, old)
    (old / "intervals.safetensors").unlink()
    assert load_agent(old).guard.rails == ()
    with pytest.raises(UsageError, match="forethought probe RUN --log LOG"):
        load_agent(old, guardrails=(Guardrail("position.x < 0.8"),))
    few = load_agent(run).probe
    assert few is not None and few.errors is not None
    count = len(few.errors.score_EHQ2)
    with pytest.raises(UsageError, match=f"{count} held-out stretches promise at most"):
        load_agent(run, guardrails=(Guardrail("position.x < 0.8"),))
    loose = load_agent(run, guardrails=(Guardrail("position.x < 9", 0.5),))
    assert isinstance(loose.guard.rails[0], Rail) and loose.config.guardrails == (Guardrail("position.x < 9", 0.5),)


def test_an_evaluation_keeps_guardrails(run: Path, tmp_path: Path) -> None:
    again = tmp_path / "run"
    shutil.copytree(run, again)
    said = call("eval", again, "--task", "two-room-random-v1", "--n", 1, "--guard", "position.x < 0.8", code=2).said
    assert "held-out stretches promise at most" in said  # four episodes; a run with more goes on


def test_names_come_later(run: Path, log: Path, tmp_path: Path) -> None:
    from forethought.data import open_log

    again, experience = tmp_path / "run", open_log(log)
    shutil.copytree(run, again)
    places = np.concatenate([episode.metadata["position"] for episode in experience])
    np.savez(tmp_path / "wall.npz", wall=np.abs(places[:, 0] - 0.5))
    listed = json.loads(call("probe", again, "--json").stdout)["quantities"]
    assert [q["name"] for q in listed] == list(NAMES) and "position[0]" in call("probe", again).stdout
    done = call("probe", again, "--log", log, "--names", tmp_path / "wall.npz", "--json")
    named = json.loads(done.stdout)["quantities"]
    assert [q["name"] for q in named] == [*NAMES, "wall"] and len(named[2]["first_block"]) == 3
    (tmp_path / "few.txt").write_text("position.y\n")
    call("probe", again, "--log", log, "--names", tmp_path / "few.txt")
    agent = load_agent(again, guardrails=(Guardrail("position.y < 9", 0.5),))
    assert agent.probe is not None and agent.probe.names == ("position[1]",)
    assert "needs --log too" in call("probe", again, "--names", tmp_path / "few.txt", code=2).said
    (tmp_path / "few.txt").write_text("height\n")
    assert "unknown quantity 'height'" in call("probe", again, "--log", log, "--names", tmp_path / "few.txt", code=2).said
    (tmp_path / "short.csv").write_text("a,b\n1,2\n3,\n")
    assert (
        f"expected the log's {len(places)}"
        in call("probe", again, "--log", log, "--names", tmp_path / "short.csv", code=1).said
    )


def test_intervals_of_another_probe_are_not_believed(run: Path, tmp_path: Path) -> None:
    from forethought.training.path_errors import load_path_errors
    from forethought.training.probes import load_probe
    from forethought.training.run import RunFolder

    folder = RunFolder(run)
    probe = load_probe(folder)
    assert probe is not None and probe.errors is not None
    probe.mean_Q[0] += 1
    assert load_path_errors(folder, probe) is None


@pytest.mark.parametrize("text", ["", "x\nhello\n", "x,y\n1\n"])
def test_broken_files_of_names_are_one_clear_error(log: Path, tmp_path: Path, text: str) -> None:
    from forethought.data import open_log
    from forethought.data.named import read_named

    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError, match=r"bad.csv: .*cannot be read"):
        read_named(tmp_path / "bad.csv", open_log(log))
    with pytest.raises(UsageError, match=r"got a '.mat' file"):
        read_named(tmp_path / "bad.mat", open_log(log))


def test_the_benchmark_forbids_what_is_on_the_way_and_leaves_another() -> None:
    from benchmarks.guardrails import ROOMS, draw_cases, oracle_way
    from forethought.arena.tasks import make_task

    task, places = make_task("two-room-random-v1"), np.random.default_rng(0).uniform(0.07, 0.93, (500, 2))
    for _, (pair, region) in zip(range(4), draw_cases(task, ROOMS, 0), strict=False):
        predicate = read_predicate(region.predicate(ROOMS), NAMES)
        holds = predicate.shortfall(torch.from_numpy(places)).numpy() <= 0
        assert (holds == ~region.holds(places)).all() and region.holds(oracle_way(task, pair)).any()
        assert not region.holds(oracle_way(task, pair)[[0, -1]], ROOMS.clear).any()
