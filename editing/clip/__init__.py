"""Clips: sources of frames. This package opens files; `editing.clip.writing` writes them."""

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
        frames: Number of frames used; None uses all.

    Raises:
        ClipError: The file is missing or not a readable video, or has fewer frames than requested.
    """
    if "://" in str(path):
        raise ClipError(
            "clip.path",
            f"{shorten(str(path))} is a URL. Download it first and use the local file.",
        )
    path = Path(path)
    if path.is_dir():
        return ImageClip(path, start, stride, frames)
    if not path.is_file():
        raise ClipError(
            "clip.path", f"{shorten(str(path))} does not exist. Use a video file or a folder of images."
        )
    return VideoClip(path, start, stride, frames)
