"""COCO data sets as masks of a clip: an image per frame, a category per label; other tools' polygons, too.

A mask is stored as its run lengths down the columns, outside and inside in turn.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.images import natural
from regrain.editing.media.lazy_frames import LazyFrames

Extent = tuple[int, tuple[int, int]]  # number of frames, and their (width, height)
# What tools call the number of an object that is the same in all images.
_TRACKS = ("track_id", "instance_id", "object_id")
_MOST = 10**9  # of a number in a file of masks


def runs(mask: Bool[np.ndarray, "height width"]) -> list[int]:
    """Encode a mask as COCO's RLE: lengths of runs down the columns, outside and inside in turn."""
    flat = mask.ravel(order="F")
    ends = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    return [0] * bool(flat[0]) + np.diff(ends).tolist()


def from_runs(
    counts: Sequence[object] | str | bytes, size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """Decode what `runs` returned, or COCO's compressed form of it, to a mask of (width, height).

    Raises:
        MaskError: The runs are not whole numbers, or do not add up to the size.
    """
    width, height = size
    lengths = _unpacked(counts) if isinstance(counts, str | bytes) else list(counts)
    # Summed by Python: NumPy's sum could wrap round to what is expected.
    if not all(type(n) is int and n >= 0 for n in lengths) or sum(lengths) != width * height:
        message = f"The runs do not add up to {width}x{height} pixels. Export the masks again."
        raise MaskError("masks", message)
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, np.array(lengths, int)).reshape(height, width, order="F")


def _unpacked(text: str | bytes) -> list[int]:
    """Run lengths of COCO's compressed string: five bits a character, each length less the last but one's."""
    lengths: list[int] = []
    value = shift = 0
    for code in text.encode("latin-1", "replace") if isinstance(text, str) else text:
        value |= ((code - 48) & 31) << shift
        shift += 5
        if code - 48 & 32:
            continue
        if code - 48 & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths


def write_rle(
    masks: Mapping[int, Bool[np.ndarray | LazyFrames, "frames height width"]],
    path: str | Path,
    names: Mapping[int, str] | None = None,
) -> None:
    """Write masks by label as one COCO data set, a JSON file: an image per frame, a category per label.

    `names` say what labels are called; their numbers by default.

    Raises:
        MaskError: There is no mask, and so no size.
    """
    if not masks:
        raise MaskError("masks", "No mask is given. Add at least one.")
    frames, height, width = next(iter(masks.values())).shape
    size = {"width": width, "height": height}
    head = {
        "info": {"description": "Masks by Regrain", "version": "1"},
        "images": [{"id": n + 1, "file_name": f"{n:05d}.png", **size} for n in range(frames)],
        "categories": [
            {"id": label, "name": (names or {}).get(label) or str(label)} for label in masks
        ],
        "annotations": [],
    }
    shown = (
        (index, label, frame)
        for label, mask in masks.items()
        for index, frame in enumerate(mask)
        if index == 0 or frame.any()  # the first keeps a label that is nowhere
    )
    with Path(path).open(
        "w", encoding="utf-8"
    ) as file:  # one at a time: all of them would fill memory
        compact = partial(json.dumps, separators=(",", ":"))
        file.write(compact(head).removesuffix("]}"))
        for number, (index, label, frame) in enumerate(shown, 1):
            file.write("," * (number > 1) + compact(_annotation(number, index, label, frame)))
        file.write("]}\n")


def _annotation(number: int, frame: int, label: int, mask: np.ndarray) -> dict[str, Any]:
    """One mask, bool [height, width], of a frame from 0."""
    y, x = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [x[0], y[0], x[-1] - x[0] + 1, y[-1] - y[0] + 1] if len(x) else [0, 0, 0, 0]
    return {
        "id": number,
        "image_id": frame + 1,
        "category_id": label,
        "segmentation": {"size": list(mask.shape), "counts": runs(mask)},
        "area": int(mask.sum()),
        "bbox": [int(value) for value in box],
        "iscrowd": 0,
    }


def read_rle(
    path: str | Path, frames: int, size: tuple[int, int]
) -> dict[int, Bool[np.ndarray, "frames height width"]]:
    """Read what `write_rle` wrote; missing masks are empty. Args and errors are those of `open_rle`."""
    return {
        label: unroll(counts, size, 0, frames)
        for label, counts in open_rle(path, frames, size).items()
    }


def unroll(
    counts: Mapping[int, Any], size: tuple[int, int], start: int, stop: int
) -> Bool[np.ndarray, "frames height width"]:
    """Decode the masks of a label in frames start to stop - 1; missing ones are empty."""
    masks = np.zeros((stop - start, size[1], size[0]), bool)
    for frame in counts.keys() & range(start, stop):
        masks[frame - start] = from_runs(counts[frame], size)
    return masks


def open_rle(path: str | Path, frames: int, size: tuple[int, int]) -> dict[int, dict[int, Any]]:
    """Read the run lengths of a file, for `from_runs`, by label and frame.

    It is JSON that `write_rle` wrote, or a COCO data set of other tools, its `counts` compressed or not, of a
    clip that uses so many `frames` of `size` (width, height).

    Raises:
        MaskError: The file is missing, has another format, or the count or size is wrong.
    """
    name, facts = Path(path).name, load_json(path)
    check_extent(name, _extent(facts, path), (frames, size))
    masks: dict[int, dict[int, Any]] = {}
    with _parsing(path):
        by_place = _masks(facts, size)
        names(facts)  # read later
    for (frame, label), counts in by_place.items():
        if not (0 <= frame < frames and 1 <= label <= 255):
            wrong = f"{shorten(name)} has a mask for frame {frame}, label {label}."
            raise MaskError("masks", f"{wrong} Use frames 0 to {frames - 1} and labels 1 to 255.")
        masks.setdefault(label, {})[frame] = counts
    return masks


