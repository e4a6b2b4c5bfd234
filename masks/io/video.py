"""Convert label arrays to mask videos and back."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from regrain.editing.media.clip import ArrayClip, Clip
from regrain.editing.media.coco import check_extent
from regrain.editing.media.labels import palette
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.media.reading import open_clip
from regrain.editing.media.writing import write_lossless, write_video

_WHITE = "#ffffff"
_LOOKED_AT = 8  # frames of a video in which colours are sought
_DARK, _ALIKE = 64, 48  # grey levels: below, background; so far apart, one colour
_SHARE = 0.01  # of a video's masks that a colour has at least
_LEVEL = 32  # grey levels by which a pixel within a mask differs from those next to it
_STEPS, _TRIED = 32, 64  # of a channel; most frequent colours that are looked at


def write_mask_video(
    labels: UInt8[np.ndarray | LazyFrames, "frames height width"],
    path: str | Path,
    fps: Fraction,
    colors: Mapping[int, str],
) -> None:
    """Write labels as colours: lossless if the name ends in `.mkv`, else as MP4.

    MP4 mixes colours at edges, and a mixture may be nearest to a third region's colour when read back.

    Background is drawn black, every label in its colour, "#rrggbb". Labels may be read a frame at a time.
    """
    table = palette(colors)
    frames = LazyFrames((*labels.shape, 3), np.uint8, lambda start, stop: table[labels[start:stop]])
    if Path(path).suffix.lower() == ".mkv":
        write_lossless(Path(path), ArrayClip(frames, fps))
    else:
        write_video(path, frames, fps)


def find_colors(clip: Clip, known: Mapping[int, str]) -> dict[int, str]:
    """The colours that a mask video shows, by label; white alone is label 1; maybe none.

    Colours that are like none of the known ones get the next free labels.
    """
    counts, sums = np.zeros(_STEPS**3, np.int64), np.zeros((_STEPS**3, 3))
    for index in (
        np.linspace(0, len(clip) - 1, min(_LOOKED_AT, len(clip))).round().astype(int).tolist()
    ):
        picture = clip.read(index, index + 1)[0]
        # Pixels within a mask: at its edges a video mixes colours.
        around = np.ones((3, 3), np.uint8)
        level = (cv2.dilate(picture, around) - cv2.erode(picture, around)).max(-1) < _LEVEL
        bright = picture[level & (picture.max(-1) > _DARK)].astype(np.int64)
        bins = np.ravel_multi_index((bright // (256 // _STEPS)).T, 3 * (_STEPS,))
        counts += np.bincount(bins, minlength=len(counts))
        for channel in range(3):
            sums[:, channel] += np.bincount(bins, bright[:, channel], len(counts))
    found: dict[int, np.ndarray] = {}
    usual = {label: np.array(list(bytes.fromhex(color[1:]))) for label, color in known.items()}
    for place in np.argsort(-counts)[:_TRIED]:
        color = sums[place] / max(1, counts[place])
        if counts[place] <= _SHARE * counts.sum() or any(
            _alike(color, other) for other in found.values()
        ):
            continue
        like = [label for label, other in usual.items() if _alike(color, other)]
        free = next(n for n in range(1, 255) if n not in usual and n not in found)
        found[like[0] if like else free] = color
    written = {
        n: "#" + bytes(np.rint(color).astype(np.uint8)).hex() for n, color in sorted(found.items())
    }
    white = len(found) == 1 and _alike(next(iter(found.values())), np.full(3, 255.0))
    return {1: _WHITE} if white else written


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return float(np.square(one - other).sum()) < _ALIKE**2


def read_mask_video(
    path: str | Path, frames: int, size: tuple[int, int], colors: Mapping[int, str]
) -> UInt8[np.ndarray, "frames height width"]:
    """Read a mask video: each pixel gets the label with the nearest colour, or none if black is nearer.

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
    labels, known = np.zeros((frames, size[1], size[0]), np.uint8), palette(colors).astype(np.int32)
    for index in range(frames):
        picture = clip.read(index, index + 1)[0].astype(np.int32)
        least = np.square(picture).sum(-1)
        for label in colors:  # one at a time: all at once would be as many pictures
            off = np.square(picture - known[label]).sum(-1)
            labels[index][off < least], least = label, np.minimum(off, least)
    return labels
