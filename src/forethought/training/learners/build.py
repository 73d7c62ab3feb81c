"""From a configuration to the learners of its critic and its habit. A new way of learning is one new file and one line here."""

from __future__ import annotations

from forethought.costs.build import CriticKind
from forethought.costs.landmarks import LandmarkDistance
from forethought.costs.quasimetric import Quasimetric
from forethought.costs.temporal import Critic
from forethought.dynamics.base import Dynamics
from forethought.errors import ContractError
from forethought.habits.policy import Habit
from forethought.training.config import HabitKind, HeadsConfig, TrainConfig
from forethought.training.graphs import Graph
from forethought.training.heads import HeadsStage, candidate_actions, imagine_graphs
from forethought.training.landmarks import graph_of_log
from forethought.training.latents import Latents
from forethought.training.learners.base import CriticLearner, HabitLearner, Material
from forethought.training.learners.contrastive import ContrastiveCritic
from forethought.training.learners.expectile import ExpectileCritic
from forethought.training.learners.graph import GraphCritic
from forethought.training.learners.habits import ImaginedHabit, LoggedHabit
from forethought.training.learners.map import MapCritic, MapHabit
from forethought.training.learners.places import imagine_places, places_of
from forethought.training.learners.quasimetric import QuasimetricCritic
from forethought.training.learners.stage import LearnedHeads
from forethought.training.learners.value_iteration import ImaginedCritic
from forethought.training.progress import Watcher
from forethought.training.seeds import generator_for
from forethought.training.trainer import Stage
from forethought.types import Space


def graph_for(latents: Latents, dynamics: Dynamics, space: Space, config: TrainConfig, watcher: Watcher) -> Graph | None:
    """The imagined graph that the configured critic starts from; None if it needs none."""
    if config.heads.critic is CriticKind.MAP:
        return graph_of_log(latents, dynamics, space, config)
    if config.heads.critic is CriticKind.GRAPH:
        return imagine_graphs(latents, dynamics, space, config, watcher)
    return None


def heads_stage(
    latents: Latents, graph: Graph | None, dynamics: Dynamics, critic: Critic, habit: Habit, config: TrainConfig
) -> Stage:
    """Stage `heads` for the critic and habit of the configuration; the default pair has a stage of its own."""
    if graph is not None and config.heads.critic is CriticKind.GRAPH and config.heads.habit is HabitKind.IMAGINED:
        return HeadsStage(latents, graph, dynamics, critic, habit, config)
    return learned_heads(latents, graph, dynamics, critic, habit, config)


def learned_heads(
    latents: Latents, graph: Graph | None, dynamics: Dynamics, critic: Critic, habit: Habit, config: TrainConfig
) -> LearnedHeads:
    """The stage of any pair. Whatever is imagined to begin with follows from the seed."""
    settings, frozen = config.heads, dynamics.requires_grad_(False)
    generator, device = generator_for(config.seed, "candidates"), next(habit.parameters()).device
    actions = candidate_actions(habit.space, latents.frameskip, settings.candidates, generator).to(device)
    if graph is not None:
        places = places_of(graph.scene_GC, graph.state_GNE)
    else:
        places = imagine_places(latents, frozen, habit.space, settings, generator_for(config.seed, "places"))
    material = Material(latents, frozen, actions, places)
    critics = critic_learner(critic, habit, material, graph, settings)
    habits = habit_learner(critic, habit, material, settings)
    return LearnedHeads(critics, habits, habit, config.seed, settings.batch_size)


def critic_learner(critic: Critic, habit: Habit, material: Material, graph: Graph | None, config: HeadsConfig) -> CriticLearner:
    """The learner that `config.critic` names; GRAPH and MAP need the graph. Raises ContractError if they do not fit."""
    if config.critic is CriticKind.MAP and graph is not None and isinstance(critic, LandmarkDistance):
        return MapCritic(critic, graph, material)
    if config.critic is CriticKind.GRAPH and graph is not None:
        return GraphCritic(critic, graph, config)
    if config.critic is CriticKind.IMAGINED:
        return ImaginedCritic(critic, habit, material, config)
    if config.critic is CriticKind.EXPECTILE:
        return ExpectileCritic(critic, material, config)
    if config.critic is CriticKind.QUASIMETRIC:
        return QuasimetricCritic(critic, material, config)
    if config.critic is CriticKind.CONTRASTIVE and isinstance(critic, Quasimetric):
        return ContrastiveCritic(critic, material, config)
    raise ContractError(
        f"got a {type(critic).__name__}{'' if graph else ' and no graph'} for critic '{config.critic.value}'; "
        "make it with `build_critic` of the same kind, and give a graph for 'graph'"
    )


def habit_learner(critic: Critic, habit: Habit, material: Material, config: HeadsConfig) -> HabitLearner:
    """The source of examples that `config.habit` names."""
    if config.habit is HabitKind.LOGGED:
        return LoggedHabit(critic, material, config)
    if isinstance(critic, LandmarkDistance):
        return MapHabit(critic, habit.space, material, config)
    return ImaginedHabit(critic, habit.space, material, config)
