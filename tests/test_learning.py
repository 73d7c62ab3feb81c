"""Learning after training: what is kept, what is refused, what is chosen, and what is taken back."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import call

from forethought.agent.agent import ForethoughtAgent
from forethought.agent.worlds import VersionedAgent, after_look
from forethought.arena.changed import ChangedTask, explore
from forethought.arena.poison import POISONS, poisoned
from forethought.arena.task import Task
from forethought.arena.tasks import make_task
from forethought.data import open_writer
from forethought.dynamics.adapted import Adapted
from forethought.dynamics.build import Architecture, build_dynamics
from forethought.envs.ogbench import log_spec
from forethought.errors import DataError, RunError, UsageError
from forethought.perception.lens import Lens, Patch
from forethought.surprise.ruler import Ruler
from forethought.training.adapt import store
from forethought.training.adapt.gate import FORGOTTEN, forgotten
from forethought.training.adapt.learn import learn
from forethought.training.adapt.minds import load_agent
from forethought.training.adapt.moves import Moves
from forethought.training.bundle import load_parts
from forethought.training.recipes import pointmaze
from forethought.training.run import RunFolder
from forethought.training.train import train
from forethought.types import BoxSpace, Decision, DiscreteSpace, Episode, State

SPACE = BoxSpace((-1.0, -1.0), (1.0, 1.0))
MAZE = "ogbench-pointmaze-medium-v1"


def test_a_fresh_correction_changes_nothing() -> None:
    torch.manual_seed(0)
    base = build_dynamics(Architecture("gru", 32), 8, 2, 4)
    z, memory, blocks = torch.randn(3, 8), torch.randn(3, 32), torch.rand(3, 5, 2, 4) * 2 - 1
    for space, width in ((SPACE, 0), (SPACE, 16), (DiscreteSpace(2), 0), (DiscreteSpace(2), 16)):
        adapted = Adapted(base, space, width)
        assert torch.equal(adapted.step(z, memory, blocks[:, 0, 0])[0], base.step(z, memory, blocks[:, 0, 0])[0])
        assert torch.allclose(adapted.imagine(z, memory, blocks), base.imagine(z, memory, blocks), atol=1e-5)
        assert bool(adapted.own()) == (width > 0 or isinstance(space, BoxSpace))


def test_half_the_gain_is_half_the_action() -> None:
    base = build_dynamics(Architecture(width=32), 8, 0, 4)
    adapted = Adapted(base, SPACE)
    adapted.gain.data *= 0.5
    z, block = torch.randn(3, 8), torch.rand(3, 4)
    assert torch.allclose(adapted.step(z, z[:, :0], block)[0], base.step(z, z[:, :0], 0.5 * block)[0])


def test_a_lens_paints_over_what_has_changed_and_leaves_what_moves() -> None:
    then = np.full((16, 16, 3), 200.0, np.float32)
    now = np.repeat(then[None].astype(np.uint8), 9, 0)
    now[:, 4:8, 4:8] = 30
    for index in range(9):
        now[index, index, 5] = 90  # a dot goes past
    patch = Patch.between(then, now)
    assert patch is not None and patch.mask_HW.sum() == 16
    lens = Lens({"image": patch})
    seen = np.asarray(lens.see({"image": now[5]})["image"])
    assert (seen[4:8, 4:8] == 200).all(-1).sum() == 15 and (seen[5, 5] == 90).all()
    assert lens.fit({"image": now[0]}) == 1.0 and lens.fit({"image": then.astype(np.uint8)}) == 0.0
    assert Patch.between(then, then[None].astype(np.uint8)) is None


def test_the_version_that_foretells_better_is_taken_and_no_tie_turns_it() -> None:
    score, version = after_look(np.zeros(2), 0, np.array([3.0, 0.4]), np.ones(2))
    assert version == 1
    score, version = after_look(score, version, np.array([0.5, 0.6]), np.ones(2))
    assert version == 1
    for _ in range(6):
        score, version = after_look(score, version, np.array([0.4, 2.0]), np.ones(2))
    assert version == 0
    assert after_look(np.zeros(2), 0, np.full(2, np.nan), np.array([0.1, 0.9]))[1] == 1  # cameras tell at once


def still(count: int, size: int = 4) -> Moves:
    z = torch.zeros(count, size)
    return Moves(z, z[:, :0], torch.zeros(count, 2), z, np.arange(count) // 10)


class Off(torch.nn.Module):
    """Foretells each move wrong by what is said."""

    def __init__(self, errors: list[float]) -> None:
        super().__init__()
        self.errors = torch.tensor(errors)

    def step(self, z: torch.Tensor, memory: torch.Tensor, block: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return z + self.errors[:, None] * torch.eye(z.shape[1])[:1], memory


def test_a_version_mistaken_for_the_old_world_is_found_out() -> None:
    old, ruler = still(40), Ruler(torch.eye(4), 1.0, 0)
    known = Off([5.0 if n % 8 == 0 else 0.1 for n in range(40)])  # contacts, now and then
    assert forgotten(known, Off([8.0] * 40), Lens(), old, (), ruler) == 1.0  # never chosen: never better
    lucky = Off([0.1 if n % 8 == 0 else 4.0 for n in range(40)])  # right where the known one errs: chosen too late, each time
    assert forgotten(known, lucky, Lens(), old, (), ruler) > FORGOTTEN


def test_a_lens_that_does_not_know_the_old_world_is_found_out() -> None:
    old, ruler, then = still(40), Ruler(torch.eye(4), 1.0, 0), np.full((8, 8, 3), 200.0, np.float32)
    now = then.copy()
    now[2:5, 2:5] = 30
    lens = Lens({"image": Patch(np.abs(now - then).max(-1) > 20, now, then)})
    known, learned = Off([0.1] * 40), Off([4.0] * 40)
    seen = [({"image": picture.astype(np.uint8)},) for picture in (then, now)]
    assert forgotten(known, learned, lens, old, seen[0], ruler) == 1.0
    assert forgotten(known, learned, lens, old, seen[1], ruler) > FORGOTTEN


@pytest.fixture(scope="module")
def maze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A point maze explored, and learned in a hurry."""
    folder, task, spec = tmp_path_factory.mktemp("maze"), make_task(MAZE), log_spec()
    writer = open_writer(folder / "log.h5", spec)
    for number, episode in enumerate(explore(task, task.pairs(60, 9), spec, 300)):
        writer.append(replace(episode, id=f"episode {number}"))
    writer.close()
    base = pointmaze(0)
    config = replace(
        base,
        predict=replace(base.predict, schedule=replace(base.predict.schedule, updates=250)),
        dynamics=replace(base.dynamics, schedule=replace(base.dynamics.schedule, updates=800)),
        heads=replace(base.heads, landmarks=300, schedule=replace(base.heads.schedule, updates=60)),
    )
    return train(folder / "log.h5", folder / "run", config).path


