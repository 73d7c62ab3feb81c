"""PNG files without an image library."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from forethought.errors import UsageError

_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> PNG colour type: grey, grey + alpha, RGB, RGBA


def encode_png(image_HWC: NDArray[np.uint8]) -> bytes:
    """A uint8 image (H, W) or (H, W, 1 to 4) as a PNG file.

    >>> encode_png(np.zeros((2, 2, 3), np.uint8))[:4]
    b'\\x89PNG'
    """
    image = image_HWC[..., None] if image_HWC.ndim == 2 else image_HWC
    if image.ndim != 3 or image.shape[2] not in _COLOUR_TYPE or image.dtype != np.uint8 or not image.size:
        raise UsageError(f"got an image of shape {image_HWC.shape} and dtype {image_HWC.dtype}, expected uint8 (H, W, 1 to 4)")
    height, width, channels = image.shape
    rows = np.zeros((height, 1 + width * channels), dtype=np.uint8)  # a leading 0 per row: no filter
    rows[:, 1:] = image.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)
    parts = (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
