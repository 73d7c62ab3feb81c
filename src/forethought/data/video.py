"""Video files, by frame: random access that decodes only what is asked for, within stated memory.

Colour is 8-bit RGB, grey is 8-bit with one channel; grey of more bits (depth maps) is refused, because it would be cut to 8.
"""

from __future__ import annotations

import os
from bisect import bisect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from forethought.data.cache import ByteCache
from forethought.data.extras import optional
from forethought.data.schema import explain
from forethought.errors import DataError
from forethought.types import Array

if TYPE_CHECKING:
    import av

CODEC, PIXEL_FORMAT = "h264", "yuv420p"
"""What `VideoWriter` makes."""
_FRAMES_HELD = 20  # a decoder's reference and reordering frames, for the estimate of its memory
_JUMP = 4  # frames to decode in passing that cost as much as a seek


def _av() -> Any:
    return optional("av", "Video", "video")


@contextmanager
def _reading(path: Path, place: str) -> Iterator[None]:
    try:
        yield
    except (_av().FFmpegError, OSError, ValueError, MemoryError, OverflowError, EOFError) as error:
        raise DataError(f"is no whole video ({explain(error)}); copy or encode it again", path, place) from None


@final
class Videos:
    """Frames of many video files. Open decoders and decoded frames are kept, up to so many bytes each."""

    def __init__(self, decoder_bytes: int = 2**26, frame_bytes: int = 2**26) -> None:
        self._decoders = ByteCache[tuple[int, Path], _Decoder](decoder_bytes, lambda decoder: decoder.bytes)
        self._frames = ByteCache[tuple[Path, int], Array](frame_bytes, lambda frame: frame.nbytes)

    def shape(self, path: Path) -> tuple[int, int, int]:
        """(height, width, channels) of every frame. Raises DataError."""
        return self._decoder(path).shape

    def times(self, path: Path) -> NDArray[np.float64]:
        """When each frame is shown, in seconds, ascending. Raises DataError."""
        return self._decoder(path).times

    def frames_at(self, path: Path, seconds: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The frame nearest to each time, (n, H, W, C). Raises DataError if one is more than half a frame away."""
        times = self.times(path)
        after = np.clip(np.searchsorted(times, seconds), 1, max(1, len(times) - 1))
        number = np.where(seconds - times[after - 1] <= times[after % len(times)] - seconds, after - 1, after % len(times))
        tolerance = 0.5 * float(np.median(np.diff(times))) if len(times) > 1 else 0.5
        far = np.abs(times[number] - seconds)
        if far.size and not far.max() <= tolerance:
            at = float(seconds[int(np.argmax(far))])
            got = f"no frame within {tolerance:.4g} s of {at:.4g} s among {len(times)} up to {times[-1]:.4g} s"
            raise DataError(f"got {got}; the video and its table do not belong together, make them agree", path)
        return self.frames(path, number.tolist())

    def frames(self, path: Path, numbers: Sequence[int]) -> NDArray[np.uint8]:
        """Frames by number, in the order asked for, (n, H, W, C). Raises DataError."""
        decoder = self._decoder(path)
        if numbers and not 0 <= min(numbers) <= max(numbers) < len(decoder.times):
            raise DataError(f"got frame {max(numbers)} of {len(decoder.times)}; ask for one that is there", path)
        places: dict[int, list[int]] = {}
        for place, number in enumerate(numbers):
            places.setdefault(number, []).append(place)
        with _reading(path, ""):
            result = np.empty((len(numbers), *decoder.shape), np.uint8)
        keep = result.nbytes <= self._frames.limit  # a scan would only push out what others use
        found = {number: self._frames.get((path, number)) for number in places}
        for number, frame in found.items():
            if frame is not None:
                result[places[number]] = frame
        for number, frame in decoder.read(sorted(number for number, frame in found.items() if frame is None)):
            result[places[number]] = frame
            if keep:
                self._frames.put((path, number), frame)
        return result

    def _decoder(self, path: Path) -> _Decoder:
        key = (os.getpid(), path)  # a forked process shares the position in the file: it opens its own
        decoder = self._decoders.get(key)
        if decoder is None:
            decoder = _Decoder(path)
            self._decoders.put(key, decoder)
        return decoder


@final
class _Decoder:
    """One open file: where its frames are (from its packets, nothing is decoded for that), and a decoder that moves on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _reading(path, ""):
            self._file = _av().open(str(path))
            videos = self._file.streams.video
        if not videos:
            raise DataError("has no video in it; give a file with one video stream", path)
        self._stream = videos[0]
        self._last = 0  # the number of the frame decoded last
        self.shape = _shape(self._stream, path)
        height, width, _ = self.shape
        self._stream.codec_context.options = {"err_detect": "explode", "max_pixels": str(height * width + 2**16)}
        with _reading(path, ""):
            self._scan()
        self.bytes = self.times.nbytes * 3 + height * width * 3 // 2 * _FRAMES_HELD
        self._frames: Iterator[av.VideoFrame] = iter(())

    def _scan(self) -> None:
        packets = [p for p in self._file.demux(self._stream) if p.size and p.pts is not None and not p.is_discard]
        packets.sort(key=lambda packet: packet.pts)
        pts, base = [packet.pts for packet in packets], self._stream.time_base
        if not pts or base is None:
            raise DataError("holds no frames; record it again", self._path)
        self._number = {at: number for number, at in enumerate(pts)}
        keys = [n for n, packet in enumerate(packets) if packet.is_keyframe]
        self._keys = [(n, pts[n] if packets[n].dts is None else packets[n].dts) for n in keys or [0]]
        self._pts, self._last = pts, len(pts)  # as if past the end: the first reading seeks
        self.times = np.asarray(pts, np.float64) * float(base)

    def read(self, numbers: Sequence[int]) -> Iterator[tuple[int, Array]]:
        """Frames of these ascending numbers."""
        for number in numbers:
            with _reading(self._path, f"frame {number}"):
                image = self._array(self._reach(number), number)
            yield number, image

    def _reach(self, number: int) -> av.VideoFrame:
        """Decode up to a frame, from where we are or from a key frame before it, whichever is nearer."""
        place = bisect(self._keys, number, key=itemgetter(0)) - 1
        while place >= 0:
            if number <= self._last or self._keys[place][0] - self._last > _JUMP:
                self._seek(place)
            for frame in self._frames:
                self._last = self._number.get(frame.pts, self._last)
                if frame.pts >= self._pts[number]:
                    break
            if self._last == number:
                return frame
            self._last, place = len(self._pts), place - 1  # the seek went too far, or the frame did not decode
        raise ValueError("this frame cannot be decoded")

    def _seek(self, place: int) -> None:
        number, dts = self._keys[place]
        self._file.seek(dts, stream=self._stream)
        self._frames, self._last = self._file.decode(self._stream), number - 1

    def _array(self, frame: av.VideoFrame, number: int) -> Array:
        height, width, channels = self.shape
        if frame.is_corrupt or (frame.height, frame.width) != (height, width):
            raise ValueError(f"frame {number} is damaged")
        image: Array = frame.to_ndarray(format="rgb24" if channels == 3 else "gray")
        return image.reshape(self.shape)


def _shape(stream: av.VideoStream, path: Path) -> tuple[int, int, int]:
    context = stream.codec_context
    if context is None:  # its own stubs say it never is; for a damaged codec tag it is
        raise DataError("is coded in a way that is not known; encode it again", path)
    if context.width < 1 or context.height < 1 or context.pix_fmt is None:
        raise DataError(f"got {context.width} x {context.height} pixels, expected a picture; encode it again", path)
    if not context.pix_fmt.startswith("gray"):
        return context.height, context.width, 3
    if context.pix_fmt != "gray":
        raise DataError(f"got {context.pix_fmt}, grey of more than 8 bits (a depth map?); leave it out or scale it to 8", path)
    return context.height, context.width, 1


@final
class VideoWriter:
    """Encodes RGB frames as H.264 in MP4: 4:2:0, every second frame a key frame, so any frame is two decodings away.

    `crf` is the quality (0 best, 51 worst); height and width must be even. Raises DataError.
    """

    def __init__(self, path: Path, height: int, width: int, rate: float, *, crf: int = 18) -> None:
        if height % 2 or width % 2:
            raise DataError(f"got {height} x {width} pixels, 4:2:0 video needs even numbers; crop it", path)
        self.path, self.num_frames = path, 0
        with self._writing():
            self._file = _av().open(str(path), "w", format="mp4")
            self._stream = self._file.add_stream(
                "libx264", rate=Fraction(rate).limit_denominator(10**4), options={"crf": str(crf), "bf": "0", "threads": "1"}
            )
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, PIXEL_FORMAT
        self._stream.codec_context.gop_size = 2

    def write(self, frames_NHWC: NDArray[np.uint8]) -> None:
        """Append frames."""
        for image in frames_NHWC:
            frame = _av().VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, self.num_frames = self.num_frames, self.num_frames + 1
            with self._writing():
                self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        with self._writing():
            self._file.mux(self._stream.encode(None))
            self._file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (_av().FFmpegError, OSError) as error:
            raise DataError(f"cannot be written ({explain(error)}); free space or choose another place", self.path) from error
