"""`forethought probe`: which quantities can a run name, how well, and how surely along imagined paths?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from forethought.cli.output import Debug, Json, Show, emit, guarded

LEVELS = (0.9, 0.95, 0.99)


def probe(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    log: Annotated[Path | None, typer.Option(help="The run's log: train the probe again on what it names.")] = None,
    names: Annotated[Path | None, typer.Option(help="More names: .npz or .csv; or which: .txt or .json.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the quantities that goals and guardrails can speak of; with --log, read them off the run's latents anew.

    --names FILE: an .npz or .csv holds new quantities, a column each, with a row for each row of the log (all episodes end to
    end, the last observation of each included); a .txt or .json lists which of the log's own are wanted. Widths are those of
    intervals that hold for all blocks of a stretch of experience at once, one and so many blocks ahead.

    \b
    Examples:
      forethought probe runs/rooms
      forethought probe runs/rooms --log rooms.h5 --names distances.npz
    """
    guarded(lambda: _probe(run, log, names, json), debug)


def _probe(run: Path, log: Path | None, names: Path | None, json: bool) -> None:
    from forethought.config import read_json
    from forethought.errors import UsageError
    from forethought.training.bundle import load_parts
    from forethought.training.calibrate import Calibration
    from forethought.training.reprobe import probe_run
    from forethought.training.run import RunFolder

    if names is not None and log is None:
        raise UsageError("--names needs --log too: the probe is trained on the run's log")
    if log is not None:
        with Show() as show:
            probe_run(run, log, names, watcher=show)
    _, config, parts = load_parts(run)
    quality = {q.name: q for q in read_json(Calibration, RunFolder(run).calibration).probes}
    found = widths(parts.probe, config.agent.search.horizon)
    rows = [
        {"name": name, "linear": quality[name].linear, "nonlinear": quality[name].nonlinear, **found.get(name, {})}
        for name in (parts.probe.names if parts.probe is not None else ())
        if name in quality
    ]
    emit({"quantities": rows}, json, table(rows, parts.probe))


def widths(probe: Any, horizon: int) -> dict[str, dict[str, list[float | None]]]:
    """Quantity -> the widths of its intervals at LEVELS, after one block and after `horizon`; None: too few stretches."""
    from forethought.costs.guardrail import margins

    if probe is None or probe.errors is None:
        return {}
    found = {}
    for column, name in enumerate(probe.names):
        both = [margins(probe.errors, ((column, 0), (column, 1)), level)[:, column].sum(-1).tolist() for level in LEVELS]
        last = min(horizon, len(both[0])) - 1
        found[name] = {key: [_finite(w[at]) for w in both] for key, at in (("first_block", 0), ("last_block", last))}
    return found


def table(rows: list[dict[str, Any]], probe: Any) -> str:
    """As text: one line a quantity."""
    if not rows:
        return "this run names nothing; `forethought probe RUN --log LOG --names FILE` gives it names"
    levels = "".join(f"{f'{100 * level:g} %':>9}" for level in LEVELS)
    lines = [f"  {'quantity':<20}{'R2 line':>8}{'probe':>7}  width, 1 block ahead: {levels}   last block: {levels}"]
    for row in rows:
        shown = [
            "".join(f"{'–' if w is None else f'{w:.3g}':>9}" for w in row.get(key, [])) for key in ("first_block", "last_block")
        ]
        lines.append(f"  {row['name']:<20}{row['linear']:>8.4f}{row['nonlinear']:>7.4f}{'':24}{shown[0]}{'':15}{shown[1]}")
    if probe.errors is None:
        lines.append("  no intervals: guardrails need them; `forethought probe RUN --log LOG` measures them")
    else:
        count, steps = len(probe.errors.score_EHQ2), probe.errors.stretch
        lines.append(
            f"  from {count} held-out stretches of {steps} steps: at most {100 * count / (count + 1):.4g} % can be promised"
        )
    return "\n".join(lines)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
