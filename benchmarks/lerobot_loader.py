"""LeRobot's own loader, for benchmarks.data_speed: the real package in an environment of its own, which this makes if asked to.

It runs itself there (`python lerobot_loader.py REQUEST.json`), so what is above `_main` needs nothing that is not in both.
The recipe is what works with the torch of constraints.txt: lerobot 0.4.4 asks for an older one, of which it needs nothing,
and torchvision's wheel has operators compiled for another, which are declared and never called. Video needs ffmpeg 4 to 8.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np

HOME = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "forethought" / "lerobot-0.4.4"
_NEEDS = [
    "torch==2.13.0", "torchvision==0.28.0", "numpy<2.4", "datasets>=4,<5", "av>=15,<16", "huggingface_hub<2", "draccus==0.10.0",
    "jsonlines", "deepdiff", "einops", "packaging", "termcolor", "pandas", "pyarrow", "imageio", "gymnasium",
    "opencv-python-headless", "accelerate", "psutil",
]  # fmt: skip
_ALONE = ["lerobot==0.4.4", "torchcodec==0.13.0"]  # --no-deps: see above
_FEW = 16  # windows put together at once, as with the other layouts that read one by one


def environment() -> Path:
    """The interpreter of an environment with lerobot; made on first use: minutes, and 1.6 GB or more."""
    python = HOME / "bin" / "python"
    if not (HOME / "whole").exists():
        venv.create(HOME, with_pip=True, clear=True)
        for packages in (_NEEDS, ["--no-deps", *_ALONE]):
            subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
        (HOME / "whole").touch()
    return python


def measured(python: Path, root: Path, feature: str, request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Seconds of each batch, each window and each plain copy; `first`: the sum of the first window's pixels, as a proof."""
    file = folder / "request.json"
    file.write_text(json.dumps({"root": str(root), "feature": feature, **request}))
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "home"), "PYTHONPATH": ""}
    done = subprocess.run([python, __file__, file], capture_output=True, text=True, env={**os.environ, **offline}, check=False)
    if done.returncode:
        raise RuntimeError(f"lerobot's loader failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _opened(root: str, feature: str, offsets: list[float]) -> Any:
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset("somebody/log", root=root, delta_timestamps={feature: offsets}), library


def _main(request: dict[str, Any]) -> None:
    """Batches of windows at the rows asked for, each followed by a contiguous copy of as many bytes as a whole batch has."""
    from torch.utils.data import default_collate

    data, _library = _opened(request["root"], request["feature"], request["offsets"])
    frames, batches, calls, copies = np.load(request["frames"], mmap_mode="r"), [], [], []
    began = time.perf_counter()
    first = data[request["rows"][0][0]][request["feature"]]
    for row in request["rows"][0][1:_FEW]:
        data[row]
    cold, began = time.perf_counter() - began, time.process_time()
    for rows in request["rows"]:
        before, took = time.process_time(), []
        windows = []
        for row in rows[:_FEW]:
            one = time.process_time()
            windows.append(data[row])
            took.append(time.process_time() - one)
        default_collate(windows)
        after = time.process_time()
        count = len(rows) * len(request["offsets"])
        at = min(rows[0], len(frames) - count)
        np.array(frames[at : at + count])
        copies.append(time.process_time() - after)
        batches.append((after - before) * len(rows) / _FEW)
        calls += took
        if time.process_time() - began > request["seconds"]:
            break
    total = int((first * 255).round().sum())
    times = {"batches": batches, "calls": calls, "copies": copies, "cold": cold * len(request["rows"][0]) / _FEW}
    print(json.dumps({"first": total, **times}))


if __name__ == "__main__":
    _main(json.loads(Path(sys.argv[1]).read_text()))