def changed(run: Path, shift: str) -> ChangedTask:
    spec, _, parts = load_parts(run)
    assert parts.monitor is not None
    units = {s.sensor.name: s.scale_F for s in parts.monitor.signals.senses}
    return ChangedTask(make_task(MAZE), shift, spec, units)


def load_parts_and_version(run: Path) -> tuple[store.Version, Adapted, Lens]:
    _, _, parts = load_parts(run)
    heads = {"critic": parts.critic, "habit": parts.habit}
    return store.load_version(RunFolder(run), 1, lambda width: Adapted(parts.model.dynamics, SPACE, width), heads)


def explored(run: Path, task: Task, count: int = 6) -> list[Episode]:
    return list(explore(task, task.pairs(count, 5), load_parts(run)[0], 150))


def act(agent: ForethoughtAgent | VersionedAgent, task: Task, blocks: int = 6) -> list[tuple[Decision, State]]:
    episode = task.begin(task.pairs(1, 3)[0])
    moment, state, seen = episode.start, agent.init(episode.goal, 1), []
    for _ in range(blocks * 5):
        decision, state = agent.act(moment.observation, state)
        moment = episode.step(decision.action)
        seen.append((decision, state))
    return seen


@pytest.fixture(scope="module")
def learned(maze: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, after its actuator's wires were exchanged."""
    copied = Path(shutil.copytree(maze, tmp_path_factory.mktemp("learned") / "run"))
    lesson = learn(copied, explored(copied, changed(copied, "reversed")), why="wires exchanged")
    assert lesson.kept and lesson.version == 1 and lesson.figures.after < 0.5 * lesson.figures.before, lesson
    return copied


@pytest.mark.lane
def test_what_is_learned_is_chosen_and_taken_back(maze: Path, learned: Path, tmp_path: Path) -> None:
    weights = maze.joinpath("dynamics.safetensors").read_bytes()
    world, home, maze = changed(maze, "reversed"), make_task(MAZE), Path(shutil.copytree(learned, tmp_path / "run"))
    run, agent = RunFolder(maze), load_agent(maze)
    assert isinstance(agent, VersionedAgent)
    versions = [s.mismatch.version for _, s in act(agent, world) if s.mismatch is not None]
    assert versions[-1] == 1 and 1 in versions[:11]  # a block or two to notice
    assert any("version 1 (wires exchanged)" in d.reason for d, _ in act(agent, world))
    assert {s.mismatch.version for _, s in act(agent, home) if s.mismatch is not None} == {0}  # nothing is forgotten
    first, again = (act(agent, world)[-1][0].action for _ in range(2))
    assert np.array_equal(first, again)

    refused = learn(maze, explored(maze, world, 7))  # by now it goes as foretold
    assert not refused.kept and "nothing to learn" in refused.why
    shown = call("agent", "history", maze)
    assert "* " in shown.stdout and "wires exchanged" in shown.stdout and shown.stdout.count("refused") == 1
    place = run.versions / "0001"
    (place / "orphan").write_text("of a call that was killed")
    shutil.copytree(place, run.versions / "0002")
    version, adapted, lens = load_parts_and_version(maze)
    store.save_version(run, replace(version, number=2), adapted, lens, {})
    assert not (run.versions / "0002" / "orphan").exists() and store.active(run) == (1,)
    with pytest.raises(UsageError, match="version 7 is not in use; in use are 0, 1"):
        store.rollback(run, 7, "")
    assert json.loads(call("agent", "rollback", maze, "--json").stdout) == {"to": 0, "dropped": [1]}
    assert isinstance(load_agent(maze), ForethoughtAgent) and store.next_number(run) == 2
    assert maze.joinpath("dynamics.safetensors").read_bytes() == weights


@pytest.mark.lane
def test_a_state_goes_on_under_an_agent_that_has_learned_meanwhile(maze: Path, learned: Path) -> None:
    world = changed(maze, "reversed")
    episode, old = world.begin(world.pairs(1, 3)[0]), load_agent(maze)
    decision, state = old.act(episode.start.observation, old.init(episode.goal))
    new = load_agent(learned)
    for _ in range(12):
        moment = episode.step(decision.action)
        decision, state = new.act(moment.observation, state)
    assert state.mismatch is not None and state.mismatch.version == 1 and state.step == 13
    decision, _ = old.act(moment.observation, state)  # and back
    assert np.isfinite(decision.action).all()


OFTEN = ("random", "nearly constant", "shuffled")
"""Poisons that the lane tries; the slow tests try all, and benchmarks.learning each of them many times."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.lane if name in OFTEN else pytest.mark.slow) for name in POISONS]
)
def test_poison_is_never_kept(maze: Path, name: str) -> None:
    world = changed(maze, "gain") if len(name) % 2 else make_task(MAZE)
    lesson = learn(maze, [poisoned(e, name, np.random.default_rng(0)) for e in explored(maze, world)])
    assert not lesson.kept and lesson.why, lesson
    assert not store.active(RunFolder(maze))


@pytest.mark.lane
def test_bad_experience_and_damaged_versions_are_clear_errors(maze: Path, tmp_path: Path) -> None:
    few = explored(maze, changed(maze, "gain"), 1)
    short = replace(few[0], observations={"state": few[0].observations["state"][:61]}, actions=few[0].actions[:60])
    assert "record more" in learn(maze, [short]).why
    with pytest.raises(DataError, match="expected 'state' of shape"):
        learn(maze, [replace(few[0], observations={"other": few[0].observations["state"]})])
    with pytest.raises(RunError, match="no run here"):
        learn(tmp_path, few)
    run = RunFolder(maze)
    history = run.versions / "history.jsonl"
    kept = history.read_text()
    history.write_text(kept + '{"what": "learned", "ver')
    with pytest.raises(RunError, match="not a history of versions"):
        load_agent(maze)
    history.write_text(kept)
    (maze / "replay.safetensors").rename(tmp_path / "replay")
    with pytest.raises(RunError, match="resume the training"):
        learn(maze, few)
    (tmp_path / "replay").rename(maze / "replay.safetensors")
