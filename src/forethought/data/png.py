"""PNG files without an image library, and the few drawing operations that reports need."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from forethought.errors import UsageError
from forethought.types import Array

_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> PNG colour type: grey, grey + alpha, RGB, RGBA
# 3x5 glyphs, one octal digit a row, top row first.
_ROWS = (
    "25755 65656 34443 65556 74647 74644 34553 55755 72227 11152 55655 44447 57755 57775 25552 65644 25573 65655 "
    "34216 72222 55557 55552 55775 55255 55222 71247 75557 26227 71747 71717 55711 74717 74757 71222 75757 75717 "
    "00002 00700 00007 02020 11244 64446 31113 51245 02720 00000"
)
_GLYPHS = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:/[]%+ ", _ROWS.split(" "), strict=True))


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


def draw_text(image: NDArray[np.uint8], text: str, top: int, left: int, scale: int = 2, ink: Array | int = 40) -> None:
    """Write small capitals into an image (H, W, 3), in place; what does not fit is cut off."""
    for place, character in enumerate(text.upper()):
        rows = [int(digit, 8) for digit in _GLYPHS.get(character, _GLYPHS["-"])]
        bits = np.array([[row >> 2 & 1, row >> 1 & 1, row & 1] for row in rows], dtype=bool)
        glyph = np.kron(bits, np.ones((scale, scale), dtype=bool)).astype(bool)
        at = left + place * 4 * scale
        target = image[top : top + 5 * scale, at : at + 3 * scale]
        target[glyph[: target.shape[0], : target.shape[1]]] = ink


def fit(image: Array, height: int, width: int) -> NDArray[np.uint8]:
    """Any image (H, W, C) as RGB (height, width, 3), nearest neighbour, centred, its proportions kept."""
    colour = np.repeat(image[..., :1], 3, axis=2) if image.shape[2] < 3 else image[..., :3]
    factor = min(height / image.shape[0], width / image.shape[1])
    tall, wide = max(1, int(image.shape[0] * factor)), max(1, int(image.shape[1] * factor))
    rows, columns = np.arange(tall) * image.shape[0] // tall, np.arange(wide) * image.shape[1] // wide
    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    top, left = (height - tall) // 2, (width - wide) // 2
    canvas[top : top + tall, left : left + wide] = colour[rows[:, None], columns[None]]
    return canvas


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
