"""Clips: sources of frames. Files are opened here and written by `editing.clip.writing`."""

from __future__ import annotations

from pathlib import Path

from editing.clip.images import ImageClip
from editing.clip.reading import VideoClip
from editing.clip.values import DRAWN, ArrayClip, AudioSpan, Clip, ColorTags, resize
from editing.errors import ClipError, shorten

__all__ = [
    "DRAWN",
    "ArrayClip",
    "AudioSpan",
    "Clip",
    "ColorTags",
    "ImageClip",
    "VideoClip",
    "open_clip",
    "resize",
]


def open_clip(
    path: str | Path, start: int = 0, stride: int = 1, frames: int | None = None
) -> VideoClip | ImageClip:
    """Open a video file or a folder of images.

    Args:
        path: Local path; URLs are refused.
        start: First frame used.
        stride: Use every stride-th frame; fps is divided by it.
        frames: Number of frames used; None takes all there are.

    Raises:
        ClipError: Nothing there, no video, or fewer frames than asked for.
    """
    if "://" in str(path):
        raise ClipError(
            "clip.path",
            f"{shorten(str(path))} is a URL; allowed is a local file or folder; download it first",
        )
    path = Path(path)
    if path.is_dir():
        return ImageClip(path, start, stride, frames)
    if not path.is_file():
        raise ClipError(
            "clip.path", f"{shorten(str(path))} does not exist; name a video file or a folder of images"
        )
    return VideoClip(path, start, stride, frames)
