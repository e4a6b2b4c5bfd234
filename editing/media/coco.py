"""COCO data sets as masks of a clip: an image per frame, a category per label; other
tools' polygons, too.

A mask is stored as its run lengths down the columns, outside and inside in turn.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.images import natural
from regrain.editing.media.lazy_frames import LazyFrames

Extent = tuple[int, tuple[int, int]]  # number of frames, and their (width, height)
# Keys under which tools give the number of an object that is the same in all images.
_TRACKS = ("track_id", "instance_id", "object_id")
_MOST = 10**9  # of a number in a file of masks


def runs(mask: Bool[np.ndarray, "height width"]) -> list[int]:
    """Encode a mask as COCO's RLE: the lengths of runs down the columns, outside and
    inside in turn."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return [0, *lengths] if flat[0] else lengths


def from_runs(
    counts: Sequence[object] | str | bytes, size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """Decode what `runs` returned, or COCO's compressed form of it, to a mask of
    (width, height).

    Raises:
        MaskError: The runs are not whole numbers, or do not add up to the size.
    """
    width, height = size
    lengths = _unpacked(counts) if isinstance(counts, str | bytes) else list(counts)
    # Summed by Python: NumPy's sum could wrap round to what is expected.
    whole = all(type(length) is int and length >= 0 for length in lengths)
    if not whole or sum(lengths) != width * height:
        message = f"The runs do not add up to {width}x{height} pixels. Export the masks again."
        raise MaskError("masks", message)
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, np.array(lengths, int)).reshape(height, width, order="F")


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
    masks: Mapping[int, Bool[np.ndarray | LazyFrames, "frames height width"]],
    path: str | Path,
    names: Mapping[int, str] | None = None,
) -> None:
    """Write masks by label as one COCO data set, a JSON file: an image per frame, a
    category per label.

    `names` say what labels are called; their numbers by default.

    Raises:
        MaskError: There is no mask, and so no size.
    """
    if not masks:
        raise MaskError("masks", "No mask is given. Add at least one.")
    frames, height, width = next(iter(masks.values())).shape
    names = names or {}
    images = [
        {
            "id": frame + 1,
            "file_name": f"{frame:05d}.png",
            "width": width,
            "height": height,
        }
        for frame in range(frames)
    ]
    categories = [
        {"id": label, "name": names.get(label) or str(label)} for label in masks
    ]
    head = {
        "info": {"description": "Masks by Regrain", "version": "1"},
        "images": images,
        "categories": categories,
        "annotations": [],
    }
    compact = partial(json.dumps, separators=(",", ":"))
    with Path(path).open("w", encoding="utf-8") as file:
        file.write(compact(head).removesuffix("]}"))
        # One annotation at a time: all of them would fill memory.
        for number, (label, index, frame) in enumerate(_to_be_written(masks), 1):
            comma = "," if number > 1 else ""
            file.write(comma + compact(_annotation(number, index, label, frame)))
        file.write("]}\n")


def _to_be_written(
    masks: Mapping[int, Bool[np.ndarray | LazyFrames, "frames height width"]],
) -> Iterator[tuple[int, int, Bool[np.ndarray, "height width"]]]:
    """Yield label, frame and mask of what is not empty, and the first frame of every
    label."""
    for label, mask in masks.items():
        for index, frame in enumerate(mask):
            # A label that is nowhere would be lost without its first frame.
            if index == 0 or frame.any():
                yield label, index, frame


def _annotation(
    number: int, frame: int, label: int, mask: Bool[np.ndarray, "height width"]
) -> dict[str, Any]:
    """Return the annotation of a mask, one of `label` in `frame`, which counts from
    0."""
    return {
        "id": number,
        "image_id": frame + 1,
        "category_id": label,
        "segmentation": {"size": list(mask.shape), "counts": runs(mask)},
        "area": int(mask.sum()),
        "bbox": _bounding_box(mask),
        "iscrowd": 0,
    }


