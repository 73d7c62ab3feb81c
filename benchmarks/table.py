"""Writes the README's table of bars, and the tables of docs/data.md, from scores/: python -m benchmarks.table

A figure that has no file says "not measured yet"; a figure that misses its bar says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- bars: python -m benchmarks.table -->", "<!-- end of bars -->"
SPEED_BEGIN, SPEED_END = "<!-- layouts: python -m benchmarks.table -->", "<!-- end of layouts -->"
FAULTS_BEGIN, FAULTS_END = "<!-- faults: python -m benchmarks.table -->", "<!-- end of faults -->"
ABSENT = "*not measured yet*"
Scores = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One figure of a cell, and whether it reaches its bar."""

    text: str
    holds: bool = True

    def __str__(self) -> str:
        return self.text if self.holds else f"{self.text} **(below the bar)**"


@dataclass(frozen=True)
class Row:
    """A bar: what, how much, the score file that shows it, how to read that file, and what to compare with."""

    what: str
    bar: str
    file: str
    read: Callable[[Scores], Iterator[Part]]
    beside: str


Read = Callable[[Scores], Iterator[Part]]


def success(least: float, group: str = "", in_group: float = 0.0, minutes: float = 0.0) -> Read:
    """Success of the agent in a file of benchmarks/success.py, in shares; the class and CPU minutes of training where asked."""

    def read(scores: Scores) -> Iterator[Part]:
        agent = scores["agents"]["plan"]
        yield Part(f"{_share(agent['success'])} (n = {agent['n']}, {_seeds(scores)})", agent["success"]["share"] >= least)
        if group in agent["classes"]:
            found = agent["classes"][group]
            yield Part(f"{group} {_share(found)} (n = {found['n']})", found["share"] >= in_group)
        spent = max(scores["training_cpu_seconds"]) / 60
        yield Part(f"training {spent:.1f} CPU min", not minutes or spent <= minutes)

    return read


def latency(scores: Scores) -> Iterator[Part]:
    """The worst seed's percentiles of one planned decision."""
    agent = scores["agents"]["plan"]
    for name, bar in (("p50", 5.0), ("p99", 15.0)):
        yield Part(f"{name} {max(agent[f'{name}_ms']):.1f} ms", max(agent[f"{name}_ms"]) <= bar)


def predictor(scores: Scores) -> Iterator[Part]:
    """Our predictors against the published shapes, in one run."""
    ours = {name.rpartition(" ")[2]: figures["times_faster"] for name, figures in scores["ours"].items()}
    times = ours["192"]
    others = ", ".join(f"width {width}: {value:.0f} ×" for width, value in ours.items() if width != "192")
    yield Part(f"{times:.0f} × at width 192 ({others})", times >= 20)


def matrix_rate(scores: Scores) -> Iterator[Part]:
    """The share of the machine's matrix rate that a training update reaches."""
    share = scores["updates"]["patches s"]["share_cpu"]
    yield Part(f"{100 * share:.0f} % (size s; m {_percent(scores, 'm')}, l {_percent(scores, 'l')})", share >= 0.5)


def demo(scores: Scores) -> Iterator[Part]:
    """The whole demo from nothing."""
    yield Part(f"{scores['seconds'] / 60:.1f} min", scores["seconds"] <= 180)
    yield Part(f"{100 * scores['success']:.1f} % (n = {scores['n']}, 1 seed)", scores["success"] >= 0.99)


def startup(scores: Scores) -> Iterator[Part]:
    """Median seconds of fresh processes."""
    for name, bar in scores["bars_wall_seconds"].items():
        taken = scores["commands"][name]["wall_seconds"]
        yield Part(f"`{name}` {taken:.2f} s", taken <= bar)


def frames(scores: Scores) -> Iterator[Part]:
    """Two-Room frames stepped and drawn a second, one core."""
    rate = scores["two-room frames/s, 64 px"]
    yield Part(f"{rate:,.0f} frames/s", rate >= 20_000)


def suite(scores: Scores) -> Iterator[Part]:
    """The test suite's processor time and line coverage."""
    for lane, bar in (("full", 15 * 2), ("fast", 5 * 2)):
        taken = scores[lane]["cpu_seconds"] / 60
        yield Part(f"{lane} {taken:.1f} CPU min", taken <= bar)
    yield Part(f"coverage {scores['coverage_percent']:.1f} %", scores["coverage_percent"] >= 90)


def killed(scores: Scores) -> Iterator[Part]:
    """Runs killed at random moments whose final bytes equal those of a run that was not."""
    yield Part(f"{scores['same']} of {scores['kills']} end with the same bytes", scores["same"] == scores["kills"])


