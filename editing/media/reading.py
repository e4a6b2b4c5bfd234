"""Video files as clips. Decoding is PyAV's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Lock

import av
import numpy as np
from av.video.reformatter import Interpolation
from jaxtyping import UInt8

from regrain.editing.errors import ClipError, shorten
from regrain.editing.media.clip import AudioSpan, ColorTags, check_size, stack, used_frames
from regrain.editing.media.images import ImageClip
from regrain.editing.media.index import Index, decode, read_index
from regrain.editing.media.lazy_frames import check_window

# Matrices that FFmpeg converts (not YCgCo, constant luminance, ICtCp ...), as numbered by ISO/IEC 23091-2.
_SUPPORTED = (0, 1, 2, 4, 5, 6, 7, 9)
_UNSPECIFIED = 2
# Without these a round trip through RGB darkens every pixel by one level.
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


class VideoClip:
    """A video file; see `open_clip`. Frames are read in stored order, whatever their times."""

    def __init__(
        self, path: Path, start: int = 0, stride: int = 1, frames: int | None = None
    ) -> None:
        self.path, self.start, self.stride, self.name = path, start, stride, path.name
        index, facts = read_index(path)
        self._used = used_frames(index.count, start, stride, frames)
        self.fps = index.fps / stride
        first = next(decode(path), None)
        if first is None:
            raise ClipError(
                "clip.path", f"{shorten(path.name)} has no readable frames. Re-encode it."
            )
        self._pixel, self.warnings = facts.pixel, list[str]()
        name = shorten(path.name)
        if int(first.colorspace) not in _SUPPORTED:
            self.warnings.append(f"{name} has colours in a rare form; they may be a little off.")
        if facts.lacking > 1:  # some AVI files count one too many
            has = f"it has {index.count} frames, and {facts.lacking} are missing."
            self.warnings.append(f"{name} is cut off: {has}")
        check_size(_square(first.width, first.height, self._pixel))  # before it is made
        self.size = _upright(first, self._pixel).shape[1::-1]
        self.tags = _tags_of(first)
        begin, end = index.at(start), index.at(start + stride * len(self))
        self.times = tuple(index.at(frame) - begin for frame in self._used) if index.times else None
        self.duration = end - begin
        self.audio = AudioSpan(path, begin, end) if facts.has_audio else None
        self.comment = facts.comment
        self._lock, self._decoder = Lock(), _Decoder(path, index)

    def __len__(self) -> int:
        return len(self._used)

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """See `Clip.read`.

        A call that continues where the last one ended decodes nothing twice. Any other starts at the key
        frame before, or at the first frame of files that cannot be entered elsewhere.
        """
        check_window(start, stop, len(self))
        with self._lock:
            decoded = map(self._decoder.read, self._used[start:stop])
            return stack([_upright(frame, self._pixel) for frame in decoded], self.size)


class _Decoder:
    """Decodes frames of a file by number: the same frames, in any order, as one after the other.

    Frames decoded from a key frame on must have the time stamps of the index. Where they do not, frames are
    counted from the first one, which is exact in every container.
    """

    def __init__(self, path: Path, index: Index) -> None:
        self._path, self._index = path, index
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._next = -1  # the frame that comes next; -1 before the first call
        self._entered = False  # whether decoding began at a key frame

    def read(self, number: int) -> av.VideoFrame:
        """Decode a frame, counted from 0; ClipError if it cannot be."""
        key = self._index.key_before(number)
        if key and (self._next < 0 or not key[1] <= self._next <= number):
            self._enter(*key)
        elif not 0 <= self._next <= number:
            self._enter(None, 0)
        try:
            return self._advance(number)
        except (LookupError, ClipError):
            if not self._entered:
                raise
        self._distrust()
        self._enter(None, 0)
        return self._advance(number)

    def _enter(self, key: int | None, frame: int) -> None:
        self._frames, self._next, self._entered = decode(self._path, key), frame, key is not None

    def _distrust(self) -> None:
        self._index = replace(self._index, pts=(), keys=())

    def _advance(self, number: int) -> av.VideoFrame:
        frame = None
        while self._next <= number:
            frame = next(self._frames, None)
            if frame is None:
                self._next = -1
                name = shorten(self._path.name)
                raise ClipError(
                    "clip.path", f"{name} ends before frame {number}. Trim or re-encode it."
                )
            if self._index.pts and frame.pts != self._index.pts[self._next]:
                if self._entered:
                    raise LookupError("a frame has another time stamp than its packet")
                self._distrust()
            self._next += 1
        assert frame is not None
        return frame


def _square(width: int, height: int, pixel: Fraction) -> tuple[int, int]:
    """Size of a frame after making its pixels, `pixel` times as wide as high, square; no side shrinks."""
    return (round(width * pixel), height) if pixel > 1 else (width, round(height / pixel))


def _upright(frame: av.VideoFrame, pixel: Fraction) -> UInt8[np.ndarray, "height width 3"]:
    width, height = _square(frame.width, frame.height, pixel)
    if int(frame.colorspace) not in _SUPPORTED:
        frame.colorspace = _UNSPECIFIED  # as players do
    rgb = frame.reformat(width, height, "rgb24", interpolation=EXACT, threads=1)
    return np.rot90(rgb.to_ndarray(), frame.rotation // 90)


def _tags_of(frame: av.VideoFrame) -> ColorTags:
    if frame.format.is_rgb:
        return ColorTags()
    return ColorTags(
        int(frame.colorspace),
        int(frame.color_range),
        int(frame.color_primaries),
        int(frame.color_trc),
    )


def open_clip(
    path: str | Path, start: int = 0, stride: int = 1, frames: int | None = None
) -> VideoClip | ImageClip:
    """Open a video file or a folder of images.

    Args:
        path: Local path; URLs are refused.
        start: First frame used.
        stride: Use every stride-th frame; fps is divided by it.
        frames: Number of frames used; None uses all.

    Raises:
        ClipError: The file is missing or not a readable video, or a number is out of range of its frames.
    """
    if "://" in str(path):
        said = f"{shorten(str(path))} is a URL. Download it first and use the local file."
        raise ClipError("clip.path", said)
    path = Path(path)
    if os.path.isdir(path):  # unlike Path.is_dir, does not raise for a name that is too long
        return ImageClip(path, start, stride, frames)
    if not os.path.isfile(path):
        message = f"{shorten(str(path))} does not exist. Use a video file or a folder of images."
        raise ClipError("clip.path", message)
    return VideoClip(path, start, stride, frames)
