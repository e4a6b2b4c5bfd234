"""Frames and what is known of them: the protocol of clips, clips in memory, what all readers check."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from editing.errors import ClipError

MAX_SIDE = 8192
DEFAULT_FPS = Fraction(8)
DRAWN = "Drawn by Regrain's storybook"
"""The comment of clips of the drawn world.

Their pictures do not tell: the built-in autoencoder repeats real clips at 25 to 30 dB, drawn ones at 24
to 29.
"""


class ColorTags(NamedTuple):
    """How YUV values are meant, in the numbers of ISO/IEC 23091-2; the default is BT.709, limited range."""

    matrix: int = 1
    range: int = 1
    primaries: int = 1
    transfer: int = 1


class AudioSpan(NamedTuple):
    """Sound that belongs to a clip: from `start` to `stop` seconds of the file's clock."""

    path: Path
    start: Fraction
    stop: Fraction


@runtime_checkable
class Clip(Protocol):
    """A source of frames.

    Attributes:
        name: File or folder name.
        size: (width, height) as shown, rotation and the shape of its pixels applied.
        fps: Frames of this clip per second, the stride taken out.
        tags: Colour tags of the source, for the writer.
        audio: Sound of the used span, None where there is none.
        warnings: What a user should know about how the source was read.
        comment: What the file says of itself; "" where it says nothing.
    """

    name: str
    size: tuple[int, int]
    fps: Fraction
    tags: ColorTags
    audio: AudioSpan | None
    warnings: list[str]
    comment: str

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """Frames start to stop - 1 of the clip, RGB.

        Raises:
            IndexError: Not 0 <= start <= stop <= len.
            ClipError: A frame cannot be decoded.
        """
        ...


class ArrayClip:
    """Frames in memory.

    Args:
        frames: RGB.
        fps: Frames per second.
        name: Shown to users.
        comment: See `Clip`.

    Raises:
        ClipError: Not uint8 [frames, height, width, 3], or no frame.
    """

    def __init__(
        self, frames: np.ndarray, fps: Fraction | int = DEFAULT_FPS, name: str = "array", comment: str = ""
    ) -> None:
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
            raise ClipError(
                "clip",
                f"{frames.dtype} {frames.shape} was given; allowed is uint8 [frames, height, width, 3]",
            )
        self._frames = frames
        self.name, self.fps, self.size = name, Fraction(fps), (frames.shape[2], frames.shape[1])
        self.tags, self.audio, self.warnings = ColorTags(), None, list[str]()
        self.comment = comment

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """See `Clip.read`."""
        check_window(start, stop, len(self))
        return self._frames[start:stop]


def resize(
    frames: UInt8[np.ndarray, "frames height width 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "frames new_height new_width 3"]:
    """Scale frames to (width, height): pixel areas averaged when shrinking, cubic otherwise."""
    height, width = frames.shape[1:3]
    if (width, height) == tuple(size):
        return frames
    import cv2  # a third of a second to import, which refusing a bad project must not cost

    shrinks = size[0] <= width and size[1] <= height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return stack([cv2.resize(frame, size, interpolation=method) for frame in frames], size)


def check_window(start: int, stop: int, length: int) -> None:
    """Raise IndexError unless 0 <= start <= stop <= length, in frames."""
    if not 0 <= start <= stop <= length:
        raise IndexError(f"frames {start} to {stop} of a clip of {length}")


def check_size(size: tuple[int, int]) -> None:
    """Raise ClipError if a frame of (width, height) pixels is too large."""
    if max(size) > MAX_SIDE:
        raise ClipError(
            "clip.path",
            f"frames of {size[0]}x{size[1]} were given; allowed are {MAX_SIDE} a side; scale it down",
        )


def used_frames(total: int, start: int, stride: int, frames: int | None) -> slice:
    """The source frames a clip uses, of `total` there are."""
    if start < 0 or stride < 1 or (frames is not None and frames < 1):
        key, value = (
            ("start", start) if start < 0 else ("stride", stride) if stride < 1 else ("frames", frames)
        )
        raise ClipError(
            f"clip.{key}", f"{value} was given; allowed is {int(key != 'start')} or more; change it"
        )
    available = len(range(start, total, stride))
    if not available:
        raise ClipError("clip.start", f"{start} was given; the clip has {total} frames; start earlier")
    if frames is not None and frames > available:
        raise ClipError(
            "clip.frames",
            f"{frames} was given; there are {available} from start {start} at stride {stride}; ask for fewer",
        )
    count = available if frames is None else frames
    return slice(start, start + (count - 1) * stride + 1, stride)


def stack(frames: Sequence[np.ndarray], size: tuple[int, int]) -> UInt8[np.ndarray, "frames height width 3"]:
    """One array of frames of (width, height); none make an empty one.

    Raises:
        ClipError: A frame of another size.
    """
    width, height = size
    if any(frame.shape != (height, width, 3) for frame in frames):
        raise ClipError("clip.path", "the frame size changes within the clip; re-encode it at one size")
    return np.stack(frames) if frames else np.empty((0, height, width, 3), np.uint8)
