"""TFRecord files and the `tf.train.Example` inside each record, without TensorFlow.

Layout: TensorFlow's tfrecord page and example.proto: length (8 bytes), masked CRC-32C of it, data, masked CRC-32C of the data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from forethought.data.extras import optional
from forethought.errors import DataError
from forethought.types import Array

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types


@final
@dataclass(frozen=True)
class Record:
    """Where one record's data lies."""

    path: Path
    number: int
    start: int
    length: int

    @property
    def place(self) -> str:
        return f"record {self.number}"


def find_records(path: Path) -> list[Record]:
    """The records of a file, by their lengths alone, checked against their checksums and the file's size. Raises DataError."""
    found: list[Record] = []
    try:
        size, at = path.stat().st_size, 0
        with path.open("rb") as file:
            while at < size:
                file.seek(at)
                header = file.read(12)
                place = f"record {len(found)}"
                if len(header) < 12:
                    raise DataError("the file ends within a record's length; copy it again", path, place)
                length, checksum = struct.unpack("<QI", header)
                if masked_crc(header[:8]) != checksum:
                    raise DataError("the checksum of the record's length is wrong; copy the file again", path, place)
                if at + 16 + length > size:
                    raise DataError(f"got a record of {length} bytes in a file of {size}; copy it again", path, place)
                found.append(Record(path, len(found), at + 12, length))
                at += 16 + length
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror}); is the shard missing?", path) from None
    return found


def read_record(record: Record) -> bytes:
    """A record's data, checked against its checksum. Raises DataError."""
    try:
        with record.path.open("rb") as file:
            file.seek(record.start)
            data, checksum = file.read(record.length), file.read(4)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", record.path, record.place) from None
    if struct.pack("<I", masked_crc(data)) != checksum:
        raise DataError("the checksum of the record's data is wrong; copy the file again", record.path, record.place)
    return data


def masked_crc(data: bytes) -> int:
    """TFRecord's checksum: CRC-32C, rotated right by 15 bits, plus a constant."""
    checksum: int = optional("crc32c", "reading TFRecord", "rlds").crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def parse_example(data: bytes) -> dict[str, memoryview]:
    """The features of a `tf.train.Example`, not yet decoded. Raises ValueError."""
    features: dict[str, memoryview] = {}
    for body in _messages(memoryview(data), 1):
        for entry in _messages(body, 1):
            name = b"".join(bytes(part) for part in _messages(entry, 1)).decode("utf-8")
            features[name] = next(iter(_messages(entry, 2)), memoryview(b""))
    return features


def decode(feature: memoryview) -> list[bytes] | Array:
    """A feature's values: byte strings, float32 or int64; packed or not. Raises ValueError."""
    for number, body in _fields(feature):
        values = list(_fields(body))
        if number == 1:
            return [bytes(value) for _, value in values]
        raw = b"".join(bytes(value) for _, value in values)
        if number == 2:
            return np.frombuffer(raw, "<f4")
        if number == 3:
            return _varints(np.frombuffer(raw, np.uint8))
    return np.empty(0, np.int64)


def _varints(raw: Array) -> Array:
    """Numbers of 7 bits a byte, lowest first, whose last byte is below 128."""
    if not len(raw):
        return np.empty(0, np.int64)
    if raw[-1] >= 128:
        raise ValueError("a number has no end")
    ends = np.flatnonzero(raw < 128)
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if sizes.max() > 10:
        raise ValueError("a number of more than 10 bytes")
    shifts = (np.arange(len(raw)) - np.repeat(starts, sizes)).astype(np.uint64) * np.uint64(7)
    parts = (raw & np.uint8(127)).astype(np.uint64) << shifts
    return np.add.reduceat(parts, starts).view(np.int64)


def _messages(data: memoryview, wanted: int) -> Iterator[memoryview]:
    return (value for number, value in _fields(data) if number == wanted)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Each field's number and its bytes, whatever its wire type. Raises ValueError."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire, start = tag & 7, at
        if wire == _VARINT:
            _, at = _varint(data, at)
        elif wire == _BYTES:
            length, start = _varint(data, at)
            at = start + length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at > len(data):
            raise ValueError("a field is longer than its message")
        yield tag >> 3, data[start:at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[at : at + 10]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise ValueError("a number has no end")
