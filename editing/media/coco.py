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
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from regrain.editing.boundary import AnyPath, boundary, check_regular
from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.lazy_frames import Extent, LazyFrames, Mask, Masks, Size
from regrain.editing.media.mask_pictures import FORMS, label_in
from regrain.editing.media.numbering import natural_of
from regrain.editing.removed import instead
from regrain.editing.storage.texts import Json

Counts = Sequence[object] | array | str | bytes
"""Run lengths of a mask, compressed or not."""
_TRACKS = ("track_id", "instance_id", "object_id")  # numbers of objects in other tools
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


class DataSet(NamedTuple):
    """Masks of a COCO data set.

    Attributes:
        extent: Number of frames, and their size.
        names: What labels are called, maybe nothing.
        counts: Run lengths by label and frame.
    """

    extent: Extent
    names: dict[int, str]
    counts: dict[int, dict[int, Counts]]


def read_data_set(path: Path) -> DataSet:
    """Read a COCO data set of run lengths: images are frames in the order of their
    names, categories are labels. MaskError if it is none."""
    check_regular(path, "masks", MaskError)
    name = shorten(path.name)
    with boundary("masks", f"{name} is not a COCO data set. {FORMS}", MaskError):
        # by its first bytes: programs on Windows write a mark, or UTF-16
        facts = json.loads(path.read_bytes(), object_hook=_dense)
        sizes = [_size_of(image) for image in facts["images"]]
        size = sizes[0]
        for other in sizes:
            _check_size("an image", other, size)
        frames = _frames_of(facts["images"])
        categories = {
            one["id"]: str(one.get("name", "")) for one in facts.get("categories", ())
        }
        counts: dict[int, dict[int, Counts]] = {}
        for annotation in facts["annotations"]:
            called = f"annotation {annotation.get('id', '')}".rstrip()
            label, frame = _place_of(annotation, frames, called)
            of_label = counts.setdefault(label, {})
            if frame in of_label:
                said = f"{shorten(called)} is the second of category {label} on its "
                hint = "image. Give each object a category of its own."
                raise MaskError("masks", said + hint)
            of_label[frame] = _counts_of(annotation.get("segmentation"), size, called)
        names = {label: categories.get(label, "") for label in counts}
    if not counts:
        raise MaskError("masks", f"{name} has no masks. Draw some.")
    return DataSet((len(frames), size), names, counts)


def _dense(entry: Json) -> Json:
    """Keep run lengths as numbers of four bytes; as a list they take ten times as
    much."""
    counts = entry.get("counts")
    if isinstance(counts, list) and all(
        type(n) is int and 0 <= n < 1 << 31 for n in counts
    ):
        entry["counts"] = array("i", counts)
    return entry


def _size_of(image: Json) -> Size:
    """Return (width, height) of an image of a data set."""
    size = image["width"], image["height"]
    if any(type(side) is not int or side < 1 for side in size):
        raise TypeError("no size")
    return size


def _frames_of(images: Sequence[Json]) -> dict[object, int]:
    """Return the frame of each image, by its number."""
    key = natural_of([str(image["file_name"]) for image in images])
    ordered = sorted(
        images, key=lambda image: (key(str(image["file_name"])), image["id"])
    )
    frames = {image["id"]: frame for frame, image in enumerate(ordered)}
    if len(frames) < len(images):
        raise TypeError("two images with one number")
    return frames


def _place_of(
    annotation: Json, frames: Mapping[object, int], called: str
) -> tuple[int, int]:
    """Return label and frame of an annotation; MaskError if it has none, or is of an
    object with a number."""
    given = {**(annotation.get("attributes") or {}), **annotation}
    if any(given.get(key) is not None for key in _TRACKS):
        said = f"{shorten(called)} numbers its object. {instead('track_id')}"
        raise MaskError("masks", said)
    category = annotation["category_id"]
    label = label_in(str(category))
    if label is None or type(category) is not int:
        raise MaskError(
            "masks",
            f"{shorten(called)} is of category {shorten(category)}. Use categories from "
            "1 to 255.",
        )
    image = annotation["image_id"]
    if image not in frames:
        raise MaskError(
            "masks",
            f"{shorten(called)} is of image {shorten(image)}, which is not among the "
            "images. Export them again.",
        )
    return label, frames[image]


def _counts_of(segmentation: object, size: Size, called: str) -> Counts:
    """Return the run lengths of a segmentation; MaskError if it is of another size, or
    none, as polygons are."""
    if not isinstance(segmentation, dict):
        raise MaskError("masks", f"{shorten(called)} has no run lengths. {FORMS}")
    height, width = segmentation.get("size", size[::-1])
    _check_size(called, (width, height), size)
    counts = segmentation["counts"]
    if not isinstance(counts, str | array):
        raise TypeError("no run lengths")
    return counts


def _check_size(called: str, given: Size, wanted: Size) -> None:
    """Refuse what is not as large as the first image by MaskError."""
    if given != wanted:
        one, other = (
            f"{shorten(width)}x{shorten(height)}" for width, height in (given, wanted)
        )
        raise MaskError(
            "masks",
            f"{shorten(called)} is {one}, but the first image is {other}. Use masks of "
            "one clip.",
        )


def write_rle(
    masks: WholeMasks, path: AnyPath, names: Mapping[int, str] | None = None
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
