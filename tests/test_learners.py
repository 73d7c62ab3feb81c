"""Critics and habits that are not learned from graphs: against a world of known distances, and naive references."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_config
from small_world import BOX, COMPASS_SPACE, KINDS, LATENT, TrueDynamics, heads_config, known_pairs, wandering

from forethought.costs.build import CriticKind, build_critic
from forethought.costs.quasimetric import Quasimetric
from forethought.costs.temporal import TemporalDistance
from forethought.dynamics.residual_mlp import ResidualMLP
from forethought.errors import ContractError
from forethought.habits.policy import Habit
from forethought.training.bundle import load_parts
from forethought.training.config import HabitKind, LearnerConfig, TrainConfig
from forethought.training.heads import HeadsStage, imagine_graphs
from forethought.training.latents import Latents
from forethought.training.learners.base import Lesson, Material, discounted
from forethought.training.learners.build import critic_learner, heads_stage
from forethought.training.learners.contrastive import ContrastiveCritic
from forethought.training.learners.expectile import ExpectileCritic
from forethought.training.learners.habits import ImaginedHabit, LoggedHabit
from forethought.training.learners.log import LogSampler
from forethought.training.learners.places import places_of
from forethought.training.learners.quasimetric import QuasimetricCritic
from forethought.training.learners.value_iteration import ImaginedCritic
from forethought.training.progress import Silent
from forethought.training.run import RunFolder
from forethought.training.schedule import Schedule
from forethought.training.seeds import generator_for
from forethought.training.train import train
from forethought.training.trainer import Stage, run_stage
from forethought.types import BoxSpace, DiscreteSpace, Space

LEARNED = [kind for kind in CriticKind if kind not in (CriticKind.GRAPH, CriticKind.MAP)]
SPACES = [BoxSpace((-1.0,) * 3, (1.0,) * 3), DiscreteSpace(3)]


def small_stage(kind: CriticKind, habit: HabitKind, space: Space, scene: int = 3, seed: int = 0) -> Stage:
    """Any critic and habit on a made-up log of 6 episodes of 9 steps, two steps a block."""
    torch.manual_seed(seed)
    config = TrainConfig(seed=seed, frameskip=2, threads=1)
    learner = LearnerConfig(batch_size=64, steps=3, first_actions=4, negatives=5)
    heads = replace(config.heads, batch_size=64, scenes=3, nodes=12, width=16, depth=2)
    config = replace(config, heads=replace(heads, critic=kind, habit=habit, learner=learner))
    latents, dynamics = made_up(space, scene), ResidualMLP(8, scene, 2 * space.size, 16, 2)
    critic, own = build_critic(kind, 8, scene, 16, 2, 60.0), Habit(8, scene, space, 2, 16, 2)
    graph = imagine_graphs(latents, dynamics, space, config, Silent()) if kind is CriticKind.GRAPH else None
    return heads_stage(latents, graph, dynamics, critic, own, config)


def made_up(space: Space, scene: int) -> Latents:
    generator = torch.Generator().manual_seed(1)
    action = torch.randn(60, 2 * space.size, generator=generator).clamp(-1, 1)
    if isinstance(space, DiscreteSpace):
        action = torch.eye(space.count)[torch.randint(space.count, (60, 2), generator=generator)].flatten(1)
    return Latents(torch.randn(60, 8, generator=generator), action, np.arange(6) * 10, np.full(6, 9), 2, scene)


@pytest.mark.parametrize("scene", [0, 3])
@pytest.mark.parametrize("space", SPACES, ids=["box", "discrete"])
@pytest.mark.parametrize("habit", HabitKind)
@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_of_critic_and_habit_has_finite_losses_and_gradients(
    kind: CriticKind, habit: HabitKind, space: Space, scene: int
) -> None:
    stage = small_stage(kind, habit, space, scene)
    for update in range(3):
        loss, figures = stage.loss(update)
        loss.backward()
        assert math.isfinite(loss.item()) and all(math.isfinite(value.item()) for value in figures.values())
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in stage.trained())
        stage.after_update(update)
        assert stage.loss(update + 1)[0].item() == stage.loss(update + 1)[0].item()  # of the update alone


@pytest.mark.parametrize("kind", KINDS)
def test_learning_resumes_to_the_bit(kind: CriticKind, tmp_path: Path) -> None:
    schedule = Schedule(updates=8, learning_rate=1e-2, warmup=1, log_every=1, checkpoint_seconds=0.0)
    folders = [RunFolder(tmp_path / name) for name in ("straight", "stopped")]
    for folder in folders:
        folder.path.mkdir()
    run_stage(small_stage(kind, HabitKind.LOGGED, SPACES[0]), schedule, folders[0])
    with pytest.raises(InterruptedError):
        run_stage(small_stage(kind, HabitKind.LOGGED, SPACES[0]), schedule, folders[1], watcher=StopAt(5))
    run_stage(small_stage(kind, HabitKind.LOGGED, SPACES[0], seed=0), schedule, folders[1])
    straight, stopped = (folder.stage_file("heads").read_bytes() for folder in folders)
    assert straight == stopped


class StopAt:
    def __init__(self, updates: int) -> None:
        self.updates = updates

    def note(self, text: str) -> None:
        assert "going on" in text

    def progress(self, progress) -> None:
        if progress.done >= self.updates:
            raise InterruptedError


def test_a_run_with_another_critic_and_habit_holds_an_agent(log: Path, tmp_path: Path) -> None:
    config = small_config()
    few = replace(config.predict.schedule, updates=4)
    learner, dynamics = LearnerConfig(batch_size=32), replace(config.dynamics, schedule=few)
    heads = replace(config.heads, critic=CriticKind.QUASIMETRIC, habit=HabitKind.LOGGED, learner=learner, schedule=few)
    small = replace(config, heads=heads, predict=replace(config.predict, schedule=few), dynamics=dynamics)
    run = train(log, tmp_path / "run", small)
    _, loaded, parts = load_parts(run.path)
    assert loaded.heads.critic is CriticKind.QUASIMETRIC and isinstance(parts.critic, Quasimetric)
    z = torch.randn(5, parts.encoder.latent_size)
    assert torch.equal(parts.critic(z, z), torch.zeros(5))


def test_the_default_pair_keeps_its_own_stage() -> None:
    assert isinstance(small_stage(CriticKind.GRAPH, HabitKind.IMAGINED, BOX), HeadsStage)


def test_a_critic_of_another_kind_is_refused() -> None:
    stage = small_stage(CriticKind.CONTRASTIVE, HabitKind.LOGGED, BOX)
    material, config = _material(BOX, TrainConfig()), heads_config(critic=CriticKind.CONTRASTIVE).heads
    habit = Habit(LATENT, 0, BOX, 1, 8, 2)
    with pytest.raises(ContractError, match="make it with `build_critic`"):
        critic_learner(TemporalDistance(LATENT, 0, 8, 2, 60.0), habit, material, None, config)
    with pytest.raises(ContractError, match="no graph"):
        critic_learner(stage.modules()["critic"], habit, material, None, replace(config, critic=CriticKind.GRAPH))


def _material(space: Space, config: TrainConfig) -> Material:
    latents, dynamics = wandering(space, 20, 1), TrueDynamics(space, 1)
    actions = torch.eye(4) if isinstance(space, DiscreteSpace) else torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    states = latents.z_ND[torch.randint(len(latents.z_ND), (3, 40), generator=generator_for(0, "states"))]
    return Material(latents, dynamics, actions, places_of(torch.zeros(3, 0), states))


# What is learned, against distances that are known

ENOUGH: dict[CriticKind, tuple[int, float, dict[str, object]]] = {
    CriticKind.GRAPH: (600, 0.9, {"nodes": 224}),
    CriticKind.IMAGINED: (800, 0.4, {}),
    CriticKind.EXPECTILE: (1000, 0.7, {"learner": LearnerConfig(batch_size=256, target_rate=0.2)}),
    CriticKind.QUASIMETRIC: (600, 0.85, {}),
    CriticKind.CONTRASTIVE: (250, 0.9, {}),
}
"""Updates, the correlation that they give at least, settings: those that learn from their own guesses are slower."""


@pytest.mark.lane
@pytest.mark.parametrize("space", [BOX, COMPASS_SPACE], ids=["box", "discrete"])
@pytest.mark.parametrize("kind", KINDS)
def test_learned_distances_follow_the_known_ones(kind: CriticKind, space: Space) -> None:
    torch.manual_seed(0)
    updates, least, changes = ENOUGH[kind]
    config, latents, dynamics = heads_config(critic=kind, **changes), wandering(space, 200, 1), TrueDynamics(space, 1)
    heads = config.heads
    critic, habit = build_critic(kind, LATENT, 0, heads.width, heads.depth, heads.limit), Habit(LATENT, 0, space, 1, 64, 2)
    graph = imagine_graphs(latents, dynamics, space, config, Silent()) if kind is CriticKind.GRAPH else None
    descend(heads_stage(latents, graph, dynamics, critic, habit, config), updates)
    start, goal, steps = known_pairs(400)
    with torch.no_grad():
        untrained = build_critic(kind, LATENT, 0, heads.width, heads.depth, heads.limit)(start, goal)
        learned = critic(start, goal)
    assert correlation(learned, steps) > max(least, correlation(untrained, steps) + 0.1)


def descend(stage: Stage, updates: int) -> None:
    optimizer = torch.optim.AdamW(stage.trained(), lr=2e-3, weight_decay=1e-4)
    for update in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, 2.02 - 2 * update / updates)
        optimizer.zero_grad()
        stage.loss(update)[0].backward()
        torch.nn.utils.clip_grad_norm_(stage.trained(), 1.0)
        optimizer.step()
        stage.after_update(update)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


# Parts, against naive references


def test_a_quasimetric_obeys_its_axioms_whatever_its_weights() -> None:
    torch.manual_seed(0)
    critic = Quasimetric(8, 3, 16, 2)
    x, y, w = torch.randn(3, 200, 8) * 3
    y[:, :3] = w[:, :3] = x[:, :3]  # within a scene
    d = critic
    assert bool((d(x, y) <= d(x, w) + d(w, y) + 1e-5).all()) and bool((d(x, y) >= 0).all())
    assert torch.equal(d(x, x), torch.zeros(200)) and not torch.allclose(d(x, y), d(y, x))
    same = x.clone().requires_grad_()
    d(same, same.detach()).sum().backward()
    assert bool(same.grad.isfinite().all())  # the norm's slope at zero
    other = y.clone()
    other[:, :3] = 9.0
    assert torch.equal(d(x, y), d(x, other))  # a goal's scene is not read


def test_logged_goals_lie_where_they_say() -> None:
    latents = made_up(BOX, 3)
    steps = LogSampler(latents, torch.device("cpu")).draw(500, torch.Generator().manual_seed(0))
    rows = {tuple(z.tolist()): row for row, z in enumerate(latents.z_ND)}
    state_rows = {tuple(z[3:].tolist()): row for row, z in enumerate(latents.z_ND)}
    for z, action, after, goal, blocks in zip(*(part for part in vars(steps).values()), strict=True):
        row = rows[tuple(z.tolist())]
        assert rows[tuple(after.tolist())] == row + 2 and torch.equal(action, latents.action_NA[row])
        assert torch.equal(goal[:3], z[:3])
        if math.isfinite(blocks):
            assert state_rows[tuple(goal[3:].tolist())] == row + 2 * int(blocks) and row // 10 == (row + 2 * int(blocks)) // 10
    assert 150 < int(steps.blocks_B.isfinite().sum()) < 350 and bool((steps.blocks_B == 0).any())


def test_futures_fall_off_as_they_should() -> None:
    latents = made_up(BOX, 3)
    sampler, near = LogSampler(latents, torch.device("cpu")), 0.7
    z, future = sampler.futures(64, 400, near, torch.Generator().manual_seed(0))
    rows = {tuple(z.tolist()): row for row, z in enumerate(latents.z_ND)}
    state_rows = {tuple(z[3:].tolist()): row for row, z in enumerate(latents.z_ND)}
    start = torch.tensor([rows[tuple(v)] for v in z.flatten(0, 1).tolist()])
    k = (torch.tensor([state_rows[tuple(v)] for v in future.flatten(0, 1)[:, 3:].tolist()]) - start) // 2
    assert bool((start.view(64, 400) // 10 == start.view(64, 400)[:, :1] // 10).all())  # one episode a group
    for left in (1, 3, 4):
        drawn = k[(start % 10 + 2 * left <= 9) & (start % 10 + 2 * left + 2 > 9)]
        wanted = torch.tensor([near**j for j in range(1, left + 1)])
        seen = torch.tensor([(drawn == j).float().mean() for j in range(1, left + 1)])
        assert torch.allclose(seen, wanted / wanted.sum(), atol=0.04) and float(seen.sum()) == pytest.approx(1)


def test_the_expectile_against_a_loop() -> None:
    torch.manual_seed(0)
    material, config = _material(BOX, TrainConfig()), heads_config().heads
    learner = ExpectileCritic(TemporalDistance(LATENT, 0, 16, 2, 60.0), material, config)
    with torch.no_grad():
        next(learner.target.parameters()).mul_(1.5)  # or the target would not matter
    steps = learner.log.draw(config.learner.batch_size, torch.Generator().manual_seed(3))
    total = 0.0
    for i in range(config.learner.batch_size):
        z, after, goal = steps.z_BD[i : i + 1], steps.next_z_BD[i : i + 1], steps.goal_BD[i : i + 1]
        wanted = 0.0 if steps.blocks_B[i] == 0 else min(1 + learner.target(after, goal).item(), 60.0)
        off = (1 - 0.98 ** learner.critic(z, goal).item()) / 0.02 - (1 - 0.98**wanted) / 0.02
        total += (0.9 if off > 0 else 0.1) * off * off / 10
    assert learner.lesson(torch.Generator().manual_seed(3)).loss.item() == pytest.approx(total / 256, rel=1e-4)


def test_targets_follow_and_multipliers_answer() -> None:
    material, config = _material(BOX, TrainConfig()), heads_config().heads
    learner = ExpectileCritic(TemporalDistance(LATENT, 0, 16, 2, 60.0), material, config)
    before = learner.target.net[0].weight.clone()
    with torch.no_grad():
        learner.critic.net[0].weight.add_(1.0)
    learner.after_update()
    assert torch.allclose(learner.target.net[0].weight, before + config.learner.target_rate, atol=1e-6)
    quasi = QuasimetricCritic(Quasimetric(LATENT, 0, 16, 2), material, config)
    quasi.excess = torch.tensor(1.0)
    quasi.after_update()
    raised = quasi.multiplier.log_price.item()
    quasi.excess = torch.tensor(0.0)
    quasi.after_update()
    assert raised > 0 and quasi.multiplier.log_price.item() < raised


@pytest.mark.parametrize("space", [BOX, COMPASS_SPACE], ids=["box", "discrete"])
def test_the_best_way_against_a_loop(space: Space) -> None:
    torch.manual_seed(0)
    material, settings = _material(space, TrainConfig()), heads_config().heads
    config = replace(settings, learner=replace(settings.learner, steps=4, first_actions=3))
    habit, critic = Habit(LATENT, 0, space, 1, 16, 2), TemporalDistance(LATENT, 0, 16, 2, 60.0)
    learner = ImaginedCritic(critic, habit, material, config)
    z, goal = material.places.pairs(20, torch.Generator().manual_seed(0))
    with torch.no_grad():
        goal[0], goal[1] = z[0], material.dynamics.step(z[1:2], z[1:2, :0], habit(z[1:2], goal[1:2]))[0][0]
    most = torch.full((20,), math.inf)
    way, blocks, first = learner._best_way(z, goal, most, torch.Generator().manual_seed(5))
    picked = torch.randint(4, (60,), generator=torch.Generator().manual_seed(5)).view(20, 3)
    for i in range(20):
        options = [habit(z[i : i + 1], goal[i : i + 1]), *(material.actions_KA[picked[i, s]][None] for s in (1, 2))]
        totals = [_walk(learner, material, z[i : i + 1], goal[i : i + 1], action, 4)[0] for action in options]
        choice = int(np.argmin(totals))
        assert blocks[i, 0].item() == pytest.approx(totals[choice], rel=1e-5)
        assert torch.allclose(first[i], options[choice][0], atol=1e-6)
        assert torch.allclose(way[i], _walk(learner, material, z[i : i + 1], goal[i : i + 1], options[choice], 4)[1], atol=1e-4)
    assert blocks[0].tolist() == [0, -1, -2, -3, -4] and blocks[1, 0] <= 1


def _walk(
    learner: ImaginedCritic, material: Material, z: torch.Tensor, goal: torch.Tensor, action: torch.Tensor, steps: int
) -> tuple[float, torch.Tensor]:
    way = [z]
    with torch.no_grad():
        for step in range(steps):
            action = action if step == 0 else learner.habit(way[-1], goal)
            way.append(material.dynamics.step(way[-1], z[:, :0], action)[0])
        arrivals = [float(h) for h, there in enumerate(way) if (there - goal).norm() < material.places.gap]
        return min([steps + learner.target(way[-1], goal).item(), *arrivals[:1]]), torch.cat(way)


def test_an_imagined_lesson_shows_the_habit_what_it_found() -> None:
    material, config = _material(BOX, TrainConfig()), heads_config().heads
    habit, critic = Habit(LATENT, 0, BOX, 1, 16, 2), TemporalDistance(LATENT, 0, 16, 2, 60.0)
    generator = torch.Generator().manual_seed(0)
    lesson = ImaginedCritic(critic, habit, material, config).lesson(generator)
    example = ImaginedHabit(critic, BOX, material, config).example(lesson, generator)
    assert example is lesson.example and example.action_BA.shape == (32, 2)
    assert float(example.weight_B.min()) in (0.0, 1.0)


@pytest.mark.parametrize("space", [BOX, COMPASS_SPACE], ids=["box", "discrete"])
def test_a_look_ahead_takes_the_better_action(space: Space) -> None:
    """With the distance along x alone as the critic, the example leads along x."""
    material, config = _material(space, TrainConfig()), heads_config().heads

    class Along(TemporalDistance.__base__):
        def forward(self, z: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
            return (z[:, 0] - goal[:, 0]).abs() * 25 / 4

    nothing, generator = Lesson(torch.zeros(()), {}), torch.Generator().manual_seed(0)
    example = ImaginedHabit(Along(), space, material, config).example(nothing, generator)
    to_right, far = example.goal_BD[:, 0] > example.z_BD[:, 0], (example.goal_BD[:, 0] - example.z_BD[:, 0]).abs() > 0.5
    same_room = (example.goal_BD[:, 0] > 0) == (example.z_BD[:, 0] > 0)
    east = example.action_BA[:, 0] - (example.action_BA[:, 2] if isinstance(space, DiscreteSpace) else 0)
    agrees = (east > 0) == to_right
    assert float(agrees[far & same_room].float().mean()) > 0.95
    if isinstance(space, DiscreteSpace):
        assert set(example.action_BA.flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("space", [BOX, COMPASS_SPACE], ids=["box", "discrete"])
def test_advantage_weights_against_the_formula(space: Space) -> None:
    torch.manual_seed(0)
    material, config = _material(space, TrainConfig()), heads_config().heads
    critic = TemporalDistance(LATENT, 0, 16, 2, 60.0)
    with torch.no_grad():
        critic.net[-1].weight.mul_(20)  # or all weights would be alike
    learner, nothing = LoggedHabit(critic, material, config), Lesson(torch.zeros(()), {})
    example = learner.example(nothing, torch.Generator().manual_seed(0))
    steps = learner.log.draw(256, torch.Generator().manual_seed(0))
    for i in range(0, 256, 16):
        gained = (critic(steps.z_BD[[i]], steps.goal_BD[[i]]) - critic(steps.next_z_BD[[i]], steps.goal_BD[[i]])).item()
        assert example.weight_B[i].item() == pytest.approx(min(math.exp(3.0 * (gained - 1)), 10.0), rel=1e-3)
        assert torch.equal(example.action_BA[i], steps.action_BA[i])
    assert float(example.weight_B.max()) <= 10.0 and float(example.weight_B.std()) > 0.01


def test_contrast_against_a_loop() -> None:
    torch.manual_seed(0)
    material, config = _material(BOX, TrainConfig()), heads_config().heads
    learner = ContrastiveCritic(Quasimetric(LATENT, 0, 16, 2), material, replace(config, width=16))
    z, future = learner.log.futures(4, 32, 0.9, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    learner.log.futures(4, 32, 0.9, generator)
    rows = torch.randint(len(material.latents.z_ND), (4, 64), generator=generator)
    total = 0.0
    for g in range(4):
        for m in range(0, 32):
            goals = torch.cat([future[g, m][None], material.latents.z_ND[rows[g]]])
            logit = learner.potential(goals).squeeze(-1) - math.log(1 / 0.9) * learner.critic(z[g, m].expand(65, -1), goals)
            total -= logit.log_softmax(0)[0].item()
    assert learner.lesson(torch.Generator().manual_seed(0)).loss.item() == pytest.approx(total / 128, rel=1e-4)


def test_discounting() -> None:
    assert torch.allclose(discounted(torch.tensor([0.0, 1.0, 2.0]), 0.5), torch.tensor([0.0, 1.0, 1.5]))