def _bounding_box(mask: Bool[np.ndarray, "height width"]) -> list[int]:
    """Return x, y, width and height of the box around a mask in pixels; zeros if it is
    empty."""
    rows = np.flatnonzero(mask.any(1)).tolist()
    columns = np.flatnonzero(mask.any(0)).tolist()
    if not columns:
        return [0, 0, 0, 0]
    width = columns[-1] - columns[0] + 1
    height = rows[-1] - rows[0] + 1
    return [columns[0], rows[0], width, height]


def read_rle(
    path: str | Path, frames: int, size: tuple[int, int]
) -> dict[int, Bool[np.ndarray, "frames height width"]]:
    """Read what `write_rle` wrote; missing masks are empty. Args and errors are those
    of `open_rle`."""
    by_label = open_rle(path, frames, size)
    return {
        label: unroll(counts, size, 0, frames) for label, counts in by_label.items()
    }


def unroll(
    counts: Mapping[int, Any], size: tuple[int, int], start: int, stop: int
) -> Bool[np.ndarray, "frames height width"]:
    """Decode the masks of a label in frames start to stop - 1; missing ones are
    empty."""
    masks = np.zeros((stop - start, size[1], size[0]), bool)
    for frame in counts.keys() & range(start, stop):
        masks[frame - start] = from_runs(counts[frame], size)
    return masks


def open_rle(
    path: str | Path, frames: int, size: tuple[int, int]
) -> dict[int, dict[int, Any]]:
    """Read the run lengths of a file, for `from_runs`, by label and frame.

    It is JSON that `write_rle` wrote, or a COCO data set of other tools, its `counts`
    compressed or not, of a clip that uses so many `frames` of `size` (width, height).

    Raises:
        MaskError: The file is missing, has another format, or the count or size is
            wrong.
    """
    name = Path(path).name
    facts = load_json(path)
    check_extent(name, _extent(facts, path), (frames, size))
    with _parsing(path):
        masks = _masks(facts, size)
        names(facts)  # so that reading them later cannot fail
    by_label: dict[int, dict[int, Any]] = {}
    for (frame, label), counts in masks.items():
        in_clip = 0 <= frame < frames
        if not in_clip or not 1 <= label <= 255:
            has = f"{shorten(name)} has a mask for frame {frame}, label {label}."
            hint = f"Use frames 0 to {frames - 1} and labels 1 to 255."
            raise MaskError("masks", f"{has} {hint}")
        by_label.setdefault(label, {})[frame] = counts
    return by_label


def load_json(path: str | Path) -> Any:
    """Read JSON, keeping run lengths as numbers of four bytes; MaskError if it cannot
    be read."""
    check_regular(Path(path), "masks", MaskError)
    with _parsing(path):
        return json.loads(Path(path).read_text(encoding="utf-8"), object_hook=_dense)


def _dense(entry: dict[str, Any]) -> dict[str, Any]:
    """Keep run lengths as numbers of four bytes; as a list they take ten times as
    much."""
    counts = entry.get("counts")
    if isinstance(counts, list) and all(
        type(n) is int and 0 <= n < 1 << 31 for n in counts
    ):
        entry["counts"] = array("i", counts)
    return entry


def is_data_set(facts: object) -> bool:
    """Tell whether parsed JSON is a COCO data set."""
    return isinstance(facts, dict) and "images" in facts and "annotations" in facts


def extent_of(path: str | Path) -> Extent:
    """Return number and (width, height) of the frames of a JSON file of masks;
    MaskError if it is none."""
    return _extent(load_json(path), path)


def check_extent(name: str, given: Extent, wanted: Extent) -> None:
    """Refuse masks of another count or size of frames than the clip's by MaskError."""
    if given == wanted:
        return
    count, (width, height) = given
    has = f"{shorten(name)} has {count} frames of {width}x{height}"
    count, (width, height) = wanted
    uses = f"but the clip uses {count} of {width}x{height}. Use masks of this clip."
    raise MaskError("masks", f"{has}, {uses}")