def load_json(path: str | Path) -> Any:
    """Read JSON, keeping run lengths as numbers of four bytes; MaskError if it cannot be read."""
    check_regular(Path(path), "masks", MaskError)
    with _parsing(path):
        return json.loads(Path(path).read_text(encoding="utf-8"), object_hook=_dense)


def _dense(entry: dict[str, Any]) -> dict[str, Any]:
    """Keep run lengths as numbers of four bytes; as a list they take ten times as much."""
    counts = entry.get("counts")
    if isinstance(counts, list) and all(type(n) is int and 0 <= n < 1 << 31 for n in counts):
        entry["counts"] = array("i", counts)
    return entry


def is_data_set(facts: object) -> bool:
    """Whether JSON is a COCO data set."""
    return isinstance(facts, dict) and "images" in facts and "annotations" in facts


def extent_of(path: str | Path) -> Extent:
    """Number of frames, and their (width, height), of a JSON file of masks; MaskError if it is none."""
    return _extent(load_json(path), path)


def check_extent(name: str, given: Extent, wanted: Extent) -> None:
    """Refuse masks of another count or size of frames than the clip's by MaskError."""
    (count, (width, height)), (frames, size) = given, wanted
    if (count, width, height) != (frames, *size):
        uses = f"but the clip uses {frames} of {size[0]}x{size[1]}. Use masks of this clip."
        raise MaskError("masks", f"{shorten(name)} has {count} frames of {width}x{height}, {uses}")


def names(facts: Mapping[str, Any]) -> dict[int, str]:
    """By label, the name of its category; the data set is one that `open_rle` has read."""
    categories = {
        _whole(one["id"]): str(one.get("name", "")) for one in facts.get("categories", [])
    }
    return {label: categories.get(category, "") for (category, _), label in _labels(facts).items()}


def _parsing(path: str | Path) -> AbstractContextManager[None]:
    """Whatever fails inside means that a file holds no masks."""
    said = f"{shorten(Path(path).name)} is not a JSON file of masks. Export the masks again."
    return boundary("masks", said, MaskError)


def _extent(facts: Any, path: str | Path) -> Extent:
    """The number of images, and the size of the first."""
    with _parsing(path):
        if not is_data_set(facts):
            raise TypeError("no data set")
        first = facts["images"][0]
        return len(facts["images"]), (_whole(first["width"]), _whole(first["height"]))


def _masks(facts: Mapping[str, Any], size: tuple[int, int]) -> dict[tuple[int, int], Any]:
    """The masks of a data set: run lengths as `from_runs` takes them, by frame from 0 and label.

    Images are frames in the order of their names. A label is a category, or, where annotations carry the
    number of an object, an object. Several annotations of one label on an image become one mask.
    """
    images = sorted(
        facts["images"], key=lambda image: (natural(str(image["file_name"])), image["id"])
    )
    frames = {image["id"]: frame for frame, image in enumerate(images)}
    labels = _labels(facts)
    masks: dict[tuple[int, int], Any] = {}
    for one in facts["annotations"]:
        place, counts = (
            (frames[one["image_id"]], labels[_object(one)]),
            _counts(one["segmentation"], size),
        )
        if not isinstance(counts, list | str | array):
            raise TypeError("no run lengths")
        if place in masks:
            counts = runs(from_runs(masks[place], size) | from_runs(counts, size))
        masks[place] = counts
    return masks


def _object(one: Mapping[str, Any]) -> tuple[int, str]:
    """The object that an annotation shows: its category, and its number in all images if it has one."""
    attributes = {**(one.get("attributes") or {}), **one}
    track = next((attributes[key] for key in _TRACKS if attributes.get(key) is not None), "")
    return int(one["category_id"]), str(track)


def _labels(facts: Mapping[str, Any]) -> dict[tuple[int, str], int]:
    """The label of each object: its category's number where that is one, else the next."""
    objects = sorted(
        {_object(one) for one in facts["annotations"]}, key=lambda one: (one[0], natural(one[1]))
    )
    if all(not track and 1 <= category <= 255 for category, track in objects):
        return {one: one[0] for one in objects}
    return {one: number for number, one in enumerate(objects, 1)}


def _counts(segmentation: Any, size: tuple[int, int]) -> Any:
    """Run lengths, of polygons too."""
    if not isinstance(segmentation, list):
        return segmentation["counts"]
    import cv2  # slow to import, and seldom needed

    mask = np.zeros(size[::-1], np.uint8)
    for polygon in segmentation:
        # A corner is between pixels, as COCO counts; OpenCV counts from their centres.
        corners = np.array(polygon, float).reshape(-1, 2) - 0.5
        cv2.fillPoly(mask, [np.round(16 * corners).astype(np.int32)], 1, shift=4)
    return runs(mask > 0)


def _whole(value: object) -> int:
    """A number of JSON that must be whole and not absurd."""
    if type(value) is not int or not 0 <= value < _MOST:
        raise TypeError("no whole number")
    return value
