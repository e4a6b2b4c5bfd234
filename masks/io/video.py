"""Convert label arrays to mask videos and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from regrain.editing.media.clip import ArrayClip, Clip
from regrain.editing.media.coco import check_extent
from regrain.editing.media.labels import palette
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.media.reading import open_clip
from regrain.editing.media.writing import write_lossless, write_video

_WHITE = "#ffffff"
_LOOKED_AT = 8  # frames of a video in which colours are sought
_DARK = 64  # grey levels below which a pixel is background
_ALIKE = 48  # grey levels within which two colours are the same
_SHARE = 0.01  # of the pixels of all masks that a colour has at least
_LEVEL = 32  # grey levels by which a pixel within a mask differs from those next to it
_STEPS = 32  # bins of a channel
_TRIED = 64  # most frequent bins that are looked at


def write_mask_video(
    labels: UInt8[np.ndarray | LazyFrames, "frames height width"],
    path: str | Path,
    fps: Fraction,
    colors: Mapping[int, str],
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


def find_colors(clip: Clip, known: Mapping[int, str]) -> dict[int, str]:
    """Find the colours that a mask video shows: "#rrggbb" by label, maybe none.

    White alone is label 1. Colours that are like none of the known ones get the next
    free labels.
    """
    counts, sums = _histogram(clip)
    colors = _distinct_colors(counts, sums)
    if len(colors) == 1 and _alike(colors[0], np.full(3, 255.0)):
        return {1: _WHITE}
    labelled = _labelled(colors, known)
    return {label: _hex(color) for label, color in sorted(labelled.items())}


def _histogram(
    clip: Clip,
) -> tuple[Int[np.ndarray, " bins"], Float[np.ndarray, "bins 3"]]:
    """Count bright pixels within masks by bins of colour; return counts and sums of
    colours."""
    counts = np.zeros(_STEPS**3, np.int64)
    sums = np.zeros((_STEPS**3, 3))
    looked_at = np.linspace(0, len(clip) - 1, min(_LOOKED_AT, len(clip)))
    for index in looked_at.round().astype(int).tolist():
        colors = _bright_colors(clip.read(index, index + 1)[0])
        bins = _bins_of(colors)
        counts += np.bincount(bins, minlength=len(counts))
        for channel in range(3):
            sums[:, channel] += np.bincount(bins, colors[:, channel], len(counts))
    return counts, sums


def _bright_colors(
    picture: UInt8[np.ndarray, "height width 3"],
) -> Int[np.ndarray, "pixels 3"]:
    """Return the colours of bright pixels away from edges."""
    is_bright = picture.max(-1) > _DARK
    return picture[_is_within(picture) & is_bright].astype(np.int64)


def _bins_of(colors: Int[np.ndarray, "pixels 3"]) -> Int[np.ndarray, " pixels"]:
    """Return the bin of each colour."""
    red, green, blue = colors.T // (256 // _STEPS)
    return (red * _STEPS + green) * _STEPS + blue


def _is_within(
    picture: UInt8[np.ndarray, "height width 3"],
) -> Bool[np.ndarray, "height width"]:
    """Find the pixels away from edges, where a video mixes colours."""
    around = np.ones((3, 3), np.uint8)
    contrast = cv2.dilate(picture, around) - cv2.erode(picture, around)
    return contrast.max(-1) < _LEVEL


def _distinct_colors(
    counts: Int[np.ndarray, " bins"], sums: Float[np.ndarray, "bins 3"]
) -> list[Float[np.ndarray, "3"]]:
    """Return the mean colours of frequent bins, the most frequent first, each unlike
    those before it."""
    least = _SHARE * counts.sum()
    colors: list[np.ndarray] = []
    for place in np.argsort(-counts)[:_TRIED]:
        if counts[place] <= least:
            break
        color = sums[place] / counts[place]
        if not any(_alike(color, other) for other in colors):
            colors.append(color)
    return colors


def _labelled(
    colors: Iterable[np.ndarray], known: Mapping[int, str]
) -> dict[int, np.ndarray]:
    """Give each colour the first label whose known colour it is like, or else the next
    free one."""
    rgb = {label: _rgb(color) for label, color in known.items()}
    labelled: dict[int, np.ndarray] = {}
    for color in colors:
        free = [label for label in range(1, 256) if label not in labelled]
        like = [label for label in free if label in rgb and _alike(color, rgb[label])]
        unknown = [label for label in free if label not in rgb]
        label = (like or unknown)[0]
        labelled[label] = color
    return labelled


def _rgb(color: str) -> np.ndarray:
    """Return red, green and blue of a colour "#rrggbb", 0 to 255."""
    channels = bytes.fromhex(color[1:])
    return np.array(list(channels))


def _hex(color: Float[np.ndarray, "3"]) -> str:
    return "#" + bytes(np.rint(color).astype(np.uint8)).hex()


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return float(np.square(one - other).sum()) < _ALIKE**2


def read_mask_video(
    path: str | Path, frames: int, size: tuple[int, int], colors: Mapping[int, str]
) -> UInt8[np.ndarray, "frames height width"]:
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
    width, height = size
    labels = np.zeros((frames, height, width), np.uint8)
    table = palette(colors).astype(np.int32)
    known = {label: table[label] for label in colors}
    for index in range(frames):
        picture = clip.read(index, index + 1)[0]
        labels[index] = _nearest_labels(picture, known)
    return labels


def _nearest_labels(
    picture: UInt8[np.ndarray, "height width 3"],
    known: Mapping[int, Int[np.ndarray, "3"]],
) -> UInt8[np.ndarray, "height width"]:
    """Return the label of the known colour nearest to each pixel; 0 where black is
    nearer."""
    values = picture.astype(np.int32)
    labels = np.zeros(picture.shape[:2], np.uint8)
    least = np.square(values).sum(-1)
    for label, color in known.items():
        # one at a time: all at once would be as many pictures
        off = np.square(values - color).sum(-1)
        labels[off < least] = label
        least = np.minimum(off, least)
    return labels
