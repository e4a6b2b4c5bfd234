"""Masks as videos."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from regrain.editing.boundary import AnyPath
from regrain.editing.media.clip import ArrayClip
from regrain.editing.media.lazy_frames import AnyLabels, LazyFrames
from regrain.editing.media.mask_pictures import Colors, palette
from regrain.editing.media.writing import write_lossless, write_video


def write_mask_video(
    labels: AnyLabels,
    path: AnyPath,
    fps: Fraction,
    colors: Colors,
) -> None:
    """Write labels as colours: lossless if the name ends in `.mkv`, else as MP4, which
    is for viewing: it changes colours, so that they are not read back.

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
