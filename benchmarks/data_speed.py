"""How fast are random windows (4 frames, frameskip 5) out of each layout of the same frames, in one run?

    python -m benchmarks.data_speed

Frames: a textured background and a disc that moves, so that codecs have something to do. Every layout holds the same
episodes and gives the same windows. Warm figures are per second of processor time, so that a busy machine changes them
little; cold ones (the files dropped from the page cache with posix_fadvise, then opened) are of the wall clock. p99 is of
one random window, warm; `of_memcpy`: beside one contiguous copy of as many bytes from a random place of the map, batch by batch
(medians). With --lerobot, LeRobot's own loader too (`lerobot_loader.py`): windows by its `delta_timestamps`, on data sets that
we wrote (PNG and H.264), in an environment that is made on first use, or in the one whose interpreter is given. The h5py
rows read as stable-worldmodel's HDF5Dataset does: the whole span of 4 x 5 rows from a file held open, then every fifth.
Their chunk cache is a tenth of the file (its 256 MiB would hold all of this small log, which no real log lets it); chunks
are of h5py's own choice, or of one frame, gzipped.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks import lerobot_loader
from benchmarks._result import SCORES, command_line, write_result
from forethought.data import open_log, write_log
from forethought.data.convert import convert
from forethought.data.dataset import Dataset
from forethought.data.windows import windows_at
from forethought.types import BoxSpace, Episode, ExperienceSpec, Sensor, SensorKind

FRAMES, SKIP, BATCH, STEPS = 4, 5, 64, 199
EPISODES = {64: 12, 224: 3}
FEW = 16  # windows that a layout without batches is timed on at once, as the slow ones take seconds for a batch
ROWS = STEPS + 1
Read = Callable[[int, int], np.ndarray]
"""One window: (episode, first row) -> (4, H, W, 3)."""
ReadBatch = Callable[[np.ndarray, np.ndarray], object]
Clock = Callable[[], float]


def frames_of(size: int) -> np.ndarray:
    """(episodes, rows, H, W, 3) uint8."""
    rng, y = np.random.default_rng(0), np.arange(size)
    made = np.empty((EPISODES[size], ROWS, size, size, 3), np.uint8)
    for episode in made:
        texture = np.repeat(np.repeat(rng.integers(0, 200, (size // 8, size // 8, 3)), 8, 0), 8, 1)
        centre = size / 2 + np.cumsum(rng.normal(0, size / 60, (ROWS, 2)), 0)
        for frame, (cx, cy) in zip(episode, np.clip(centre, 0, size), strict=True):
            frame[:] = texture + rng.integers(0, 4, (size, size, 1))
            frame[(y[:, None] - cy) ** 2 + (y[None] - cx) ** 2 < (size / 10) ** 2] = 250
    return made


def layouts(frames: np.ndarray, folder: Path) -> Iterator[tuple[str, Path, Callable[[Path], Read | ReadBatch], bool]]:
    """Name, where it lies, how it is opened, and whether it reads whole batches."""
    size = frames.shape[2]
    spec = ExperienceSpec((Sensor("pixels", SensorKind.IMAGE, (size, size, 3), "uint8"),), BoxSpace((-1.0,), (1.0,)))
    zeros = np.zeros((STEPS, 1), np.float32)
    log = write_log(folder / "ours.h5", (Episode(f"{i:03d}", {"pixels": f}, zeros) for i, f in enumerate(frames)), spec)
    Dataset.load(open_log(log), folder=folder / "map")
    yield "Dataset, memory map", folder / "map", lambda path: _dataset(spec, path, len(frames)), True
    yield "HDF5, ours (contiguous)", log, _ours, False
    flat = frames.reshape(-1, *frames.shape[2:])
    for name, compression in (("h5py, chunked", None), ("h5py, a frame a chunk, gzip", "gzip")):
        path, chunks = folder / f"{compression}.h5", (1, *flat.shape[1:]) if compression else True
        with h5py.File(path, "w") as file:
            file.create_dataset("pixels", data=flat, chunks=chunks, compression=compression)
        yield name, path, _flat_hdf5, False
    yield "Minari, iterate_episodes", *_minari(frames, folder), False
    yield "Arrow IPC, memory map", _arrow(flat, folder), lambda path: _arrow_read(path, size), False
    yield "Zarr v3, 16 rows a chunk, zstd", _zarr(flat, folder), _zarr_read, False
    yield "video, h264, key frame every 2", _video(frames, folder), _video_read, False


def _dataset(spec: ExperienceSpec, folder: Path, episodes: int) -> ReadBatch:
    starts = np.arange(episodes, dtype=np.int64) * ROWS
    pixels, actions = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("sensor-0", "actions"))
    ids = tuple(map(str, range(episodes)))
    data = Dataset(spec, ids, starts, np.full(episodes, STEPS), {"pixels": pixels}, actions, np.zeros(episodes, np.bool_))
    return lambda episode, row: windows_at(data, (starts[episode] + row)[:, None] + np.arange(FRAMES) * SKIP, episode, SKIP)


def _ours(path: Path) -> Read:
    file = h5py.File(path, "r")
    pixels = [group["observations/pixels"] for group in file["episodes"].values()]
    return lambda episode, row: pixels[episode][row : row + SKIP * (FRAMES - 1) + 1 : SKIP]


def _flat_hdf5(path: Path) -> Read:
    pixels = h5py.File(path, "r", swmr=True, rdcc_nbytes=path.stat().st_size // 10)["pixels"]
    return lambda episode, row: pixels[episode * ROWS + row : episode * ROWS + row + SKIP * FRAMES][::SKIP]


def _minari(frames: np.ndarray, folder: Path) -> tuple[Path, Callable[[Path], Read]]:
    """Written by minari's own storage, lossless (its default, JPEG, is slower still)."""
    import gymnasium
    from minari import MinariDataset
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    pixels, action = gymnasium.spaces.Box(0, 255, frames.shape[2:], np.uint8), gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    path = folder / "speed" / "random-v0" / "data"
    path.mkdir(parents=True)
    storage = MinariStorage.new(path, pixels, action, data_format="hdf5", jpeg_encoding=False)
    storage.update_metadata({"dataset_id": "speed/random-v0", "minari_version": "0.5.4"})
    zeros, ended = np.zeros((STEPS, 1), np.float32), np.zeros(STEPS, np.bool_)
    for i, episode in enumerate(frames):
        storage.update_episodes([EpisodeBuffer(i, i, None, episode, zeros, zeros[:, 0], ended, ended, {})])

    def opened(data: Path) -> Read:
        dataset = MinariDataset(data)
        span = slice(0, SKIP * (FRAMES - 1) + 1, SKIP)
        return lambda episode, row: next(iter(dataset.iterate_episodes([episode]))).observations[row:][span]

    return path, opened


