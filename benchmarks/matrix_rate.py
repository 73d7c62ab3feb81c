"""What share of the machine's matrix rate does a training update reach, in the model's own floating-point operations?

The update is the real one: the `predict` stage on a real log (windows drawn, encoded, predicted, regularised), backward,
clipping, AdamW. The operations counted are those of the matrix products and convolutions, nothing else; the time is all
of it. The matrix rate is that of the fastest large float32 product. Both are measured in turns, on the same threads, and
given as medians; on one thread by CPU time too, as that is what a busy machine leaves comparable.

    python benchmarks/matrix_rate.py [--threads 1] [--rounds 9] [--default-allocator] [--out FILE]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from _result import command_line, write_result
from torch.utils.flop_counter import FlopCounterMode

from forethought.data import open_log, write_log
from forethought.data.dataset import Dataset
from forethought.envs.two_room import log_spec, record
from forethought.training.allocator import keep_freed_memory
from forethought.training.bundle import build_parts
from forethought.training.config import TrainConfig, sized
from forethought.training.distributed import Ranks
from forethought.training.predict import PredictStage
from forethought.training.recipes import two_room_fixed

MODELS = {
    "patches s": ("patches", "s", None),
    "patches m": ("patches", "m", None),
    "patches l": ("patches", "l", None),
    "conv, the operations of patches s": ("conv", "s", 24),
    "conv s": ("conv", "s", None),
}
"""Name: kind of encoder, size, and its narrowest layer where it is not the size's."""


@dataclass(frozen=True)
class Timed:
    """Seconds of one repetition: on the clock, and of this process on all its threads."""

    wall: float
    cpu: float


def timed(work: Callable[[], object]) -> Timed:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Timed(time.perf_counter() - wall, time.process_time() - cpu)


def matrix_rate(threads: int = 1, seconds: float = 1.0) -> float:
    """FLOP/s of the fastest large float32 product on the clock, on that many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    rate = max(product_rates(seconds).values())
    torch.set_num_threads(before)
    return rate


def product_rates(seconds: float) -> dict[int, float]:
    """Size of a square product to its FLOP/s, each the median of a third of the time."""
    rates = {}
    for size in (512, 1024, 2048):
        product, times = Product(size), []
        began = time.perf_counter()
        while len(times) < 3 or time.perf_counter() - began < seconds / 3:
            times.append(timed(product).wall)
        rates[size] = product.flops / statistics.median(times)
    return rates


class Product:
    """A square float32 product."""

    def __init__(self, size: int) -> None:
        self.left, self.right, self.out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
        self.flops = 2 * size**3

    def __call__(self) -> None:
        torch.mm(self.left, self.right, out=self.out)


class Update:
    """One update of the `predict` stage with an encoder of that kind and size."""

    def __init__(self, data: Dataset, config: TrainConfig) -> None:
        torch.manual_seed(0)
        parts = build_parts(data.spec, config)
        self.stage = PredictStage(data, parts.encoder, parts.first_dynamics, config, Ranks())
        self.optimizer = torch.optim.AdamW(self.stage.trained(), 1e-3, fused=True)
        self.number = 0
        with FlopCounterMode(display=False) as counter:
            self.work()
        self.flops = counter.get_total_flops()

    def work(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss, _ = self.stage.loss(self.number)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.stage.trained(), 1.0)
        self.optimizer.step()
        self.number += 1


def configured(image: str, size: str, width: int | None) -> TrainConfig:
    """The demo's recipe at another size and with another encoder of images."""
    config = sized(two_room_fixed(), size)
    return replace(config, encoder=replace(config.encoder, image=image, width=width or config.encoder.width))


def two_room_data(folder: Path) -> Dataset:
    """A small real log, 64 px."""
    path = write_log(folder / "log.h5", record(96, 64, 0, random=False), log_spec())
    return Dataset.load(open_log(path))


def share(flops: int, own: list[Timed], product: Product, reference: list[Timed]) -> dict[str, float]:
    """The update's rate over the product's, on the clock and by CPU time."""
    wall, cpu = statistics.median(t.wall for t in own), statistics.median(t.cpu for t in own)
    best_wall = product.flops / statistics.median(t.wall for t in reference)
    best_cpu = product.flops / statistics.median(t.cpu for t in reference)
    return {
        "gflop": round(flops / 1e9, 3), "wall_ms": round(wall * 1e3, 2), "cpu_ms": round(cpu * 1e3, 2),
        "share_wall": round(flops / wall / best_wall, 3), "share_cpu": round(flops / cpu / best_cpu, 3),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--default-allocator", action="store_true", help="let the C library give freed memory back")
    parser.add_argument("--out", default="matrix_rate.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    kept = not arguments.default_allocator and keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        data = two_room_data(Path(folder))
    rates = product_rates(1.0)  # the fastest size is the hardest to reach a share of
    product, updates = (
        Product(max(rates, key=rates.__getitem__)),
        {name: Update(data, configured(*model)) for name, model in MODELS.items()},
    )
    times: dict[str, list[Timed]] = {name: [] for name in MODELS}
    reference: list[Timed] = []
    for _ in range(arguments.rounds):
        for name, update in updates.items():
            reference.append(timed(product))
            times[name].append(timed(update.work))
    rows = {name: share(updates[name].flops, times[name], product, reference) for name in MODELS}
    frames = updates["patches s"].stage.frames_per_update
    rate = product.flops / statistics.median(t.cpu for t in reference) / 1e9
    print(f"matrix rate {rate:.1f} GFLOP per CPU second, {arguments.threads} thread(s); {frames} frames an update")
    for name, row in rows.items():
        print(f"{name:<34} {row['gflop']:6.2f} GFLOP {row['cpu_ms']:7.1f} CPU ms  share {row['share_wall']:.0%} clock, "
              f"{row['share_cpu']:.0%} CPU time")  # fmt: skip
    payload = {
        "threads": arguments.threads, "rounds": arguments.rounds, "frames_per_update": frames, "freed_memory_kept": kept,
        "matrix_gflops_per_cpu_second": round(rate, 1), "matrix_size": product.left.shape[0], "updates": rows,
    }  # fmt: skip
    print(write_result(arguments.out, command_line(), payload))


if __name__ == "__main__":
    main()
