"""The protocol of clips, clips in memory, and checks that all readers share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from regrain.editing.errors import ClipError, RequestError, shorten
from regrain.editing.media.lazy_frames import (
    Grey,
    LazyFrames,
    LazyRgb,
    RgbFrames,
    Size,
    Texts,
    check_window,
)

MAX_STRIDE = 1_000_000
MAX_SIDE = 8192
MAX_ASPECT = 32  # the longer side of a frame over the shorter
DEFAULT_FPS = Fraction(8)
DRAWN = "Drawn by Regrain's storybook"
"""The comment of clips of the drawn world.

Pixels do not tell them apart: the built-in autoencoder reconstructs real clips at 25 to
30 dB and drawn ones at 24 to 29 dB.
"""


class ColorTags(NamedTuple):
    """Colour tags of a video, as numbered by ISO/IEC 23091-2; the default is BT.709,
    limited range."""

    matrix: int = 1
    range: int = 1
    primaries: int = 1
    transfer: int = 1


class AudioSpan(NamedTuple):
    """The sound of a clip: from `start` to `stop`, in seconds of the file's clock."""

    path: Path
    start: Fraction
    stop: Fraction


@runtime_checkable
class Clip(Protocol):
    """A source of frames.

    Attributes:
        name: File or folder name.
        size: (width, height) as shown, after rotation and with square pixels.
        fps: Frames per second of this clip, with the stride applied; on average if the
            rate varies.
        times: Seconds from the first used frame to each used frame, in order, the first
            0; None if the rate is constant.
        duration: Seconds from the start of the first used frame to the end of the last
            one.
        tags: Colour tags of the source, for the writer.
        audio: Sound of the used span; None without sound.
        warnings: What a user should know about how the source was read.
        comment: The comment in the file; "" without one.
        names: Names of the pictures of its frames; none of a video.
    """

    name: str
    size: Size
    fps: Fraction
    times: tuple[Fraction, ...] | None = None
    duration: Fraction
    tags: ColorTags = ColorTags()
    audio: AudioSpan | None = None
    warnings: list[str]
    comment: str = ""
    names: Texts = ()

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> RgbFrames:
        """Read frames start to stop - 1 of the clip, RGB.

        Raises:
            IndexError: Unless 0 <= start <= stop <= len.
            ClipError: A frame cannot be decoded.
        """
        ...


class ArrayClip(Clip):
    """A clip in memory.

    Args:
        frames: RGB, as an array or read by window.
        fps: Frames per second.
        name: Name shown to users.
        comment, times: See `Clip`.
        duration: See `Clip`; None lets the last frame last 1 / fps seconds.

    Raises:
        ClipError: `frames` is not uint8 [frames, height, width, 3], or is empty; a
            frame is too large or too narrow, see `check_size`; or `times` are not one
            per frame, from 0 on and in order.
    """

    def __init__(
        self,
        frames: np.ndarray | LazyFrames,
        fps: Fraction | int = DEFAULT_FPS,
        name: str = "array",
        comment: str = "",
        *,
        times: Sequence[Fraction] | None = None,
        duration: Fraction | None = None,
    ) -> None:
        is_rgb = frames.ndim == 4 and frames.shape[-1] == 3 and frames.dtype == np.uint8
        if not is_rgb or 0 in frames.shape:
            raise ClipError(
                "clip",
                f"Expected uint8 [frames, height, width, 3], got {frames.dtype} "
                f"of shape {frames.shape}.",
            )
        height, width = frames.shape[1:3]
        check_size((width, height))
        if times is not None:
            rises = list(times) == sorted(times)
            if len(times) != len(frames) or times[0] != 0 or not rises:
                raise ClipError(
                    "clip.times",
                    f"Expected {len(frames)} rising times that begin at 0.",
                )
        self._frames = frames
        self.name = name
        self.size = width, height
        self.fps = Fraction(fps)
        if times is not None:
            self.times = tuple(times)
        if duration is None:
            last = self.times[-1] if self.times else (len(frames) - 1) / self.fps
            duration = last + 1 / self.fps
        self.duration = duration
        self.warnings = []
        self.comment = comment

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, start: int, stop: int) -> RgbFrames:
        """See `Clip.read`."""
        check_window(start, stop, len(self))
        return self._frames[start:stop]