ROWS = (
    Row("`forethought demo` from nothing, 2 cores", "≤ 3 min, ≥ 99 %", "demo.json", demo, "random 17, raw-latent CEM 54"),
    Row(
        "fixed-wall Two-Room, pixels", "≥ 99 %, cross-room ≥ 98 %", "two-room-fixed-v1.json", success(0.99, "cross", 0.98),
        "random 17 (cross-room 6), raw-latent CEM 54 (19)",
    ),
    Row(
        "random wall and door, unseen layouts, pixels", "≥ 97 %, hard pairs ≥ 95 %, ≤ 15 CPU min", "two-room-random-v1.json",
        success(0.97, "hard", 0.95, 15), "straight line 77; eb_jepa's MPPI 97 ± 2 (GPU, n = 20, 37 s an episode)",
    ),
    Row(
        "OGBench pointmaze-medium", "≥ 97 %, ≤ 10 CPU min", "ogbench-pointmaze-medium-v1.json", success(0.97, minutes=10),
        "QRL 82, HIQL 79 (arXiv 2410.20092; other logs, 1 M updates on a GPU)",
    ),
    Row(
        "OGBench pointmaze-large", "≥ 95 %, ≤ 10 CPU min", "ogbench-pointmaze-large-v1.json", success(0.95, minutes=10),
        "QRL 86, HIQL 58 (the same)",
    ),
    Row(
        "Push-T, pixels, weak self-collected logs", "≥ 60 %", "pusht-pixels-v1.json", success(0.60),
        "LeWM on weak data 30–40; random 4",
    ),
    Row(
        "one planned decision, 1 thread", "p50 ≤ 5 ms, p99 ≤ 15 ms", "two-room-random-v1.json", latency,
        "LeWM 41 s a plan on such a core",
    ),
    Row(
        "predictor, at LeWM's planning budget and latent size", "≥ 20 × faster", "predictor_speed.json", predictor,
        "its shapes in plain torch",
    ),
    Row("training step, share of the matrix rate", "≥ 50 %", "matrix_rate.json", matrix_rate, "a small CNN 32"),
    Row("Two-Room, stepped and drawn, 64 px, 1 core", "≥ 20,000 frames/s", "bench.json", frames, "peers 150–200 (at 224 px)"),
    Row("kill -9 at random moments of training", "all end with the same bytes", "kill.json", killed, "nobody promises it"),
    Row("import and help", "0.3 s, 0.5 s", "startup.json", startup, ""),
    Row("`make test`", "≤ 15 min on 2 cores, fast ≤ 5, coverage ≥ 90 %", "suite.json", suite, ""),
)  # fmt: skip


def table(scores: Path = ROOT / "scores") -> str:
    """The table in Markdown."""
    lines = ["| what | at least | measured | compare with |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.what} | {row.bar} | {_cell(row, scores)} | {row.beside} |" for row in ROWS)])


def _cell(row: Row, scores: Path) -> str:
    path = scores / row.file
    if not path.is_file():
        return ABSENT
    return "; ".join(map(str, row.read(json.loads(path.read_text(encoding="utf-8")))))


def speed_table(scores: Path = ROOT / "scores") -> str:
    """The table of layouts in docs/data.md, from scores/data_speed.json."""
    sizes = json.loads((scores / "data_speed.json").read_text(encoding="utf-8"))["pixels"]
    lines = ["| layout | pixels | size, of raw | windows/s warm | of memcpy | p99 of one | windows/s cold | the Dataset is |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for size, rows in sizes.items():
        for name, row in rows.items():
            warm, cold = row["warm_windows_per_second"], row["cold_windows_per_second"]
            cells = (
                name,
                size,
                f"{row['of_raw']:.2f}",
                f"{warm:,.0f}",
                f"{100 * row['of_memcpy']:.1f} %",
                f"{row['p99_ms']:.2g} ms",
            )
            lines.append(f"| {' | '.join(cells)} | {cold:,.0f} | {row['dataset_is_times']:,.0f} × as fast |")
    return "\n".join(lines)


def faults_table(scores: Path = ROOT / "scores") -> str:
    """The table of planted faults in docs/data.md, from scores/planted_faults.json."""
    worlds = json.loads((scores / "planted_faults.json").read_text(encoding="utf-8"))["worlds"]
    lines = ["| log | kinds of fault | planted | found | clean logs | false findings | of all pairs of log and check |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, world in worlds.items():
        planted, found = (sum(kind[key] for kind in world["kinds"].values()) for key in ("planted", "found"))
        wrong = ", ".join(f"`{code}` {count}" for code, count in world["false_codes"].items()) or "none"
        share = 100 * world["false_findings"] / world["pairs"]
        lines.append(
            f"| {name} | {len(world['kinds'])} | {planted} | {found} | {world['clean_logs']} | {wrong} | {share:.2f} % |"
        )
    return "\n".join(lines)


def rewritten(page: str, block: str, begin: str = BEGIN, end: str = END) -> str:
    """The page with its block between the markers replaced."""
    head, _, rest = page.partition(begin)
    _, _, tail = rest.partition(end)
    if not rest or end not in rest:
        raise SystemExit(f"the page lacks '{begin}' or '{end}'; put both back")
    return f"{head}{begin}\n\n{block}\n\n{end}{tail}"


def _share(interval: dict[str, float]) -> str:
    return f"{100 * interval['share']:.1f} % [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"


def _seeds(scores: Scores) -> str:
    return f"{len(scores['seeds'])} seed" + "s" * (len(scores["seeds"]) > 1)


def _percent(scores: Scores, size: str) -> str:
    return f"{100 * scores['updates'][f'patches {size}']['share_cpu']:.0f}"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(rewritten(readme.read_text(encoding="utf-8"), table()), encoding="utf-8")
    data = ROOT / "docs" / "data.md"
    page = rewritten(data.read_text(encoding="utf-8"), speed_table(), SPEED_BEGIN, SPEED_END)
    data.write_text(rewritten(page, faults_table(), FAULTS_BEGIN, FAULTS_END), encoding="utf-8")
