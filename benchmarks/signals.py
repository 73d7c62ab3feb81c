"""Which signal knows best that the world has changed? All on the same patrols, calibrated alike.

    python -m benchmarks.signals ogbench-pointmaze-medium-v1 --seeds 0 1 2

On runs that benchmarks.success left in its folder. Every signal alone gets the monitor's own evidence and conformal threshold:
errors at 1, 5 and 10 blocks, disagreement of four dynamics heads, MC dropout of one, density of latents (neighbours,
Mahalanobis), their norm, and a conformal test martingale on the one-block error. Then the monitor, and the monitor without each
of its parts. Writes scores/signals/TASK.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks._result import SCORES, write_result
from benchmarks.success import SETTINGS
from forethought.arena.patrol import Patrol
from forethought.arena.protocol import command_line
from forethought.arena.shifts import SHIFTS, applicable
from forethought.arena.surprise import CALIBRATE, CLEAN, SCOUT, STRUCK, Walk, auroc, own_moves
from forethought.arena.tasks import make_task
from forethought.data import open_log
from forethought.data.dataset import Dataset
from forethought.data.split import Split
from forethought.surprise.conformal import Calibrated
from forethought.surprise.evidence import Evidence
from forethought.surprise.signals import sizes
from forethought.training.bundle import load_agent
from forethought.training.latents import load_latents
from forethought.training.run import RunFolder

HEADS, UPDATES, DROPOUT, PASSES = 4, 1500, 0.1, 8
POWERS = np.linspace(0.05, 0.95, 19)
Rows = NDArray[np.float32]


@final
@dataclass(frozen=True)
class Heads:
    """Small dynamics heads on the same latents: an ensemble, and one with dropout."""

    ensemble: tuple[nn.Sequential, ...]
    dropped: nn.Sequential

    def doubts(self, input_NX: Tensor) -> tuple[Rows, Rows]:
        """Standard deviation of what they foretell: between heads, and between passes of the one with dropout, (N,) each."""
        with torch.inference_mode():
            between = torch.stack([head(input_NX) for head in self.ensemble]).std(0).norm(dim=1)
            passes = torch.stack([self.dropped(input_NX) for _ in range(PASSES)]).std(0).norm(dim=1)
        return between.numpy(), passes.numpy()


def main(arguments: Sequence[str] | None = None) -> None:
    """Walk once a seed, then judge every signal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=sorted(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--episodes", type=int, default=10, help="patrols under each shift, a seed")
    parser.add_argument("--clean", type=int, default=60, help="patrols in the unchanged world, a seed")
    parser.add_argument("--calibrate", type=int, default=100, help="patrols to calibrate on, a seed")
    parser.add_argument("--work", type=Path, default=Path("runs/success"))
    parser.add_argument("--out", type=Path, default=SCORES / "signals")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    seeds = [measure(options, seed) for seed in options.seeds]
    print("written:", write_result(options.out / f"{options.task}.json", command_line(), {"by_seed": seeds}))


def measure(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """All signals' figures of one seed's run."""
    began, folder = time.process_time(), options.work / options.task / f"seed-{seed}"
    agent = load_agent(folder / "run")
    walk = Walk(agent, make_task(options.task), lambda name, done, total: None)
    assert agent.monitor is not None
    scouts = walk.all("", options.calibrate // 4, 1000 * seed + SCOUT, "")
    agent.monitor = agent.monitor.at_home(own_moves(scouts))
    walked = {"calibrate": walk.all("", options.calibrate - len(scouts), 1000 * seed + CALIBRATE, "")}
    walked["clean"] = walk.all("", options.clean, 1000 * seed + CLEAN, "")
    names = applicable(walk.task.begin(walk.task.pairs(1, seed)[0]), agent.spec)
    walked |= {n: walk.all(n, options.episodes, 1000 * seed + STRUCK, n) for n in names}
    found = {}
    for name, (rows, leaps, ratios) in candidates(walk, walked, heads_on(folder, walk)).items():
        found[name] = judged(walk, walked, rows, leaps, ratios)
        print(f"  {name:<28}", found[name], flush=True)
    found["conformal martingale"] = wealth_judged(walk, walked)
    print("  conformal martingale", found["conformal martingale"])
    print(f"seed {seed}: {time.process_time() - began:.0f} CPU s", flush=True)
    return found


Candidate = tuple[Mapping[str, list[Rows]], tuple[bool, ...], int]


def candidates(walk: Walk, walked: Mapping[str, Sequence[Patrol]], heads: Heads) -> dict[str, Candidate]:
    """Each signal's rows on all patrols, whether it leaps, and how many of its columns are ratios."""
    assert walk.agent.monitor is not None
    signals = walk.agent.monitor.signals
    alone = {shift: [columns(walk, p, heads) for p in patrols] for shift, patrols in walked.items()}
    found: dict[str, Candidate] = {
        name: ({shift: [c[name] for c in each] for shift, each in alone.items()}, (False,), 0)
        for name in next(iter(alone.values()))[0]
    }
    rows = {shift: [p.rows_TK for p in patrols] for shift, patrols in walked.items()}
    found["the monitor"] = (rows, signals.leaps, signals.ratios)
    found["without a long memory"] = (rows, (True,) * len(signals.leaps), signals.ratios)
    parts = {"prediction", "scene", "latent", "jump", "place", "rest"}
    kinds = [name.rpartition(": ")[2] if name.rpartition(": ")[2] in parts else "other ways" for name in signals.names]
    for part in dict.fromkeys(kinds):
        keep = np.array([kind != part for kind in kinds])
        leaps = tuple(leap for leap, kept in zip(signals.leaps, keep, strict=True) if kept)
        few = {shift: [r[:, keep] for r in each] for shift, each in rows.items()}
        found[f"without {part}"] = (few, leaps, 0 if part == "other ways" else signals.ratios)
    return found


def columns(walk: Walk, patrol: Patrol, heads: Heads) -> dict[str, Rows]:
    """Signals that stand alone, (T, 1) each; NaN where there is none yet."""
    monitor, model = walk.agent.monitor, walk.agent.model
    assert monitor is not None
    spread, scene, size = monitor.signals.spread_D, monitor.signals.scene_size, len(monitor.signals.spread_D)
    told, count = patrol.moves.foretold_NX, len(patrol.surprises)
    z_TD = told[:, :size] * spread  # of all decisions but the last
    block_TA = torch.from_numpy(told[:, size:-size])
    between, passes = heads.doubts(torch.from_numpy(told[:, :-size]))
    off = told[:, :size] - monitor.moves.foretold_NX[:, :size].mean(0)
    rows = patrol.rows_TK
    found = {
        "error of 1 block": np.append(np.nan, patrol.moves.sizes_N),
        "error of 1 block, usual units": rows[:, 0],
        "neighbours": rows[:, 2],
        "Mahalanobis": np.append(
            np.sqrt(np.einsum("td,de,te->t", off, _inverse(monitor.moves.foretold_NX[:, :size]), off)), np.nan
        ),
        "norm": np.append(np.linalg.norm(z_TD, axis=1), np.nan),
        "disagreement of heads": np.append(np.nan, between),
        "MC dropout": np.append(np.nan, passes),
    }
    for horizon in (5, 10):
        starts = torch.from_numpy(z_TD[: max(len(z_TD) - horizon, 0)])
        series = np.full(count, np.nan)
        if len(starts):
            blocks = torch.stack([block_TA[i : i + horizon] for i in range(len(starts))])
            with torch.inference_mode():
                ends = model.dynamics.imagine(starts, model.dynamics.initial_memory(starts), blocks[:, None])[:, 0, -1].numpy()
            errors = (z_TD[horizon:] - ends)[:, scene:]
            series[horizon : horizon + len(errors)] = sizes(errors, monitor.signals.precision_GEE[horizon - 1])
        found[f"error of {horizon} blocks"] = series
    return {name: np.asarray(values, np.float32)[:, None] for name, values in found.items()}


def _inverse(rows_ND: Rows) -> Rows:
    covariance = np.cov(rows_ND.T) + 1e-3 * np.eye(rows_ND.shape[1])
    return np.linalg.inv(covariance).astype(np.float32)


def judged(
    walk: Walk, walked: Mapping[str, Sequence[Patrol]], rows: Mapping[str, list[Rows]], leaps: tuple[bool, ...], ratios: int
) -> dict[str, float | None]:
    """AUROC, delay and false alarms of evidence that is fitted on the calibration's rows, at the monitor's own rate."""
    assert walk.agent.monitor is not None
    decisions = np.mean([len(r) for r in rows["calibrate"]])
    rate = max(0.5e-4 * walk.agent.frameskip * decisions, 1.0 / (len(rows["calibrate"]) + 1))
    evidence = Evidence.fit(rows["calibrate"], leaps, ratios, float(rate))
    return summed(walk, walked, {shift: [heights(evidence, r) for r in each] for shift, each in rows.items()})


def heights(evidence: Evidence, rows_TK: Rows) -> NDArray[np.float64]:
    """The height at each decision, (T,)."""
    held, found = np.zeros(0), []
    for row in rows_TK:
        held = evidence.add(held, row)
        found.append(evidence.heights(held).max())
    return np.array(found)


def summed(
    walk: Walk, walked: Mapping[str, Sequence[Patrol]], high: Mapping[str, list[NDArray[np.float64]]]
) -> dict[str, float | None]:
    """The figures of one signal. Delays: of patrols under abrupt shifts without an alarm before; drift by itself."""
    begins = walk.begins
    peaks = {s: [max(h[np.array(p.steps) >= begins]) for h, p in zip(high[s], walked[s], strict=True)] for s in high}
    delays: dict[str, list[float]] = {}
    for shift in set(high) - {"calibrate", "clean"}:
        alarms = [
            next((t for t, x in zip(p.steps, h, strict=True) if x >= 1), np.inf)
            for h, p in zip(high[shift], walked[shift], strict=True)
        ]
        delays[shift] = [a - begins for a in alarms if a >= begins]
    harmful = [shift for shift in delays if SHIFTS[shift].harmful]
    abrupt = [d for shift in harmful if SHIFTS[shift].abrupt for d in delays[shift]]
    areas = [auroc(peaks["clean"], peaks[shift]) for shift in harmful]
    steps = len(high["clean"]) * walk.steps
    figures = {
        "auroc": np.mean(areas), "worst": min(areas), "delay": np.median(abrupt), "within 5": np.mean(np.array(abrupt) <= 5),
        "drift": np.median(delays["drift"]), "false per 10,000": 1e4 * sum((h >= 1).any() for h in high["clean"]) / steps,
    }  # fmt: skip
    return {name: round(float(value), 4) if np.isfinite(value) else None for name, value in figures.items()}


def wealth_judged(walk: Walk, walked: Mapping[str, Sequence[Patrol]]) -> dict[str, float | None]:
    """A test martingale on the one-block error in usual units; half of the calibration for p-values, half for the threshold."""
    rows = {shift: [p.rows_TK[:, 0] for p in patrols] for shift, patrols in walked.items()}
    half = len(rows["calibrate"]) // 2
    usual = Calibrated.of(np.concatenate(rows["calibrate"][:half]))
    high = {shift: [martingale(usual, r) for r in each] for shift, each in rows.items()}
    least = Calibrated.of(np.array([h.max() for h in high["calibrate"][half:]])).quantile(half / (half + 1))
    return summed(walk, walked, {shift: [h / least for h in each] for shift, each in high.items()})


def martingale(usual: Calibrated, scores_T: Rows) -> NDArray[np.float64]:
    """Log wealth of a mixture of power bets on p-values, which begins anew at 1 whenever it is below (T,)."""
    wealth, found = 0.0, []
    for score in scores_T.tolist():
        p = usual.p_value(score)
        wealth = max(0.0, wealth + (0.0 if np.isnan(p) else float(np.log(np.mean(POWERS * p ** (POWERS - 1))))))
        found.append(wealth)
    return np.array(found)


def heads_on(folder: Path, walk: Walk) -> Heads:
    """Heads fitted on the training latents."""
    agent, run = walk.agent, RunFolder(folder / "run")
    assert agent.monitor is not None
    data = Dataset.load(open_log(folder / "log.h5"), Split.TRAIN)
    latents = load_latents(run.latents, data, agent.frameskip, agent.monitor.signals.scene_size)
    rows = torch.from_numpy(np.random.default_rng(0).permutation(latents.window_starts(1))[:40000])
    spread = torch.from_numpy(agent.monitor.signals.spread_D)
    z, after = latents.z_ND[rows] / spread, latents.z_ND[rows + agent.frameskip] / spread
    inputs, change = torch.cat([z, latents.action_NA[rows]], 1), after - z
    ensemble = tuple(_head(inputs, change, seed, 0.0) for seed in range(HEADS))
    return Heads(ensemble, _head(inputs, change, HEADS, DROPOUT))


def _head(input_NX: Tensor, change_ND: Tensor, seed: int, dropout: float) -> nn.Sequential:
    torch.manual_seed(seed)
    hidden = [
        nn.Linear(input_NX.shape[1], 128),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(128, 128),
        nn.SiLU(),
        nn.Dropout(dropout),
    ]
    head = nn.Sequential(*hidden, nn.Linear(128, change_ND.shape[1]))
    optimiser = torch.optim.AdamW(head.parameters(), 2e-3)
    for _ in range(UPDATES):
        rows = torch.randint(len(input_NX), (256,))
        optimiser.zero_grad()
        (head(input_NX[rows]) - change_ND[rows]).square().mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return head.train(dropout > 0)


if __name__ == "__main__":
    main()
