"""`forethought bench`, kept: python -m benchmarks.bench writes scores/bench.json."""

from __future__ import annotations

from benchmarks._result import write_result
from forethought.arena.protocol import command_line
from forethought.cli.bench import figures

if __name__ == "__main__":
    measured = {name: round(value, 2) for name, value in figures().items()}
    print(measured, "\nwritten:", write_result("bench.json", command_line(), measured))
