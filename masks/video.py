"""Convert label arrays to mask videos and back."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from editing.clip import ArrayClip, Clip, open_clip
from editing.clip.writing import write_lossless, write_video
from editing.labels import palette
from editing.rle import check_extent
from editing.spool import Frames

_WHITE = "#ffffff"
_LOOKED_AT = 8  # frames of a video in which colours are sought
_DARK, _ALIKE = 64, 48  # grey levels: below, background; so far apart, one colour
_SHARE = 0.01  # of a video's masks that a colour has at least


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


def find_colors(clip: Clip, known: Mapping[int, str]) -> dict[int, str]:
    """The colours that a mask video shows: white alone, as label 1, or those of `known`; maybe none.

    Args:
        clip: The video.
        known: "#rrggbb" by label.
    """
    counts = dict.fromkeys((0, *known), 0)
    table = palette({0: _WHITE, **known}).astype(np.int32)
    for index in np.linspace(0, len(clip) - 1, min(_LOOKED_AT, len(clip))).round().astype(int).tolist():
        picture = clip.read(index, index + 1)[0].astype(np.int32)
        picture = picture[picture.max(-1) > _DARK]  # pixels of any mask
        for label in counts:
            counts[label] += int((np.square(picture - table[label]).sum(-1) < _ALIKE**2).sum())
    least = _SHARE * sum(counts.values())
    seen = [label for label, count in counts.items() if count > least]
    return {1: _WHITE} if seen[:1] == [0] else {label: known[label] for label in seen}


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
    check_extent(clip.name, (len(clip), clip.size), (frames, size))
    labels, known = np.zeros((frames, size[1], size[0]), np.uint8), palette(colors).astype(np.int32)
    for index in range(frames):
        picture = clip.read(index, index + 1)[0].astype(np.int32)
        least = np.square(picture).sum(-1)
        for label in colors:  # one at a time: all at once would be as many pictures
            off = np.square(picture - known[label]).sum(-1)
            labels[index][off < least], least = label, np.minimum(off, least)
    return labels