def names(facts: Mapping[str, Any]) -> dict[int, str]:
    """Return the name of each label's category; the data set is one that `open_rle` has
    read."""
    categories = {
        _whole(category["id"]): str(category.get("name", ""))
        for category in facts.get("categories", [])
    }
    return {
        label: categories.get(one.category, "") for one, label in _labels(facts).items()
    }


def _parsing(path: str | Path) -> AbstractContextManager[None]:
    """Turn any failure inside the block into a MaskError: the file holds no masks."""
    said = f"{shorten(Path(path).name)} is not a JSON file of masks. Export the masks again."
    return boundary("masks", said, MaskError)


def _extent(facts: Any, path: str | Path) -> Extent:
    """Return the number of images, and the size of the first."""
    with _parsing(path):
        if not is_data_set(facts):
            raise TypeError("no data set")
        images = facts["images"]
        size = _whole(images[0]["width"]), _whole(images[0]["height"])
        return len(images), size


def _masks(
    facts: Mapping[str, Any], size: tuple[int, int]
) -> dict[tuple[int, int], Any]:
    """Return the masks of a data set: run lengths as `from_runs` takes them, by (frame
    from 0, label).

    Images are frames in the order of their names. A label is a category, or, where
    annotations carry the number of an object, an object. Several annotations of one
    label on an image become one mask.
    """
    frames = _frame_numbers(facts["images"])
    labels = _labels(facts)
    masks: dict[tuple[int, int], Any] = {}
    for annotation in facts["annotations"]:
        frame = frames[annotation["image_id"]]
        label = labels[_object(annotation)]
        counts = _counts(annotation["segmentation"], size)
        if not isinstance(counts, list | str | array):
            raise TypeError("no run lengths")
        others = masks.get((frame, label))
        if others is not None:
            joined = from_runs(others, size) | from_runs(counts, size)
            counts = runs(joined)
        masks[frame, label] = counts
    return masks


def _frame_numbers(images: Sequence[Mapping[str, Any]]) -> dict[Any, int]:
    """Number images by their ids, from 0, in the order of their names."""

    def by_name(image: Mapping[str, Any]) -> tuple[object, ...]:
        return natural(str(image["file_name"])), image["id"]

    return {
        image["id"]: frame for frame, image in enumerate(sorted(images, key=by_name))
    }


class _Object(NamedTuple):
    """An object in the images: its category, and its number in all of them, or ""."""

    category: int
    track: str


def _object(annotation: Mapping[str, Any]) -> _Object:
    """Return the object that an annotation shows."""
    attributes = dict(annotation.get("attributes") or {})
    attributes.update(annotation)
    track = ""
    for key in _TRACKS:
        if attributes.get(key) is not None:
            track = str(attributes[key])
            break
    return _Object(int(annotation["category_id"]), track)


def _labels(facts: Mapping[str, Any]) -> dict[_Object, int]:
    """Number the objects: by their categories where these can be labels, else from 1 in
    order."""

    def in_order(one: _Object) -> tuple[object, ...]:
        return one.category, natural(one.track)

    objects = sorted(
        {_object(annotation) for annotation in facts["annotations"]}, key=in_order
    )
    if all(not one.track and 1 <= one.category <= 255 for one in objects):
        return {one: one.category for one in objects}
    return {one: number for number, one in enumerate(objects, 1)}


def _counts(segmentation: Any, size: tuple[int, int]) -> Any:
    """Return the run lengths of a segmentation; polygons are drawn first."""
    if not isinstance(segmentation, list):
        return segmentation["counts"]
    import cv2  # slow to import, and seldom needed

    mask = np.zeros(size[::-1], np.uint8)
    for polygon in segmentation:
        # A corner is between pixels, as COCO counts; OpenCV counts from their centres.
        corners = np.array(polygon, float).reshape(-1, 2) - 0.5
        sixteenths = np.round(16 * corners).astype(np.int32)
        cv2.fillPoly(mask, [sixteenths], 1, shift=4)
    return runs(mask > 0)


def _whole(value: object) -> int:
    """Return a number of JSON after checking that it is whole and not absurd."""
    if type(value) is not int or not 0 <= value < _MOST:
        raise TypeError("no whole number")
    return value
