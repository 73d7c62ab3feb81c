"""The whole story in a picture: habit, surprise, stop, learning, habit again; then the old world is back.

    python examples/surprise.py [--work runs/story]

An agent learns a point maze from a log (the first time: about a minute more, then it is kept), and walks it by habit. Then its
last actuator's wires are exchanged. It notices, searches, and stops; explores a little; learns; and goes on by habit. When the
wires are put back, nothing has been forgotten. Needs OGBench: pip install 'forethought[ogbench]'. Writes story.svg.
"""

from __future__ import annotations

import argparse
import shutil
import time
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import torch

from forethought.agent.agent import AgentConfig
from forethought.agent.protocol import Agent
from forethought.arena.changed import ChangedTask, explore
from forethought.arena.task import Task, unsolved_pairs
from forethought.arena.tasks import make_task
from forethought.arena.trust import fit_trust
from forethought.data import open_writer
from forethought.envs.scripted import script
from forethought.training.adapt.learn import learn
from forethought.training.adapt.minds import load_agent
from forethought.training.bundle import load_parts
from forethought.training.recipes import pointmaze
from forethought.training.run import RunFolder
from forethought.training.train import train
from forethought.types import Mode

TASK = "ogbench-pointmaze-medium-v1"
COLOURS = {Mode.HABIT: "#2a9d5c", Mode.CONTINUE: "#9bd3b1", Mode.PLAN: "#e0912f", Mode.STOP: "#c93a3a"}


@dataclass(frozen=True)
class Dot:
    """One decision of the story."""

    mode: Mode
    height: float
    reason: str


@dataclass(frozen=True)
class Act:
    """Some tasks in one world: what it is called, its decisions by task, and which tasks were solved."""

    title: str
    tasks: tuple[tuple[Dot, ...], ...]
    solved: tuple[bool, ...]


def trained(work: Path) -> Path:
    """A run of a hundred short episodes, with its habit's trust measured; made once."""
    run = work / "trained"
    if RunFolder(run).trust.is_file():
        return run
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    recorder = script("ogbench/pointmaze-medium", "navigate")
    writer = open_writer(work / "log.h5", recorder.spec())
    for episode in recorder.record(0, 100, 500, 0):
        writer.append(episode)
    writer.close()
    base = pointmaze(0)
    short = replace(
        base,
        predict=replace(base.predict, schedule=replace(base.predict.schedule, updates=400)),
        dynamics=replace(base.dynamics, schedule=replace(base.dynamics.schedule, updates=1200)),
        heads=replace(base.heads, landmarks=400, schedule=replace(base.heads.schedule, updates=200)),
    )
    train(work / "log.h5", run, short)
    fit_trust(run, TASK, count=40, patrols=100)
    return run


def walk(agent: Agent, task: Task, count: int, seed: int, title: str) -> Act:
    """Tasks one after another; an agent that stopped has given its task up."""
    tasks, solved = [], []
    for pair in unsolved_pairs(task, count, seed):
        episode, dots = task.begin(pair), []
        moment, state = episode.start, agent.init(episode.goal, pair.key)
        for _ in range(task.budget):
            fresh = not state.pending
            decision, state = agent.act(moment.observation, state)
            if fresh:
                height = 0.0 if decision.surprise is None else decision.surprise.height
                dots.append(Dot(decision.mode, height, decision.reason))
            moment = episode.step(decision.action)
            if moment.reached or decision.mode is Mode.STOP:
                break
        tasks.append(tuple(dots))
        solved.append(moment.reached)
    modes = [dot.mode for dots in tasks for dot in dots]
    shares = ", ".join(f"{mode.value} {modes.count(mode) / len(modes):.0%}" for mode in COLOURS)
    print(f"{title}: {sum(solved)} of {count} solved; {shares}")
    return Act(title, tuple(tasks), tuple(solved))


