"""Episodes as films: a strip of moments, each with the plan that the agent had in mind drawn on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forethought.agent.agent import ForethoughtAgent
from forethought.arena.protocol import Outcome, run_episode
from forethought.arena.report.place import Floats, Place, find_place
from forethought.arena.task import Pair, RunningEpisode, Task
from forethought.page.html import Section, picture, shrink, table
from forethought.perception.decoder import Decoder
from forethought.perception.probe import Probe
from forethought.types import Decision, State

MOMENTS, MOST_STEPS = 48, 1600
"""Pictures kept of one episode; steps played again for the whole report (the rest is listed, not shown)."""


@final
@dataclass(frozen=True)
class Shot:
    """One moment: what a person sees, the latent, and the latents that the plan expects (H, D; None: no plan)."""

    step: int
    picture: NDArray[np.uint8]
    z_D: Tensor
    plan_HD: Tensor | None


@final
@dataclass(frozen=True)
class Film:
    """An episode played again, at most MOMENTS shots."""

    outcome: Outcome
    shots: tuple[Shot, ...]


@final
@dataclass(frozen=True)
class Lens:
    """What a latent is looked at through: the decoder, the probe, and where its position lies in the pictures."""

    decoder: Decoder | None
    probe: Probe | None
    place: Place | None

    def on_picture(self, z_ND: Tensor) -> Floats | None:
        """Picture coordinates (N, 2) of latents; None where no position is known."""
        if self.probe is None or self.place is None:
            return None
        return self.place.locate(read(self.probe, z_ND))


@torch.inference_mode()
def read(probe: Probe, z_ND: Tensor) -> Floats:
    """Named quantities (N, Q) of latents."""
    values: Floats = probe(z_ND.to(probe.mean_Q.device)).double().cpu().numpy()
    return values


def shoot(agent: ForethoughtAgent, task: Task, pair: Pair, outcome: Outcome) -> Film:
    """Play an episode again; it goes as it went."""
    shots: list[Shot] = []
    every, step = max(1, -(-outcome.steps // MOMENTS)), 0

    def watch(episode: RunningEpisode, decision: Decision, state: State) -> None:
        nonlocal step
        if (step % every == 0 or step == outcome.steps - 1) and state.belief is not None:
            plan = decision.plan.predicted_HD if decision.plan is not None else None
            shots.append(Shot(step, episode.picture(), state.belief.z_BD[0], plan))
        step += 1

    run_episode(agent, task, pair, watch)
    return Film(outcome, tuple(shots))


def shoot_all(agent: ForethoughtAgent, task: Task, pairs: Mapping[str, Pair], outcomes: Sequence[Outcome]) -> dict[str, Film]:
    """Films by pair, in that order, until MOST_STEPS are played; at least two."""
    films: dict[str, Film] = {}
    for outcome in outcomes:
        played = sum(film.outcome.steps for film in films.values())
        if outcome.steps and (len(films) < 2 or played + outcome.steps <= MOST_STEPS) and outcome.pair not in films:
            films[outcome.pair] = shoot(agent, task, pairs[outcome.pair], outcome)
    return films


def lens_for(decoder: Decoder | None, probe: Probe | None, films: Sequence[Film]) -> Lens:
    """The lens of a run, its place found in the films themselves."""
    long = [film.shots for film in films if len(film.shots) >= 4]
    if probe is None or not long:
        return Lens(decoder, probe, None)
    known = [read(probe, torch.stack([shot.z_D for shot in shots])) for shots in long]
    return Lens(decoder, probe, find_place(probe.names, [np.stack([s.picture for s in shots]) for shots in long], known))


def chosen_good(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Three successes of the hardest class that has any, of median length: neither the best nor the luckiest."""
    for group in ("hard", "cross", None):
        solved = sorted((o for o in outcomes if o.success and (group is None or group in o.classes)), key=lambda o: o.steps)
        if solved:
            middle = len(solved) // 2
            return solved[max(0, middle - 1) : middle + 2]
    return []


def chosen_worst(outcomes: Sequence[Outcome], most: int = 10) -> list[Outcome]:
    """Failures first, then the longest ways."""
    return sorted(outcomes, key=lambda o: (o.success, -o.steps))[:most]


def episodes(films: Mapping[str, Film], good: Sequence[Outcome], lens: Lens) -> Section:
    """Successful episodes, with what was planned at each moment."""
    how = {
        True: "the line is where the plan in mind at that moment would lead, imagined and read off by the probe; the dot is its end",
        False: "the small picture is where the plan in mind at that moment would end, drawn by the decoder",
    }[lens.place is not None]
    lead = f"Successes of median length in the hardest class that has any (n = {len(good)} episodes). On each frame, {how}."
    return Section("episodes", "Episodes", lead, "".join(strip(films[o.pair], lens) for o in good if o.pair in films))


def failures(films: Mapping[str, Film], outcomes: Sequence[Outcome], worst: Sequence[Outcome], lens: Lens) -> Section:
    """The ten worst."""
    failed = sum(not o.success for o in outcomes)
    lead = f"{failed} of {len(outcomes)} episodes failed. The {len(worst)} worst: failures first, then the longest ways."
    rows = [
        [escape(o.pair), _how(o), f"{o.steps}", escape(", ".join(o.classes) or "easy"), f"{o.predictor_passes:,}"]
        for o in worst
    ]
    listed = table(["start and goal", "result", "steps", "class", "imagined steps"], rows)
    shown = [o for o in worst if o.pair in films]
    rest = len(worst) - len(shown)
    note = f'<p class="dim small">{rest} more are listed only: long episodes would make this page slow.</p>' if rest else ""
    return Section("failures", "Where it fails", lead, listed + "".join(strip(films[o.pair], lens) for o in shown) + note)


def strip(film: Film, lens: Lens, most: int = 10) -> str:
    """One film: evenly spaced moments, the first and the last among them."""
    picked = [film.shots[i] for i in np.unique(np.linspace(0, len(film.shots) - 1, most).astype(int))]
    o = film.outcome
    said = f"{_how(o)} after {o.steps} steps · {escape(', '.join(o.classes) or 'easy')} · {escape(o.pair)}"
    return f'<div class="film"><div class="small">{said}</div><div class="strip">{"".join(_frame(s, lens) for s in picked)}</div></div>'


def _how(outcome: Outcome) -> str:
    if outcome.success:
        return '<span class="good">reached</span>'
    return f'<span class="bad">{"failed" if outcome.legal else "an illegal move"}</span>'


def _frame(shot: Shot, lens: Lens) -> str:
    image = picture(shrink(shot.picture), f"step {shot.step}")
    return f'<span class="frame">{image}{_overlay(shot, lens)}<small>{shot.step}</small></span>'


def _overlay(shot: Shot, lens: Lens) -> str:
    if shot.plan_HD is None:
        return ""
    path = lens.on_picture(torch.cat([shot.z_D[None], shot.plan_HD.to(shot.z_D.device)]))
    if path is not None:
        points = " ".join(f"{100 * x:.1f},{100 * y:.1f}" for x, y in path)
        x, y = 100 * path[-1]
        line = f'<polyline points="{points}" fill="none" stroke-linecap="round" stroke-linejoin="round" '
        return (
            '<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
            f'{line}stroke="#fff" stroke-width="5" opacity=".8"/>{line}stroke="#2563d9" stroke-width="2.6"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="#2563d9" stroke="#fff" stroke-width="1.6"/></svg>'
        )
    if lens.decoder is None:
        return ""
    return picture(lens.decoder.pictures(shot.plan_HD[-1:])[0].cpu().numpy(), "where the plan ends", kind="end")
