"""Read and write masks in any form: a folder of PNG files, JSON with run lengths, or a
mask video."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path

import numpy as np

from regrain.editing.errors import MaskError, RequestError, shorten
from regrain.editing.media.clip import Clip
from regrain.editing.media.coco import WholeMasks, write_rle
from regrain.editing.media.label_map import label_in
from regrain.editing.media.labels import (
    extent_of,
    flattened,
    is_written,
    open_regions,
    write_labels,
    write_regions,
)
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.media.mask_pictures import Colors, default_color
from regrain.editing.media.writing import write_video
from regrain.editing.storage.folders import (
    check_apart,
    check_replaced,
    check_writable,
    replacing,
    staged,
    visible,
    writable,
)
from regrain.masks.io.video import write_mask_video

VIDEOS = (".mkv", ".mp4")
PAIR_SOURCE, PAIR_MASK = "src_video.mp4", "src_mask.mp4"
_GREY = 127  # VACE reads it as "nothing is known here"

Masks = WholeMasks


def colors_of(labels: Iterable[int]) -> dict[int, str]:
    """Return the default colour, "#rrggbb", of every label."""
    return {label: default_color(label) for label in labels}


def read_masks(
    path: Path,
    colors: Colors,
    clip: Clip | None = None,
    at: int | None = None,
) -> Masks:
    """Read masks of any form, whole if the form keeps overlapping masks whole.

    Args:
        path: Folder of pictures or of one folder per label, picture, `.json` file, or
            video.
        colors: "#rrggbb" by label, for masks in colours; colours that are like none of
            these get the labels that usually have them, or the next free ones.
        clip: The clip whose frame `at` one mask alone is of.
        at: See `read_labels`.

    Raises:
        MaskError: The masks cannot be read, or have no label in any frame.
        ClipError: The video cannot be read.
    """
    count, size = extent_of(path)
    if clip is not None and at is not None:
        count, size = len(clip), clip.size
    masks = open_regions(path, count, size, colors=colors, at=at)
    if not masks:
        raise MaskError(
            "masks",
            f"{path.name!r} has no label in any frame. Use masks with at least "
            "one object.",
        )
    return masks


def write_masks(
    masks: Masks,
    path: Path,
    colors: Colors,
    fps: Fraction,
    names: Mapping[int, str] | None = None,
) -> None:
    """Write masks in the form of the path's ending; everything or nothing.

    A folder gets one PNG per frame or, if masks overlap, one folder per label. A video
    shows the mask in front, that of the lower label.

    Args:
        masks: By label.
        path: `.json`, `.mkv` or `.mp4` file, or a folder.
        colors: "#rrggbb" of every label.
        fps: Frames per second of a video.
        names: What labels are called, for JSON.

    Raises:
        MaskError: Two labels of a video have the same colour.
        ResourceError: The disk is full or cannot be written.
    """
    if not _is_file(path):
        check_same_clip(path, next(iter(masks.values())).shape)
        with replacing_masks(path) as folder:
            if overlap(masks):
                write_regions(masks, folder)
            else:
                write_labels(flattened(masks), folder, colors)
        return
    with writable(), replacing(path) as part:
        if path.suffix.lower() == ".json":
            write_rle(masks, part, names)
        else:
            _check_colors(masks, colors)
            write_mask_video(np.asarray(flattened(masks)), part, fps, colors)


def write_pair(clip: Clip, masks: Masks, folder: Path) -> None:
    """Write the pair of videos that VACE and its nodes in ComfyUI take.

    `src_video.mp4` is the clip with all masks in grey, `src_mask.mp4` the masks in
    white on black. Masks are as large and as long as the clip.

    Source: Jiang et al., arXiv:2503.07598, "V2V with masks", as released: pixels to be
        made are mid grey.
    """

    def area(start: int, stop: int) -> np.ndarray:
        windows = [mask[start:stop] for mask in masks.values()]
        return np.any(windows, axis=0)[..., None]

    def read_greyed(start: int, stop: int) -> np.ndarray:
        return np.where(area(start, stop), np.uint8(_GREY), clip.read(start, stop))

    def read_white(start: int, stop: int) -> np.ndarray:
        white = area(start, stop) * np.uint8(255)
        return np.repeat(white, 3, axis=-1)

    width, height = clip.size
    shape = (len(clip), height, width, 3)
    comment = "Made for video-to-video editing with masks"
    for name, read in ((PAIR_SOURCE, read_greyed), (PAIR_MASK, read_white)):
        frames = LazyFrames(shape, np.uint8, read)
        write_video(
            folder / name,
            frames,
            clip.fps,
            comment=comment,
        )


def check_out(out: Path, source: Path) -> None:
    """Check, before any work, that masks made from `source` can be written without
    harming other files.

    Raises:
        RequestError: They cannot; the field is `--out`.
    """
    if _is_file(out):
        # unlike Path.exists, does not raise for a name that is too long
        if os.path.exists(out):
            raise RequestError(
                "--out", f"{out.name!r} already exists. Choose another name."
            )
        check_writable(out.absolute().parent)
        return
    if os.path.isfile(out):
        raise RequestError(
            "--out",
            f"{out.name!r} is a file. Choose a folder, or a .json or .mkv file.",
        )
    check_apart(out, source)
    check_replaced(out, _is_ours, "mask")


def check_same_clip(out: Path, shape: tuple[int, ...]) -> None:
    """Check that the masks in a folder, if any, may be of the clip whose masks, of this
    shape, replace them.

    Raises:
        RequestError: They are more or fewer, or of another size; the field is `--out`.
    """
    if _is_file(out) or not out.is_dir() or not visible(out):
        return
    count, (width, height) = extent_of(out)
    if (count, height, width) != shape:
        raise RequestError(
            "--out",
            f"{shorten(out.name)} has masks of another clip, {count} frames of "
            f"{width}x{height}. Choose a new or empty folder.",
        )


def overlap(masks: Masks) -> bool:
    """Tell whether two masks have a pixel in common."""
    return any(
        np.any(np.sum(masks_of_frame, axis=0, dtype=np.uint8) > 1)
        for masks_of_frame in zip(*masks.values(), strict=True)
    )


def _is_file(path: Path) -> bool:
    return path.suffix.lower() in (".json", *VIDEOS)


def _is_ours(entry: Path) -> bool:
    """Tell whether `write_masks` may have written an entry: a mask, or a label's folder
    of masks."""
    if not entry.is_dir():
        return is_written(entry)
    return label_in(entry.name) is not None and all(
        is_written(file, "L") for file in visible(entry)
    )


def replacing_masks(path: Path) -> AbstractContextManager[Path]:
    """Open a folder whose files replace all in a folder of masks, everything or
    nothing; see `staged`."""
    replaced = [entry.name for entry in visible(path)] if path.is_dir() else []
    return staged(path, replaces=tuple(replaced))


def _check_colors(masks: Masks, colors: Colors) -> None:
    by_color: dict[str, int] = {}
    for label in masks:
        first = by_color.setdefault(colors[label].lower(), label)
        if first != label:
            raise MaskError(
                "--color",
                f"Labels {first} and {label} are both {colors[label]}. Give each "
                "its own colour.",
            )
