"""Convert label arrays to mask videos and back."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from editing.clip import ArrayClip, open_clip
from editing.clip.writing import write_lossless, write_video
from editing.errors import MaskError
from editing.labels import palette
from editing.spool import Frames


def write_mask_video(
    labels: UInt8[np.ndarray | Frames, "frames height width"],
    path: str | Path,
    fps: Fraction,
    colors: Mapping[int, str],
) -> None:
    """Write labels as colours: lossless if the name ends in `.mkv`, else as MP4.

    MP4 mixes colours at edges, and a mixture may be nearest to a third region's colour when read back.

    Args:
        labels: 0 = background, drawn black; an array, or read a frame at a time.
        path: File to write.
        fps: Frames per second.
        colors: "#rrggbb" of every label.
    """
    table = palette(colors)
    frames = Frames((*labels.shape, 3), np.uint8, lambda start, stop: table[labels[start:stop]])
    if Path(path).suffix.lower() == ".mkv":
        write_lossless(Path(path), ArrayClip(frames, fps))
    else:
        write_video(path, frames, fps)


def read_mask_video(
    path: str | Path, frames: int, size: tuple[int, int], colors: Mapping[int, str]
) -> UInt8[np.ndarray, "frames height width"]:
    """Read a mask video: each pixel gets the label with the nearest colour, or none if black is nearer.

    Args:
        path: Video, or folder of images; for black and white, use `colors={1: "#ffffff"}`.
        frames: Number of used frames of the clip.
        size: (width, height) of the clip.
        colors: "#rrggbb" by label.

    Raises:
        MaskError: The count or size is wrong.
        ClipError: The file is not a readable video.
    """
    clip = open_clip(path)
    if len(clip) != frames or tuple(clip.size) != tuple(size):
        raise MaskError(
            "masks",
            f"{clip.name!r} has {len(clip)} frames of {clip.size[0]}x{clip.size[1]}, but the clip uses "
            f"{frames} of {size[0]}x{size[1]}. Use masks of this clip.",
        )
    labels, known = np.zeros((frames, size[1], size[0]), np.uint8), palette(colors).astype(np.int32)
    for index in range(frames):
        picture = clip.read(index, index + 1)[0].astype(np.int32)
        least = np.square(picture).sum(-1)
        for label in colors:  # one at a time: all at once would be as many pictures
            off = np.square(picture - known[label]).sum(-1)
            labels[index][off < least], least = label, np.minimum(off, least)
    return labels
