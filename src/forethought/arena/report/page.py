"""The whole page: every section stands on figures in the run folder, or on episodes played again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forethought.agent.agent import ForethoughtAgent
from forethought.arena import pointmaze, two_room
from forethought.arena.evaluate import Evaluation
from forethought.arena.report.films import chosen_good, chosen_worst, episodes, failures, lens_for, shoot_all
from forethought.arena.report.futures import futures, surprises
from forethought.arena.report.learned import critic, held_out, training
from forethought.arena.report.success import cost, head, success
from forethought.arena.task import Pair, Task
from forethought.arena.tasks import make_task
from forethought.config import read_json
from forethought.data.durable import atomic_write_bytes
from forethought.page.html import Section, figure, grid, picture, whole_page
from forethought.page.svg import heat
from forethought.training.bundle import assemble, load_parts
from forethought.training.calibrate import Calibration
from forethought.training.decoder import load_decoder
from forethought.training.examples import load_examples
from forethought.training.run import RunFolder

MAPS: dict[str, Callable[[ForethoughtAgent, Pair], tuple[NDArray[np.float64], NDArray[np.uint8]]]] = {
    "two-room": two_room.distance_map,
    "ogbench-pointmaze": pointmaze.distance_map,
}
"""Families of tasks that can be drawn from everywhere."""

WORDS = {
    "block": "the actions between two moments that the model sees; with frameskip 1, one action",
    "state error": "mean squared difference of the latent's state half, whose numbers have about unit spread",
    "nothing changes": "the guess that the next latent is the last one: the floor of every prediction",
    "floor": "a rule that learns nothing, on the same starts and goals",
    "hard, cross": "classes of pairs that the task defines; “hard” ones no simple rule solves",
    "imagined steps": "passes of the dynamics network, the unit of thought; one search makes some hundreds",
    "probe": "a small network that reads named quantities off the frozen latent, to measure and to draw",
}


def write_report(run: str | os.PathLike[str], task: str | Task, found: Evaluation) -> Path:
    """Write `report.html` into the run folder; returns its path. Raises RunError for a damaged run."""
    folder, chosen = RunFolder(Path(run).expanduser()), make_task(task) if isinstance(task, str) else task
    spec, config, parts = load_parts(run)
    agent = assemble(parts, spec, config)
    outcomes = found.agent.outcomes
    drawn = found.pairs or chosen.pairs(len(outcomes) + found.agent.solved_at_start, _seed(found))
    pairs = {pair.id: pair for pair in drawn}
    good, worst = chosen_good(outcomes), chosen_worst(outcomes)
    films = shoot_all(agent, chosen, pairs, [*good, *worst])
    lens = lens_for(load_decoder(folder), parts.probe, list(films.values()))
    figures, examples = read_json(Calibration, folder.calibration), load_examples(folder.examples)
    sections = [success(found), episodes(films, good, lens), _distance(agent, chosen, list(pairs.values()), figures)]
    sections += [] if examples is None else [futures(examples, figures, lens)]
    sections += [held_out(figures), training(folder), cost(folder, found), failures(films, outcomes, worst, lens)]
    sections += [] if examples is None else [surprises(examples, figures, lens)]
    page = whole_page(found.agent.task, head(folder, found), [*sections, _made(folder)])
    atomic_write_bytes(folder.report, page.encode())
    return folder.report


def _seed(found: Evaluation) -> int:
    return int(found.agent.outcomes[0].pair.split("/")[1]) if found.agent.outcomes else 0


def _distance(agent: ForethoughtAgent, task: Task, pairs: Sequence[Pair], figures: Calibration) -> Section:
    """The critic: a map where the task can be drawn from everywhere, and its calibration."""
    maps = []
    drawn = next((draw for family, draw in MAPS.items() if task.id.startswith(family)), None)
    if drawn is not None and agent.config.cost == "critic":
        for pair in sorted(pairs, key=lambda p: not {"cross", "hard"} & set(p.classes))[:3]:  # hard ones first
            values, scene = drawn(agent, pair)
            images = picture(heat(values), "temporal distance", 200, "cells") + picture(scene, "the scene", 92)
            near, far = np.nanmin(values), np.nanmax(values)
            note = f"n = {int(np.isfinite(values).sum()):,} places, cost {near:.1f} (blue) to {far:.1f} (yellow); grey is wall. Right: the scene, its goal green."
            maps.append(figure(f'<div style="display:flex;gap:10px;align-items:end">{images}</div>', note))
    lead = "The critic says how many blocks a goal is away, and the search walks downhill on it. A good map goes round by the door, or along the corridors."
    return Section("distance", "How far is it?", lead, grid(maps) + grid([part for part in [critic(figures)] if part], 420))


def _made(folder: RunFolder) -> Section:
    """How to read it, and enough to make it again."""
    words = "".join(f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in WORDS.items())
    evaluation = folder.path / "evaluation.json"
    record: Mapping[str, object] = json.loads(evaluation.read_text()) if evaluation.is_file() else {}
    kept = {key: record[key] for key in ("command", "commit", "versions", "machine", "seeds", "n") if key in record}
    made = f"<details><summary>Command, commit, versions, machine, seeds</summary><pre>{escape(json.dumps(kept, indent=1))}</pre></details>"
    configured = f"<details><summary>The configuration</summary><pre>{escape(folder.config.read_text())}</pre></details>"
    return Section("made", "Words, and how this was made", "", f"<dl>{words}</dl>{made if kept else ''}{configured}")
