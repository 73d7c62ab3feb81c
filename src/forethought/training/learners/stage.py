"""Stage `heads` with any critic and any habit: one update teaches both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from forethought.agent import meter
from forethought.habits.policy import Habit
from forethought.training.learners.base import CriticLearner, HabitLearner
from forethought.training.seeds import generator_for
from forethought.training.trainer import Stage


@final
class LearnedHeads(Stage):
    """The critic's lesson, then the habit's examples. Their losses add, and share no parameter."""

    name = "heads"

    def __init__(self, critics: CriticLearner, habits: HabitLearner, habit: Habit, seed: int, batch_size: int) -> None:
        self.critics, self.habits, self.habit, self.seed = critics, habits, habit, seed
        self.frames_per_update = batch_size

    def modules(self) -> Mapping[str, nn.Module]:
        return {**self.critics.modules(), "habit": self.habit}

    def trained(self) -> list[nn.Parameter]:
        return [*self.critics.trained(), *self.habit.parameters()]

    def loss(self, update: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        generator = generator_for(self.seed, self.name, update)
        lesson = self.critics.lesson(generator)
        shown = self.habits.example(lesson, generator)
        habit_loss = self.habit.loss(shown.z_BD, shown.goal_BD, shown.action_BA, shown.weight_B)
        figures = {"critic": lesson.loss.detach(), "habit": habit_loss.detach(), **lesson.metrics}
        return lesson.loss + habit_loss, figures

    def flops(self) -> int:
        """FLOPs of one update."""
        made, rows = self.habits.flops(self.critics.shown())
        return self.critics.flops() + made + meter.work(self.habit).learned(rows)

    def after_update(self, update: int) -> None:
        self.critics.after_update()
