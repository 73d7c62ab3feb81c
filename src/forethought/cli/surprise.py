"""`forethought surprise` and `forethought trust`: does the agent know when it is wrong, and when may it not think?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from forethought.cli.output import Debug, Json, Seed, Show, emit, guarded


def surprise(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    task: Annotated[str, typer.Option(help="A task id, such as two-room-fixed-v1.")],
    shifts: Annotated[str, typer.Option(help="Names with commas between, or all.")] = "all",
    episodes: Annotated[int, typer.Option(min=1, help="Patrols under each shift.")] = 40,
    calibrate: Annotated[int, typer.Option(min=0, help="Patrols in the unchanged world to calibrate on.")] = 100,
    seed: Seed = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Let the agent walk to and fro, change the world under it, and see whether, when and why it raises the alarm.

    \b
    Example:
      forethought surprise runs/mine --task two-room-fixed-v1 --shifts gain,camera
    """
    guarded(lambda: _surprise(run, task, shifts, episodes, calibrate, seed, json), debug)


def _surprise(run: Path, task: str, shifts: str, episodes: int, calibrate: int, seed: int, json: bool) -> None:
    import torch

    from forethought.arena.shifts import SHIFTS
    from forethought.arena.surprise import measure_surprise

    torch.set_num_threads(1)
    names = tuple(SHIFTS) if shifts == "all" else tuple(name.strip() for name in shifts.split(","))
    with Show() as show:
        found = measure_surprise(
            run, task, shifts=names, episodes=episodes, calibrate=calibrate, seed=seed, progress=show.count
        )
    emit(asdict(found), json, table(found))


def table(found: Any) -> str:
    """The figures as text: one line a shift."""
    rate = found.per_ten_thousand()
    lines = [
        f"{found.task}: in the unchanged world {found.false_alarms} of {found.clean} patrols of {found.steps} steps raised an "
        f"alarm ({rate:.2g} in 10,000 steps)",
        f"  {'shift':<18}{'AUROC':>6}{'found':>9}{'delay':>8}  reason given most",
    ]
    for s in found.shifts:
        delay = f"{s.delay:.0f}" if s.delay < float("inf") else "–"
        name = s.shift if s.harmful else f"{s.shift} (harmless)"
        lines.append(f"  {name:<18}{s.auroc:>6.3f}{f'{s.found}/{s.n}':>9}{delay:>8}  {s.reason}")
    delay = f"{found.delay:.0f} steps" if found.delay < float("inf") else "–"
    lines += [
        f"  harmful shifts: AUROC {found.auroc:.3f} in the mean, {found.worst:.3f} at worst",
        f"  abrupt ones: alarm after {delay} in the median patrol, within 5 in {100 * found.soon:.0f} %",
        "  delay: environment steps to the alarm, median",
    ]
    return "\n".join(lines)


def trust(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    task: Annotated[str, typer.Option(help="A task id, such as two-room-fixed-v1.")],
    epsilon: Annotated[float, typer.Option(min=0.001, max=0.5, help="Excess failures allowed, as a share of tasks.")] = 0.05,
    n: Annotated[int, typer.Option(min=20, help="Start-goal pairs to fit on.")] = 200,
    patrols: Annotated[int, typer.Option(min=0, help="Patrols in the unchanged world, to calibrate surprise on.")] = 100,
    seed: Seed = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Find out how far the habit can be trusted, by conformal risk control, and write trust.json into the run.

    After that, agent.mode "ladder" keeps a plan while all goes as foretold, acts by habit where that is safe, and searches
    only for the rest. Of tasks like those it was fitted on, at most a share epsilon more fail than if it always searched.

    \b
    Example:
      forethought trust runs/mine --task two-room-fixed-v1 --epsilon 0.05
    """
    guarded(lambda: _trust(run, task, epsilon, n, patrols, seed, json), debug)


def _trust(run: Path, task: str, epsilon: float, n: int, patrols: int, seed: int, json: bool) -> None:
    import torch

    from forethought.arena.trust import fit_trust

    torch.set_num_threads(1)
    with Show() as show:
        found = fit_trust(run, task, epsilon=epsilon, count=n, patrols=patrols, seed=seed, progress=show.count)
    much = "no habit is trusted" if found.doubt < 0 else f"habits are trusted up to a doubt of {found.doubt:g}"
    emit(
        asdict(found), json, f"{much}: {100 * found.excess:.1f} % more of {found.pairs} tasks failed than with always planning"
    )