def _arrow(flat: np.ndarray, folder: Path) -> Path:
    import pyarrow as pa

    path = folder / "frames.arrow"
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(flat[0].nbytes), len(flat), [None, pa.py_buffer(flat)])
    table = pa.table({"pixels": column})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return path


def _arrow_read(path: Path, size: int) -> Read:
    import pyarrow as pa

    column = pa.ipc.open_file(pa.memory_map(str(path))).read_all()["pixels"]

    def read(episode: int, row: int) -> np.ndarray:
        taken = column.take(pa.array(episode * ROWS + row + np.arange(FRAMES) * SKIP)).combine_chunks()
        return np.frombuffer(taken.buffers()[1], np.uint8).reshape(FRAMES, size, size, 3)

    return read


def _zarr(flat: np.ndarray, folder: Path) -> Path:
    import zarr

    array = zarr.create_array(folder / "frames.zarr", shape=flat.shape, dtype="uint8", chunks=(16, *flat.shape[1:]))
    array[:] = flat
    return folder / "frames.zarr"


def _zarr_read(path: Path) -> Read:
    import zarr

    array = zarr.open_array(path, mode="r")
    return lambda episode, row: array[episode * ROWS + row : episode * ROWS + row + SKIP * (FRAMES - 1) + 1 : SKIP]


def _video(frames: np.ndarray, folder: Path) -> Path:
    import av

    (folder / "video").mkdir()
    for i, episode in enumerate(frames):
        with av.open(folder / "video" / f"{i:03d}.mp4", "w") as file:
            stream = file.add_stream("libx264", rate=10, options={"g": "2", "crf": "23"})
            stream.width, stream.height, stream.pix_fmt = frames.shape[3], frames.shape[2], "yuv420p"
            for frame in episode:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
            file.mux(stream.encode(None))
    return folder / "video"


def _video_read(path: Path) -> Read:
    import av

    files = [av.open(one) for one in sorted(path.glob("*.mp4"))]

    def read(episode: int, row: int) -> np.ndarray:
        file, wanted = files[episode], row + np.arange(FRAMES) * SKIP
        stream = file.streams.video[0]
        file.seek(int(row / 10 / stream.time_base), stream=stream)
        found: list[np.ndarray] = []
        for frame in file.decode(stream):
            if round(float(frame.pts * stream.time_base) * 10) == wanted[len(found)]:
                found.append(frame.to_ndarray(format="rgb24"))
                if len(found) == FRAMES:
                    break
        return np.stack(found)

    return read


