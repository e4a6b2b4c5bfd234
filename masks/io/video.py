"""Convert label arrays to mask videos and back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from regrain.editing.media.clip import ArrayClip
from regrain.editing.media.coco import check_extent
from regrain.editing.media.lazy_frames import (
    AnyLabels,
    LabelFrames,
    LazyFrames,
    Size,
    frames_of,
)
from regrain.editing.media.mask_pictures import Colors, nearest_labels, palette
from regrain.editing.media.reading import open_clip
from regrain.editing.media.writing import write_lossless, write_video


def write_mask_video(
    labels: AnyLabels,
    path: str | Path,
    fps: Fraction,
    colors: Colors,
) -> None:
    """Write labels as colours: lossless if the name ends in `.mkv`, else as MP4.

    MP4 mixes colours at edges, and a mixture may be nearest to a third region's colour
    when read back.

    Background is drawn black, every label in its colour, "#rrggbb". Labels may be read
    a frame at a time.
    """
    table = palette(colors)
    frames = LazyFrames(
        (*labels.shape, 3), np.uint8, lambda start, stop: table[labels[start:stop]]
    )
    if Path(path).suffix.lower() == ".mkv":
        write_lossless(Path(path), ArrayClip(frames, fps))
    else:
        write_video(path, frames, fps)


def read_mask_video(
    path: str | Path, frames: int, size: Size, colors: Colors
) -> LabelFrames:
    """Read a mask video: each pixel gets the label with the nearest colour, or none if
    black is nearer.

    Args:
        path: Video, or folder of images.
        frames: Number of used frames of the clip.
        size: (width, height) of the clip.
        colors: "#rrggbb" by label; for black and white, {1: "#ffffff"}.

    Raises:
        MaskError: The count or size is wrong.
        ClipError: The file is not a readable video.
    """
    clip = open_clip(path)
    check_extent(clip.name, (len(clip), clip.size), (frames, size))
    return np.stack([nearest_labels(picture, colors) for picture in frames_of(clip)])