def resize(
    frames: RgbFrames, size: Size
) -> UInt8[np.ndarray, "frames new_height new_width 3"]:
    """Scale frames to (width, height): pixel areas averaged when shrinking, cubic
    otherwise."""
    height, width = frames.shape[1:3]
    if (width, height) == tuple(size):
        return frames
    # a third of a second to import, which refusing a bad project must not cost
    import cv2

    shrinks = size[0] <= width and size[1] <= height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return stack(
        [cv2.resize(frame, size, interpolation=method) for frame in frames], size
    )


def resized(frames: Clip | LazyFrames, size: Size) -> LazyRgb:
    """Return frames, as many as there are now, scaled by `resize` when they are
    read."""
    width, height = size
    return LazyFrames(
        (len(frames), height, width, 3),
        np.uint8,
        lambda start, stop: resize(frames.read(start, stop), size),
    )


def within(size: Size, side: int, least: int = 1) -> Size:
    """Return a size scaled down so that its longer side is at most `side`, and none is
    below `least`."""
    scale = min(1.0, side / max(size))
    width, height = (max(least, round(one * scale)) for one in size)
    return width, height


def resize_labels(labels: Grey, size: Size) -> Grey:
    """Scale labels, which have none between them, to (width, height): each pixel takes
    the one at its centre, where `resize` takes its colour."""
    import cv2

    return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)


def check_size(size: Size) -> None:
    """Refuse a (width, height) that is too large, or too narrow: models work on 64
    pixels or more."""
    if max(size) > MAX_SIDE:
        wrong = f"at most {MAX_SIDE} per side are allowed. Scale it down."
    elif max(size) > MAX_ASPECT * min(size):
        wrong = f"one side may be at most {MAX_ASPECT} times the other. Crop it."
    else:
        return
    raise ClipError("clip.path", f"Frames are {size[0]}x{size[1]}, but {wrong}")


def check_inside(
    field: str,
    frames: Iterable[int],
    count: int,
    first: int = 0,
    kind: type[RequestError] = RequestError,
) -> None:
    """Refuse frames that are not from `first` on, or outside a clip of so many, by an
    error of the kind."""
    for frame in frames:
        if not first <= frame < count:
            raise kind(
                field,
                f"Frame {frame} is outside the clip. Choose frames from {first} "
                f"to {count - 1}.",
            )


def used_frames(total: int, start: int, stride: int, frames: int | None) -> range:
    """Return the numbers of the frames that a clip uses of `total`; see `open_clip` for
    the errors."""
    _check_least("clip.start", start, 0)
    _check_least("clip.stride", stride, 1)
    if frames is not None:
        _check_least("clip.frames", frames, 1)
    if stride > MAX_STRIDE:
        raise ClipError(
            "clip.stride", f"Expected at most {MAX_STRIDE}, got {shorten(stride)}."
        )
    available = range(start, total, stride)
    if not available:
        raise ClipError(
            "clip.start",
            f"The clip has {total} frames, so none is left from frame {start}. "
            "Start earlier.",
        )
    if frames is not None and frames > len(available):
        raise ClipError(
            "clip.frames",
            f"The clip has {len(available)} frames from frame {start} at stride "
            f"{stride}; {frames} were requested. Lower clip.frames.",
        )
    return available[:frames]


def _check_least(field: str, value: int, least: int) -> None:
    if value < least:
        raise ClipError(
            field, f"Expected a whole number of at least {least}, got {value}."
        )


def stack(frames: Sequence[np.ndarray], size: Size) -> RgbFrames:
    """Stack frames of (width, height), or none, into one array; ClipError if one has
    another size."""
    width, height = size
    if not frames:
        return np.empty((0, height, width, 3), np.uint8)
    if any(frame.shape != (height, width, 3) for frame in frames):
        raise ClipError(
            "clip.path",
            "The frame size changes within the clip. Re-encode it at one size.",
        )
    if len(frames) == 1:  # a large one is not copied
        return frames[0][None]
    return np.stack(frames)
