"""What TFDS writes beside its records: `features.json` (what a step holds) and `dataset_info.json` (splits and shards)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from forethought.data.formats.tfrecord import Record, find_records
from forethought.data.schema import explain
from forethought.errors import DataError

_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


@final
@dataclass(frozen=True)
class Feature:
    """One feature of a step: its key within the step, its shape ((): one number) and its dtype; image: PNG or JPEG bytes."""

    key: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    image: bool = False

    @property
    def is_numeric(self) -> bool:
        """Can it be read as numbers of a fixed shape?"""
        if self.image:
            return self.dtype in ("uint8", "uint16")
        return self.dtype in _DTYPES and min(self.shape, default=1) > 0


_DTYPES = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)} | {"bool", "float16", "float32", "float64"}


def find_episodes(path: Path) -> Iterator[tuple[str, Record]]:
    """Id and record of every episode, split by split. Raises DataError."""
    file = path / "dataset_info.json"
    info = _json(file)
    if info.get("fileFormat", "tfrecord") != "tfrecord":
        raise DataError(f"got fileFormat {info['fileFormat']!r}, expected 'tfrecord'; prepare it as that", file)
    seen = set()
    for split in _list(info.get("splits"), file, "splits"):
        split = split if isinstance(split, dict) else {}
        name, lengths = str(split.get("name")), _list(split.get("shardLengths"), file, "shardLengths")
        if name in seen:
            raise DataError(f"the split {name!r} is there twice", file, "splits")
        seen.add(name)
        records = []
        for shard, length in enumerate(lengths):
            template = str(split.get("filepathTemplate") or _TEMPLATE)
            of = {"DATASET": info.get("name"), "SPLIT": name, "FILEFORMAT": "tfrecord"}
            of |= {"SHARD_X_OF_Y": f"{shard:05d}-of-{len(lengths):05d}"}
            for key, value in of.items():
                template = template.replace("{" + key + "}", str(value))
            if Path(template).name != template or "\x00" in template:
                raise DataError(f"got the file name {template[:80]!r}, expected one in this folder", file, "splits")
            found = find_records(path / template)
            if str(len(found)) != str(length):
                raise DataError(f"got {len(found)} records, dataset_info.json says {length}", path / template)
            records += found
        yield from ((f"{name}-{number:06d}", record) for number, record in enumerate(records))


def step_features(path: Path) -> dict[str, Feature]:
    """Every feature of a step, by its key below `steps`. Raises DataError."""
    file = path / "features.json"
    steps = _inside(_json(file), "featuresDict", "features", "steps", "sequence", "feature")
    found = dict(_leaves(steps, ""))
    if not found:
        raise DataError("got no features below 'steps'; is this an RLDS dataset?", file)
    return found


def _leaves(node: dict[str, Any], key: str) -> Iterator[tuple[str, Feature]]:
    children = _inside(node, "featuresDict", "features")
    for name in children:
        yield from _leaves(_inside(children, name), f"{key}/{name}".lstrip("/"))
    if children or not key:
        return
    image = isinstance(node.get("image"), dict)
    about = _inside(node, "image" if image else "tensor")
    plain = image or about.get("encoding", "none") == "none"
    try:
        shape = tuple(int(str(size)) for size in _inside(about, "shape").get("dimensions") or ())
    except (ValueError, TypeError):
        shape, plain = (), False
    yield key, Feature(key, shape, str(about.get("dtype") or ("uint8" if image else "")) if plain else "", image)


def episode_features(path: Path) -> tuple[str, ...]:
    """What features.json says each episode has besides its steps, in words. Raises DataError."""
    features = _inside(_json(path / "features.json"), "featuresDict", "features")
    return tuple(f"'{name}' of each episode" for name in sorted(features) if name != "steps")


def _inside(node: Any, *names: str) -> dict[str, Any]:
    for name in names:
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}


def _list(value: Any, file: Path, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise DataError(f"got {str(value)[:80]}, expected a list", file, place)
    return value


def _json(file: Path) -> dict[str, Any]:
    try:
        return _inside({"": json.loads(file.read_text(encoding="utf-8"))}, "")
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be read as JSON ({explain(error)}); copy it again", file) from None
