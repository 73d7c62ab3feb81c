"""Damage to logs, seeded: one harness for every format. Register a format with a function that writes a small log of it."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from attack import attacks, touched

from forethought.data import open_log, open_writer, write_log
from forethought.errors import DataError
from forethought.testing.reader import _example
from forethought.types import BoxSpace

Builder = Callable[[Path], Path]
FIXTURES = Path(__file__).parent / "fixtures"


def _ours(suffix: str) -> Builder:
    spec, episodes = _example(BoxSpace((-1.0, 0.0), (1.0, 5.0)))
    return lambda folder: write_log(folder / f"log{suffix}", episodes, spec)


def _folder(folder: Path) -> Path:
    """What a Recorder writes."""
    spec, episodes = _example(BoxSpace((-1.0, 0.0), (1.0, 5.0)))
    writer = open_writer(folder / "log.npz", spec)
    for episode in episodes:
        writer.append(episode)
    writer.close()
    return folder / "log.npz"


def _dialect(name: str) -> Builder:
    def build(folder: Path) -> Path:
        import test_data_dialects

        return test_data_dialects.MAKERS[name](folder / "log.h5")

    return build


def _replay_buffer(folder: Path) -> Path:
    import test_data_replay_buffer

    return test_data_replay_buffer.buffer(folder / "log.zarr", 2)


def _bag(folder: Path) -> Path:
    import test_data_mcap

    return test_data_mcap.bag(folder / "log.mcap", 0.8)


def _rlds(folder: Path) -> Path:
    import test_data_rlds

    return test_data_rlds.dataset(folder / "log")


def _videos(folder: Path) -> Path:
    import test_data_video_folder

    return test_data_video_folder.folder(folder / "log")


def _copy(source: str) -> Builder:
    return lambda folder: Path(shutil.copytree(FIXTURES / source, folder / "log"))


BUILDERS: list[tuple[str, Builder]] = [
    ("hdf5", _ours(".h5")),
    ("npz", _ours(".npz")),
    ("npz-folder", _folder),
    ("zarr", _ours(".zarr")),
    ("robomimic", _dialect("robomimic")),
    ("d4rl", _dialect("d4rl")),
    ("stable-worldmodel", _dialect("stable-worldmodel")),
    ("minari-hdf5", _copy("minari/hdf5/fixture/pointmaze-umaze-v0")),
    ("minari-arrow", _copy("minari/arrow/fixture/pointmaze-umaze-v0")),
    ("replay-buffer", _replay_buffer),
    ("mcap", _bag),
    ("lerobot", _copy("lerobot_v3_two_cameras")),
    ("rlds", _rlds),
    ("video-folder", _videos),
]


def mutate(log: Path, seed: int) -> str:
    """Damage one file of a log in place; says how."""
    rng = random.Random(seed)
    files = sorted(path for path in [log, *log.rglob("*")] if path.is_file())
    path = rng.choice(files)
    if rng.random() < 0.2:
        attack = rng.choice(attacks(path))
        attack(path, rng)
        return f"seed {seed}: {attack.__name__.strip('_')} {path.name}"
    data = bytearray(path.read_bytes())
    kinds = [_truncate, _flip, _flip, _cut, _repeat, _zero, _huge]
    kind = _lie if path.suffix == ".json" and rng.random() < 0.7 else rng.choice(kinds)
    path.write_bytes(kind(data, rng))
    return f"seed {seed}: {kind.__name__.strip('_')} {path.name}"


def read_everything(path: Path) -> str:
    """ "read" or "refused", and nothing on disk is different. All else raises."""
    before = fingerprint(path)
    del touched[:]
    try:
        log = open_log(path)
        log.lengths(), log.ids()
        for episode in log:
            np.concatenate([values.reshape(-1)[:1] for values in episode.observations.values()])
        refusal = None
    except DataError as error:
        refusal = error
    if refusal is not None:
        assert refusal.path is not None and str(path) in refusal.path, f"names another file: {refusal}"
        assert len(str(refusal)) < 2000
    assert fingerprint(path) == before, "reading changed files"
    assert not touched, f"a file out of the log was to be opened: {touched[0]}"
    return "refused" if refusal else "read"


def fingerprint(path: Path) -> str:
    """All files' names and bytes."""
    digest = hashlib.sha256()
    for file in sorted([path, *path.parent.rglob("*")]):
        linked = os.readlink(file).encode() if file.is_symlink() else b""
        digest.update(str(file).encode() + linked + (file.read_bytes() if file.is_file() and not linked else b""))
    return digest.hexdigest()


def _truncate(data: bytearray, rng: random.Random) -> bytes:
    return bytes(data[: rng.randrange(len(data) + 1)])


def _flip(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 4, 64))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _cut(data: bytearray, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return bytes(data[:at] + data[at + rng.randrange(1, 512) :])


def _repeat(data: bytearray, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(data) + 1), rng.randrange(1, 512)
    return bytes(data[: at + size] + data[at:])


def _zero(data: bytearray, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(data) + 1), rng.randrange(1, 512)
    return bytes(data[:at] + bytes(min(size, len(data) - at)) + data[at + size :])


def _huge(data: bytearray, rng: random.Random) -> bytes:
    """A length field, perhaps, that says 2**40 or -1."""
    at = rng.randrange(len(data) // 8 + 1) * 8
    data[at : at + 8] = rng.choice((2**40, 2**63 - 1, 2**64 - 1, 2**31)).to_bytes(8, "little")
    return bytes(data)


def _lie(data: bytearray, rng: random.Random) -> bytes:
    """One number in a JSON file is another."""
    text = data.decode("utf-8")
    numbers = list(re.finditer(r"-?\d+(\.\d+)?", text))
    if not numbers:
        return bytes(data[:-1])
    found = rng.choice(numbers)
    lie = rng.choice(("-1", "0", "99999999999", "1e400", "null", '"x"', "[]"))
    return (text[: found.start()] + lie + text[found.end() :]).encode()
