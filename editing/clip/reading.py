"""Video files as clips. Decoding is PyAV's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from threading import Lock

import av
import numpy as np
from av.video.reformatter import Interpolation
from jaxtyping import UInt8

from editing.clip.values import (
    DEFAULT_FPS,
    AudioSpan,
    ColorTags,
    check_size,
    check_window,
    stack,
    used_frames,
)
from editing.errors import ClipError

# Containers only: playlists and image scripts would open further files.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,gif,asf,dv,mxf"
# Without these a round trip through RGB darkens every pixel by one level.
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


@dataclass(frozen=True)
class _Facts:
    """What the headers of a video file say, before rotation."""

    frames: int
    fps: Fraction
    start: Fraction
    steady: bool
    has_audio: bool
    comment: str
    pixel: Fraction


class VideoClip:
    """A video file; see `open_clip`. Frames are read in stored order, whatever their times."""

    def __init__(self, path: Path, start: int = 0, stride: int = 1, frames: int | None = None) -> None:
        self.path, self.start, self.stride, self.name = path, start, stride, path.name
        facts = _probe(path)
        self._used = used_frames(facts.frames, start, stride, frames)
        self.fps = facts.fps / stride
        first = next(_decode(path), None)
        if first is None:
            raise ClipError("clip.path", f"{path.name!r} has no readable frames. Re-encode it.")
        self._pixel = facts.pixel
        self.size = _upright(first, self._pixel).shape[1::-1]
        check_size(self.size)
        self.tags = _tags_of(first)
        seconds = [facts.start + Fraction(frame) / facts.fps for frame in (start, start + stride * len(self))]
        self.audio = AudioSpan(path, *seconds) if facts.has_audio else None
        self.warnings, self.comment = list[str](), facts.comment
        if not facts.steady:
            self.warnings.append(
                f"The frame rate varies; the edit has a constant {float(self.fps):.4g} frames per second."
            )
        self._lock = Lock()
        self._decoder: Iterator[av.VideoFrame] = iter(())
        self._next = -1

    def __len__(self) -> int:
        return len(range(*self._used.indices(self._used.stop)))

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """See `Clip.read`. A call that continues where the last one ended decodes nothing twice."""
        check_window(start, stop, len(self))
        wanted = range(*self._used.indices(self._used.stop))[start:stop]
        with self._lock:
            return stack([_upright(self._seek(index), self._pixel) for index in wanted], self.size)

    def _seek(self, index: int) -> av.VideoFrame:
        # Counting from the first frame is exact in every container; seeking by time is not.
        if self._next < 0 or index < self._next:
            self._decoder, self._next = _decode(self.path), 0
        frame = next(islice(self._decoder, index - self._next, None), None)
        self._next = index + 1
        if frame is None:
            self._next = -1
            raise ClipError("clip.path", f"{self.name!r} ends before frame {index}. Trim or re-encode it.")
        return frame


def _open_video(path: Path) -> av.container.InputContainer:
    try:
        container = av.open(str(path.resolve()), container_options={"format_whitelist": CONTAINERS})
    except (av.FFmpegError, OSError, ValueError):
        raise ClipError("clip.path", f"{path.name!r} is not a readable video. Convert it to MP4.") from None
    if not container.streams.video or container.streams.video[0].codec_context is None:
        container.close()
        raise ClipError("clip.path", f"{path.name!r} has no readable video stream. Convert it to MP4.")
    return container


def _probe(path: Path) -> _Facts:
    with _open_video(path) as container:
        stream = container.streams.video[0]
        try:
            times = [
                packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard
            ]
        except av.FFmpegError as error:
            raise ClipError(
                "clip.path", f"{path.name!r} cannot be read to its end ({error}). Re-encode it."
            ) from None
        packs_frames = stream.codec_context.name == "mpeg4" and None in times
        known = sorted(time for time in times if time is not None)
        gaps = np.diff(known)
        steady = len(gaps) == 0 or bool(gaps.max() - gaps.min() <= max(2, 0.05 * gaps.mean()))
        rate = stream.average_rate or stream.guessed_rate or DEFAULT_FPS
        if not steady:
            rate = Fraction(len(gaps)) / ((known[-1] - known[0]) * stream.time_base)
        start = known[0] * stream.time_base if known else Fraction(0)
        has_audio = any(stream.codec_context for stream in container.streams.audio)
        comment = {key.lower(): value for key, value in container.metadata.items()}.get("comment", "")
        pixel = stream.sample_aspect_ratio or Fraction(1)  # 0 where it is unknown
    # Packets are counted without decoding, except where one packet may hold several frames (DivX in AVI).
    frames = sum(1 for _ in _decode(path)) if packs_frames else len(times)
    return _Facts(frames, Fraction(rate).limit_denominator(100_000), start, steady, has_audio, comment, pixel)


def _decode(path: Path) -> Iterator[av.VideoFrame]:
    with _open_video(path) as container:
        # No decoder threads: one that reports an error waits for Python while Python, closing a half-read
        # file, waits for it, once anything (torchvision does) has turned PyAV's logging on.
        container.streams.video[0].codec_context.thread_count = 1
        try:
            yield from container.decode(video=0)
        except av.FFmpegError as error:
            raise ClipError(
                "clip.path", f"{path.name!r} cannot be decoded ({error}). Re-encode it."
            ) from None


def _square(width: int, height: int, pixel: Fraction) -> tuple[int, int]:
    """Size of a frame after making its pixels, `pixel` times as wide as high, square; no side shrinks."""
    return (round(width * pixel), height) if pixel > 1 else (width, round(height / pixel))


def _upright(frame: av.VideoFrame, pixel: Fraction) -> UInt8[np.ndarray, "height width 3"]:
    width, height = _square(frame.width, frame.height, pixel)
    rgb = frame.reformat(width, height, "rgb24", interpolation=EXACT, threads=1)
    return np.rot90(rgb.to_ndarray(), frame.rotation // 90)


def _tags_of(frame: av.VideoFrame) -> ColorTags:
    if frame.format.is_rgb:
        return ColorTags()
    return ColorTags(
        int(frame.colorspace), int(frame.color_range), int(frame.color_primaries), int(frame.color_trc)
    )
