"""Damaged files of every format, in processes with limits: python -m benchmarks.broken_files [--count 1000].

Each must be read, or refused by one DataError: within 5 s, within 1 GiB beyond what the process holds at its start, nothing
on disk changed. Any other end (another exception, a crash, a hang) is a failure, counted and named in scores/broken_files.json.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks._result import ROOT, SCORES, command_line, write_result

sys.path.insert(0, str(ROOT / "tests"))
SECONDS, BYTES = 5, 2**30


def child(name: str, first: int, stop: int) -> None:
    """Damage and read logs number first to stop; one line of JSON each, written before (how) and after (what came of it)."""
    import attack
    import mutate

    build = dict(mutate.BUILDERS)[name]
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "whole"
        whole.mkdir()
        log = build(whole)
        assert mutate.read_everything(log) == "read"
        attack.warm(log)
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (held + BYTES, held + BYTES))
        for seed in range(first, stop):
            folder = Path(temporary) / "broken"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            print(json.dumps({"how": mutate.mutate(folder / log.name, seed)}), flush=True)
            faulthandler.dump_traceback_later(SECONDS - 0.5, exit=False)
            signal.alarm(SECONDS)
            try:
                end = mutate.read_everything(folder / log.name)
            except Exception as error:
                end = f"{type(error).__name__}: {error}"[:300]
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
            print(json.dumps({"end": end}), flush=True)


def run(name: str, count: int) -> dict[str, object]:
    """All damaged logs of a format; a child that dies is begun again after the log that killed it."""
    ends: Counter[str] = Counter()
    failures: list[str] = []
    done = 0
    while done < count:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.broken_files", "--child", name, str(done), str(count)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        if not lines:
            raise RuntimeError(f"{name}: the whole log was not read: {result.stderr[-500:]}")
        how = ""
        for line in lines:
            how = line.get("how", how)
            if "end" in line:
                done += 1
                kind = line["end"] if line["end"] in ("read", "refused") else "failed"
                ends[kind] += 1
                failures += [f"{how}: {line['end']}"] if kind == "failed" else []
        if "how" in lines[-1]:
            done += 1
            kind = "hung" if result.returncode == -signal.SIGALRM else "crashed"
            ends[kind] += 1
            where = [line.strip() for line in result.stderr.splitlines() if "File " in line][:3]
            failures.append(f"{how}: {kind} ({result.returncode}) {'; '.join(where)}")
    return {
        "count": count,
        **{kind: ends[kind] for kind in ("read", "refused", "failed", "hung", "crashed")},
        "failures": failures,
    }


def main() -> None:
    """Run every format, or those named."""
    import mutate

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--formats", nargs="*", default=[name for name, _ in mutate.BUILDERS])
    parser.add_argument("--out", default="broken_files.json")
    parser.add_argument("--afresh", action="store_true", help="forget the formats that an earlier run of this count has done")
    parser.add_argument("--child", nargs=3, metavar=("FORMAT", "FIRST", "STOP"))
    options = parser.parse_args()
    if options.child:
        child(options.child[0], int(options.child[1]), int(options.child[2]))
        return
    out = SCORES / options.out if Path(options.out).name == options.out else Path(options.out)
    results = json.loads(out.read_text())["formats"] if out.exists() and not options.afresh else {}
    results = {name: result for name, result in results.items() if result["count"] == options.count}
    for name in options.formats:
        if name not in results:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            results[name] = run(name, options.count)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            results[name] |= {"cpu_seconds": round(seconds, 1)}
        print(name, {key: value for key, value in results[name].items() if key != "failures"}, flush=True)
        write_result(out, command_line(), {"seconds": SECONDS, "bytes": BYTES, "formats": results})


if __name__ == "__main__":
    main()
