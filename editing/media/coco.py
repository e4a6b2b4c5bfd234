"""Run lengths of masks, as COCO data sets have them: down the columns, outside and
inside in turn.

A clip is a data set with an image per frame and a category per label.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.lazy_frames import Extent, LazyFrames, Mask, Masks, Size

Counts = Sequence[object] | array | str | bytes
"""Run lengths of a mask, compressed or not."""
WholeMasks = Mapping[int, Bool[np.ndarray | LazyFrames, "frames height width"]]
"""Masks by label, which may overlap."""


def runs(mask: Mask) -> list[int]:
    """Encode a mask as COCO's RLE: the lengths of runs down the columns, outside and
    inside in turn."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return [0, *lengths] if flat[0] else lengths


def from_runs(counts: Counts, size: Size) -> Mask:
    """Decode what `runs` returned, or COCO's compressed form of it, to a mask of
    (width, height).

    Raises:
        MaskError: The runs are not whole numbers, or do not add up to the size.
    """
    width, height = size
    lengths = _unpacked(counts) if isinstance(counts, str | bytes) else counts
    whole = [length for length in lengths if type(length) is int and length >= 0]
    # Summed by Python: NumPy's sum could wrap round to what is expected.
    if len(whole) < len(lengths) or sum(whole) != width * height:
        raise MaskError(
            "masks",
            f"The runs do not add up to {width}x{height} pixels. Export the masks "
            "again.",
        )
    inside = np.arange(len(whole)) % 2 == 1
    return np.repeat(inside, np.array(whole, int)).reshape(height, width, order="F")


def unroll(counts: Mapping[int, Counts], size: Size, start: int, stop: int) -> Masks:
    """Decode the masks of a label in frames start to stop - 1; missing ones are
    empty."""
    masks = np.zeros((stop - start, size[1], size[0]), bool)
    for frame in counts.keys() & range(start, stop):
        masks[frame - start] = from_runs(counts[frame], size)
    return masks


def _unpacked(text: str | bytes) -> list[int]:
    """Decode the run lengths of COCO's compressed string.

    A character, less 48, holds five bits of a number, the lowest first; its bit 32 says
    that more follow, and bit 16 of the last one is the sign. From the fourth on,
    numbers are differences to the length two before.
    """
    codes = text.encode("latin-1", "replace") if isinstance(text, str) else text
    lengths: list[int] = []
    value = 0
    shift = 0
    for code in codes:
        bits = code - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        if len(lengths) > 2:
            value += lengths[-2]
        lengths.append(value)
        value = 0
        shift = 0
    return lengths


def write_rle(
    masks: WholeMasks, path: str | Path, names: Mapping[int, str] | None = None
) -> None:
    """Write masks by label as one COCO data set, a JSON file: an image per frame, a
    category per label.

    `names` say what labels are called; their numbers by default.

    Raises:
        MaskError: There is no mask, and so no size.
    """
    import cv2  # slow to import, and seldom needed

    if not masks:
        raise MaskError("masks", "No mask is given. Add at least one.")
    frames, height, width = next(iter(masks.values())).shape
    names = names or {}
    size = {"width": width, "height": height}
    head = {
        "info": {"description": "Masks by Regrain", "version": "1"},
        "images": [
            {"id": frame + 1, "file_name": f"{frame:05d}.png", **size}
            for frame in range(frames)
        ],
        "categories": [
            {"id": label, "name": names.get(label) or str(label)} for label in masks
        ],
        "annotations": [],
    }
    compact = partial(json.dumps, separators=(",", ":"))
    number = 0
    with Path(path).open("w", encoding="utf-8") as file:
        file.write(compact(head).removesuffix("]}"))
        # One annotation at a time: all of them would fill memory.
        for label, mask in masks.items():
            for index, frame in enumerate(mask):
                # A label that is nowhere would be lost without its first frame.
                if index > 0 and not frame.any():
                    continue
                number += 1
                annotation = {
                    "id": number,
                    "image_id": index + 1,
                    "category_id": label,
                    "segmentation": {"size": list(frame.shape), "counts": runs(frame)},
                    "area": int(frame.sum()),
                    "bbox": cv2.boundingRect(frame.astype(np.uint8)),
                    "iscrowd": 0,
                }
                comma = "," if number > 1 else ""
                file.write(comma + compact(annotation))
        file.write("]}\n")


def check_extent(name: str, given: Extent, wanted: Extent) -> None:
    """Refuse masks of another count or size of frames than the clip's by MaskError."""
    if given == wanted:
        return
    count, (width, height) = given
    has = f"{shorten(name)} has {count} frames of {width}x{height}"
    count, (width, height) = wanted
    raise MaskError(
        "masks",
        f"{has}, but the clip uses {count} of {width}x{height}. Use masks of this "
        "clip.",
    )