def story(trained_run: Path, work: Path) -> list[Act]:
    """Four acts."""
    run = work / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(trained_run, run, ignore=shutil.ignore_patterns("work"))
    spec, _, parts = load_parts(run)
    settings = replace(pointmaze(0).agent, mode="ladder")
    assert isinstance(settings, AgentConfig) and parts.monitor is not None
    home = make_task(TASK)
    units = {s.sensor.name: s.scale_F for s in parts.monitor.signals.senses}
    broken = ChangedTask(home, "reversed", spec, units)
    acts = [walk(load_agent(run, settings), home, 5, 1, "as learned")]
    acts.append(walk(load_agent(run, settings), broken, 2, 2, "wires exchanged"))
    why = next((d.reason for dots in acts[-1].tasks for d in reversed(dots) if d.mode is Mode.STOP), "")
    print("  it says:", why)
    began = time.perf_counter()
    lesson = learn(run, list(explore(broken, home.pairs(12, 3), spec, 150)), why=why or "wires exchanged")
    print(f"  explored 1,800 steps and learned in {time.perf_counter() - began:.0f} s: {lesson.change or lesson.why}")
    acts.append(walk(load_agent(run, settings), broken, 5, 4, "after learning"))
    acts.append(walk(load_agent(run, settings), home, 5, 5, "wires put back"))
    return acts


def picture(acts: list[Act]) -> str:
    """An SVG: a dot a decision, coloured by its mode; the evidence of surprise under it; what was said where it stopped."""
    total = sum(len(dots) for act in acts for dots in act.tasks)
    wide, left, high = 1080, 60, 300
    step = (wide - left - 20) / max(total, 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="13">',
        f'<rect width="{wide}" height="{high}" fill="#fff"/>',
    ]
    x = float(left)
    for number, act in enumerate(acts):
        width = step * sum(len(dots) for dots in act.tasks)
        fill = "#f4f1ea" if number % 2 else "#eaf1f4"
        parts.append(f'<rect x="{x:.1f}" y="34" width="{width:.1f}" height="210" fill="{fill}"/>')
        parts.append(f'<text x="{x + 4:.1f}" y="{13 + 15 * (number % 2)}" font-weight="bold">{escape(act.title)}</text>')
        x = _decisions(act, x, step, parts)
    parts.append(
        f'<line x1="{left}" x2="{wide - 20}" y1="{_y(1.0):.1f}" y2="{_y(1.0):.1f}" stroke="#888" stroke-dasharray="4 3"/>'
    )
    parts.append(f'<text x="4" y="{_y(1.0) + 4:.1f}" fill="#555">alarm</text><text x="4" y="66" fill="#555">mode</text>')
    for number, (mode, colour) in enumerate(COLOURS.items()):
        at = left + 130 * number
        parts.append(
            f'<rect x="{at}" y="272" width="12" height="12" fill="{colour}"/><text x="{at + 18}" y="283">{mode.value}</text>'
        )
    parts.append(
        f'<text x="{left + 540}" y="283" fill="#555">✓ solved  ✗ not; a column is a decision, its height the surprise</text>'
    )
    return "".join([*parts, "</svg>"])


def _decisions(act: Act, x: float, step: float, parts: list[str]) -> float:
    for dots, solved in zip(act.tasks, act.solved, strict=True):
        for dot in dots:
            told = f"<title>{escape(dot.reason)}</title>"
            parts.append(
                f'<rect x="{x:.1f}" y="50" width="{step + 0.3:.2f}" height="26" fill="{COLOURS[dot.mode]}">{told}</rect>'
            )
            top = _y(dot.height)
            parts.append(
                f'<rect x="{x:.1f}" y="{top:.1f}" width="{step + 0.3:.2f}" height="{236 - top:.1f}" fill="#556">{told}</rect>'
            )
            x += step
        mark, colour = ("✓", "#2a9d5c") if solved else ("✗", "#c93a3a")
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="44" y2="244" stroke="#bbb"/>')
        parts.append(f'<text x="{x - 11:.1f}" y="258" fill="{colour}">{mark}</text>')
    return x


def _y(height: float) -> float:
    return 236 - min(height, 3.0) * 46


def main() -> None:
    """Train once, tell the story, draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/story"))
    work = parser.parse_args().work
    torch.set_num_threads(1)
    run = trained(work)
    began = time.perf_counter()
    acts = story(run, work)
    (work / "story.svg").write_text(picture(acts), encoding="utf-8")
    print(f"the story took {time.perf_counter() - began:.0f} s; its picture: {work / 'story.svg'}")


if __name__ == "__main__":
    main()
