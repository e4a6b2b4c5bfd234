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
from regrain.editing.media.coco import WholeMasks, write_rle
from regrain.editing.media.labels import flattened
from regrain.editing.media.mask_files import (
    extent_of,
    is_written,
    open_regions,
    write_labels,
    write_regions,
)
from regrain.editing.media.mask_pictures import Colors, default_color, label_in
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

Masks = WholeMasks


def colors_of(labels: Iterable[int]) -> dict[int, str]:
    """Return the default colour, "#rrggbb", of every label."""
    return {label: default_color(label) for label in labels}


def read_masks(path: Path, colors: Colors) -> Masks:
    """Read masks of any form, whole if the form keeps overlapping masks whole.

    Args:
        path: Folder of pictures or of one folder per label, picture, `.json` file, or
            video.
        colors: "#rrggbb" by label, for masks in colours; other labels have those of the
            page.

    Raises:
        MaskError: The masks cannot be read, or have no label in any frame.
        ClipError: The video cannot be read.
    """
    count, size = extent_of(path)
    masks = open_regions(path, count, size, colors=colors)
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
            write_mask_video(flattened(masks), part, fps, colors)


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