def picks(episodes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A batch of windows: episodes and first rows."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, episodes, BATCH), rng.integers(0, ROWS - SKIP * FRAMES, BATCH)


def drop(path: Path) -> None:
    """Out of the page cache with it."""
    os.sync()
    for file in [path] if path.is_file() else [entry for entry in path.rglob("*") if entry.is_file()]:
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(
    read: Read | ReadBatch, whole: bool, episodes: int, plain: np.ndarray, seconds: float, clock: Clock = time.process_time
) -> tuple[list[float], list[float], list[float]]:
    """Seconds of each batch, of each call in it, and of one contiguous copy of as many bytes, made right after each batch."""
    began = clock()
    batches: list[float] = []
    calls: list[float] = []
    copies: list[float] = []
    while not batches or clock() - began < seconds:
        episode_B, row_B = picks(episodes, len(batches))
        before = clock()
        if whole:
            read(episode_B, row_B)  # type: ignore[arg-type]
        else:
            calls += _together(read, episode_B[:FEW], row_B[:FEW], clock)
        after = clock()
        at = min(int(episode_B[0]) * ROWS + int(row_B[0]), len(plain) - BATCH * FRAMES)
        plain[at : at + BATCH * FRAMES].copy()
        batches.append((after - before) * (1 if whole else BATCH / FEW))
        copies.append(clock() - after)
    return batches, calls or [_one(read, i, episodes) for i in range(300)], copies


def _together(read: Any, episode_B: np.ndarray, row_B: np.ndarray, clock: Clock) -> list[float]:
    """Put a batch together out of single windows, as a loader does."""
    batch, took = np.empty(0), []
    for i, (episode, row) in enumerate(zip(episode_B.tolist(), row_B.tolist(), strict=True)):
        before = clock()
        window = read(episode, row)
        took.append(clock() - before)
        batch = np.empty((FEW, *window.shape), np.uint8) if i == 0 else batch
        batch[i] = window
    return took


def measure(size: int, seconds: float, lerobot: Path | None = None) -> dict[str, Any]:
    """Every layout at one frame size; LeRobot's too, if there is an interpreter that has it."""
    frames = frames_of(size)
    rows: dict[str, Any] = {}

    def note(what: str, path: Path, cold: float, batches: list[float], calls: list[float], copies: list[float]) -> None:
        files = [path] if path.is_file() else [entry for entry in path.rglob("*") if entry.is_file()]
        size_on_disk, warm = sum(file.stat().st_size for file in files), float(np.median(batches))
        rows[what] = {
            "bytes": size_on_disk,
            "of_raw": size_on_disk / frames.nbytes,
            "cold_windows_per_second": BATCH / cold,
            "warm_windows_per_second": BATCH / warm,
            "p99_ms": float(np.percentile(calls, 99) * 1e3),
            "of_memcpy": float(np.median(copies)) / warm,
        }
        print(f"{size:4} px  {what:32} warm {BATCH / warm:10,.0f}/s  cold {BATCH / cold:8,.0f}/s", flush=True)

    with tempfile.TemporaryDirectory() as name:
        for what, path, opened, whole in layouts(frames, Path(name)):
            drop(path)
            cold, _, _ = timed(opened(path), whole, len(frames), frames.reshape(-1, *frames.shape[2:]), 0, time.perf_counter)
            read = opened(path)
            plain = np.asarray(np.load(Path(name) / "map" / "sensor-0.npy", mmap_mode="r"))
            timed(read, whole, len(frames), plain, 0)
            note(what, path, cold[0], *timed(read, whole, len(frames), plain, seconds))
        for what, video in (("LeRobot's loader, PNG", False), ("LeRobot's loader, video", True)) if lerobot else ():
            path = convert(open_log(Path(name) / "ours.h5"), Path(name) / what, format="lerobot", video=video).path
            found = _lerobot(lerobot, path, Path(name), frames, seconds)
            note(what, path, found["cold"], found["batches"], found["calls"], found["copies"])
    ours = rows["Dataset, memory map"]["warm_windows_per_second"]
    return {what: {**row, "dataset_is_times": ours / row["warm_windows_per_second"]} for what, row in rows.items()}


def _lerobot(python: Path, path: Path, folder: Path, frames: np.ndarray, seconds: float) -> dict[str, Any]:
    """The same windows by LeRobot's own loader."""
    chosen = [picks(len(frames), seed) for seed in range(200)]
    request = {
        "rows": [(episode_B * ROWS + row_B).tolist() for episode_B, row_B in chosen], "seconds": seconds,
        "offsets": [frame * SKIP for frame in range(FRAMES)], "frames": str(folder / "map" / "sensor-0.npy"),
    }  # fmt: skip
    drop(path)
    found = lerobot_loader.measured(python, path, "observation.pixels", request, folder)
    (episode, *_), (row, *_) = chosen[0]
    expected = int(frames[episode, row : row + SKIP * FRAMES : SKIP].sum())
    assert abs(found["first"] / expected - 1) < 0.02, "another window"  # films are a little off
    return found


def _one(read: Read | ReadBatch, seed: int, episodes: int) -> float:
    episode_B, row_B = picks(episodes, seed)
    began = time.process_time()
    read(episode_B[:1], row_B[:1])  # type: ignore[arg-type]
    return time.process_time() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    parser.add_argument("--lerobot", type=Path, nargs="?", const=Path(), help="LeRobot's loader too [by this python]")
    parser.add_argument("--out", type=Path, default=SCORES)
    options = parser.parse_args(arguments)
    lerobot = lerobot_loader.environment() if options.lerobot == Path() else options.lerobot
    sizes = {str(size): measure(size, options.seconds, lerobot) for size in EPISODES}
    figures = {"frames": FRAMES, "frameskip": SKIP, "batch": BATCH, "episodes": EPISODES, "rows_an_episode": ROWS}
    print("written:", write_result(options.out / "data_speed.json", command_line(), {**figures, "pixels": sizes}))


if __name__ == "__main__":
    main()
