"""Logs that somebody made on purpose: bombs, circles, and paths that lead out. Each function rewrites one file in place."""

from __future__ import annotations

import functools
import io
import json
import random
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

Attack = Callable[[Path, random.Random], None]
OUTSIDE = "outside-of-the-log"
BOMB = 5 * 2**28  # bytes that unpack from about a megabyte
touched: list[str] = []
"""Files out there that somebody tried to open."""


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and OUTSIDE in str(arguments[0]):
        touched.append(str(arguments[0]))


sys.addaudithook(_watch)


def attacks(path: Path) -> list[Attack]:
    """What can be done to a file."""
    by_suffix: dict[str, list[Attack]] = {
        ".json": [_wander], ".jsonl": [_wander], ".npz": [_zip_bomb, _zip_climb], ".zip": [_zip_bomb, _zip_climb],
        ".h5": [_hdf5_bomb, _hdf5_outside], ".hdf5": [_hdf5_bomb, _hdf5_outside], ".parquet": [_parquet_bomb],
    }  # fmt: skip
    return [_circle, *by_suffix.get(path.suffix, [])]


def _circle(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(rng.choice((path.name, ".")))


def _wander(path: Path, rng: random.Random) -> None:
    """A text in a JSON file is a path that leads out."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    records = [json.loads(line) for line in lines if line.strip()]
    places = [place for record in records for place in _texts(record)]
    if places:
        holder, key = rng.choice(places)
        out = rng.choice((f"../../{OUTSIDE}/", f"/{OUTSIDE}/", f"{OUTSIDE}/../../../"))
        holder[key] = out + str(holder[key])
    path.write_text("\n".join(map(json.dumps, records)))


def _texts(value: object) -> list[tuple[object, object]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: list[tuple[object, object]] = []
    for key, inside in items:
        found += [(value, key)] if isinstance(inside, str) else _texts(inside)
    return found


@functools.cache
def _deflated_zeros() -> bytes:
    """A raw deflate stream of BOMB zeros: one block that may follow itself, many times."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = pack.compress(bytes(2**20)) + pack.flush(zlib.Z_FULL_FLUSH)
    return block * (BOMB // 2**20)


def _zip_bomb(path: Path, rng: random.Random) -> None:
    """One member declares and holds BOMB zeros."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    bombed = rng.choice([name for name in members if not name.startswith("spec")])
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (BOMB // 4,)})
    begun = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = begun.compress(head.getvalue()) + begun.flush(zlib.Z_FULL_FLUSH) + _deflated_zeros() + b"\x03\x00"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data if name != bombed else body)
        info = archive.getinfo(bombed)
        info.compress_type, info.file_size = (
            zipfile.ZIP_DEFLATED,
            len(head.getvalue()) + BOMB,
        )  # the directory at the end says so


def _zip_climb(path: Path, rng: random.Random) -> None:
    """A member's name leads out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    bad = rng.choice(list(members))
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name if name != bad else f"episodes/../../{OUTSIDE}/{name}", data)


def _datasets(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, node: found.append(name) if isinstance(node, h5py.Dataset) and node.shape else None)
    return found


def _hdf5_bomb(path: Path, rng: random.Random) -> None:
    """A dataset of BOMB zeros, compressed."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(_datasets(file))
        dtype, rest = file[name].dtype, file[name].shape[1:]
        if dtype.kind == "O":
            return
        row = max(1, int(np.prod(rest))) * dtype.itemsize
        rows = max(1, 2**26 // row)
        del file[name]
        made = file.create_dataset(name, (rows * (BOMB // 2**26), *rest), dtype, chunks=(rows, *rest), compression="gzip")
        packed = zlib.compress(bytes(rows * row), 1)
        for chunk in range(BOMB // 2**26):
            made.id.write_direct_chunk((chunk * rows, *(0 for _ in rest)), packed)


def _hdf5_outside(path: Path, rng: random.Random) -> None:
    """A dataset that is a circle of links, or lies in another file."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(_datasets(file))
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        kind = rng.randrange(4)
        if kind == 0:
            file[name] = h5py.SoftLink(f"/{name}")
        elif kind == 1:
            file[name] = h5py.ExternalLink(f"../{OUTSIDE}.h5", "/x")
        elif kind == 2 and dtype.kind != "O":
            file.create_dataset(name, shape, dtype, external=[(f"/{OUTSIDE}.bin", 0, h5py.h5f.UNLIMITED)])
        elif dtype.kind != "O":
            layout = h5py.VirtualLayout(shape, dtype)
            layout[...] = h5py.VirtualSource(f"../{OUTSIDE}.h5", "x", shape)
            file.create_virtual_dataset(name, layout)


def _parquet_bomb(path: Path, rng: random.Random) -> None:
    """Sixteen million rows of nothing, in little space."""
    parquet = __import__("pyarrow.parquet").parquet
    path.write_bytes(_empty_rows(parquet.read_schema(path)))


@functools.cache
def _empty_rows(schema: object) -> bytes:
    arrow = __import__("pyarrow.parquet")
    rows, buffer = 2**17, io.BytesIO()
    table = arrow.table([arrow.nulls(rows, field.type) for field in schema], schema=schema)  # type: ignore[attr-defined]
    with arrow.parquet.ParquetWriter(buffer, schema) as writer:
        for _ in range(2**24 // rows):
            writer.write_table(table)
    return buffer.getvalue()


def warm(log: Path) -> None:
    """Build what attacks on this log need, before memory is limited: it is the reader's memory that is measured."""
    for path in log.rglob("*.parquet"):
        _empty_rows(__import__("pyarrow.parquet").parquet.read_schema(path))
