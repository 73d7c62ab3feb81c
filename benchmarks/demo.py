"""How long `forethought demo` takes from nothing, and how well it ends: python -m benchmarks.demo writes scores/demo.json."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile

from benchmarks._result import write_result
from forethought.arena.protocol import command_line

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "forethought", "demo", "--out", folder, "--json"]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    payload = {name: found[name] for name in ("seconds", "success", "n")} | {"cpu_seconds": spent.ru_utime + spent.ru_stime}
    print(payload, "\nwritten:", write_result("demo.json", command_line(), payload))
