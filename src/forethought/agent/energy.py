"""Joules: read off the processor's (RAPL) and the accelerator's (NVML) own counters; where there are none, a labelled estimate.

Counters are the machine's: they also count what else runs on it, and its idling. The kernel's tree is described in
https://www.kernel.org/doc/html/latest/power/powercap/powercap.html; AMD processors appear in it under the same names.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final

import torch

from forethought.errors import MissingExtra
from forethought.types import Effort, Energy, Known

POWERCAP = Path("/sys/class/powercap")
WATTS_PER_CORE, WATTS_PER_ACCELERATOR = 7.0, 300.0
"""The estimate's two constants: a busy core with its share of the chip, a busy board. Between machines: 2-25 and 15-1,000."""


class Counter(Protocol):
    """Counts microjoules; starts again from 0 after `span` of them."""

    @property
    def span(self) -> int: ...

    def read(self) -> int:
        """Microjoules since some moment. Raises OSError."""


@final
@dataclass(frozen=True)
class Package:
    """One socket, all that is on the chip: its cores and caches are subzones of it, and are not counted again."""

    name: str
    span: int
    path: Path

    def read(self) -> int:
        try:
            return int(self.path.read_text())
        except ValueError as error:
            raise OSError(f"{self.path}: not a number") from error


@final
@dataclass(frozen=True)
class Board:
    """One NVIDIA accelerator, since its driver was loaded."""

    name: str
    handle: Any
    span: int = 2**63

    def read(self) -> int:
        import pynvml

        try:
            return 1000 * int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self.handle))
        except pynvml.NVMLError as error:
            raise OSError(f"{self.name}: {error}") from error


def packages(root: Path = POWERCAP) -> tuple[tuple[Package, ...], str]:
    """The sockets whose counters can be read, and, if there are none, why not in words.

    All sockets or none: a sum over some of them would pass for the whole. "psys" (the whole board) and the memory-mapped second
    view of a package (intel-rapl-mmio) would count the same joules twice.
    """
    found = []
    for zone in sorted(root.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            if zone.name.count(":") > 1 or not name.startswith("package"):
                continue
            package = Package(name, int((zone / "max_energy_range_uj").read_text()), zone / "energy_uj")
            package.read()
        except PermissionError:
            return (), f"{zone / 'energy_uj'} is there, but may not be read: let an administrator `chmod a+r` it"
        except (OSError, ValueError) as error:
            return (), f"{zone}: cannot be read ({error})"
        found.append(package)
    return tuple(found), "" if found else f"{root} has no processor's energy counter (a virtual machine, or not Linux)"


def board(index: int | None = None) -> tuple[tuple[Board, ...], str]:
    """The CUDA device of that number (None: the current one), if its counter can be read; else why not."""
    try:
        import pynvml
    except ImportError:
        return (), str(MissingExtra("reading an NVIDIA accelerator's energy", "nvml"))
    try:
        pynvml.nvmlInit()
        # by its identity: CUDA and NVML number devices differently
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(index).uuid}")
        found = Board(str(pynvml.nvmlDeviceGetName(handle)), handle)
        found.read()
    except (pynvml.NVMLError, OSError, RuntimeError, AssertionError) as error:
        return (), f"NVML cannot read the accelerator's energy ({error})"
    return (found,), ""


Marks = tuple[tuple[int, ...] | None, tuple[int, ...] | None]


@final
@dataclass(frozen=True)
class Gauge:
    """Counters of processor and accelerator, and watts for what none counts. `why`: what could not be read, in words.

    `kind`: of the device that is worked on, as torch calls it.
    """

    kind: str = "cpu"
    processor: tuple[Counter, ...] = ()
    accelerator: tuple[Counter, ...] = ()
    why: str = ""
    watts: float = WATTS_PER_CORE
    accelerator_watts: float = WATTS_PER_ACCELERATOR

    @staticmethod
    def find(device: torch.device | None = None, root: Path = POWERCAP) -> Gauge:
        """What can be read here, of the device that is worked on."""
        kind = "cpu" if device is None else device.type
        sockets, why = packages(root)
        if kind == "cpu":
            return Gauge(kind, sockets, (), why)
        none: tuple[tuple[Board, ...], str] = (), f"no counter is known for a device of kind '{kind}'"
        boards, also = board(device.index) if device is not None and kind == "cuda" else none
        return Gauge(kind, sockets, boards, "; ".join(part for part in (why, also) if part))

    def mark(self) -> Marks:
        """The counters now."""
        return _read(self.processor), _read(self.accelerator)

    def between(self, before: Marks, after: Marks, cpu_seconds: float, accelerator_seconds: float = 0.0) -> Energy:
        """Joules between two marks. Counters wrap (RAPL: in minutes to hours), at most once between two marks."""
        total = _part(self.processor, before[0], after[0], cpu_seconds, self.watts)
        if not accelerator_seconds:
            return total
        return total + _part(self.accelerator, before[1], after[1], accelerator_seconds, self.accelerator_watts)


def _read(counters: Sequence[Counter]) -> tuple[int, ...] | None:
    try:
        return tuple(counter.read() for counter in counters) or None
    except OSError:
        return None


def _part(
    counters: Sequence[Counter], before: tuple[int, ...] | None, after: tuple[int, ...] | None, seconds: float, watts: float
) -> Energy:
    if before is None or after is None:
        return Energy(seconds * watts, Known.ESTIMATE)
    spent = sum((b - a) % counter.span for counter, a, b in zip(counters, before, after, strict=True))
    return Energy(1e-6 * spent, Known.READING)


@final
class Stopwatch:
    """What was spent since it was made, or since the last lap: wall, CPU and accelerator seconds, joules.

    An accelerator is held from one lap to the next, whether it is busy or waits for the processor; laps wait for it.
    """

    def __init__(self, gauge: Gauge) -> None:
        self.gauge = gauge
        self._now()

    def lap(self) -> Effort:
        """The effort so far; and begin again."""
        before, wall, cpu = self.before, self.wall, self.cpu
        self._now()
        seconds, cpu_seconds = self.wall - wall, self.cpu - cpu
        held = 0.0 if self.gauge.kind == "cpu" else seconds
        energy = self.gauge.between(before, self.before, cpu_seconds, held)
        return Effort(seconds=seconds, cpu_seconds=cpu_seconds, accelerator_seconds=held, energy=energy)

    def _now(self) -> None:
        if self.gauge.kind != "cpu":
            torch.accelerator.synchronize()
        self.before, self.wall, self.cpu = self.gauge.mark(), time.perf_counter(), time.process_time()
