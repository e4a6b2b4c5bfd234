"""COCO data sets as masks of a clip: an image per frame, a category per label; other tools' polygons, too."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.images import natural
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.media.rle import from_runs, runs

# What tools call the number of an object that is the same in all images.
_TRACKS = ("track_id", "instance_id", "object_id")
Entry = tuple[int, int, Any]


def head(frames: int, size: tuple[int, int], names: Mapping[int, str]) -> dict[str, Any]:
    """A data set without annotations: `size` is (width, height), `names` are those of the labels."""
    width, height = size
    return {
        "info": {"description": "Masks by Regrain", "version": "1"},
        "images": [
            {"id": n + 1, "file_name": f"{n:05d}.png", "width": width, "height": height}
            for n in range(frames)
        ],
        "categories": [{"id": label, "name": name} for label, name in names.items()],
        "annotations": [],
    }


def annotation(number: int, frame: int, label: int, mask: np.ndarray) -> dict[str, Any]:
    """One mask, bool [height, width], of a frame from 0."""
    height, width = mask.shape
    y, x = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [x[0], y[0], x[-1] - x[0] + 1, y[-1] - y[0] + 1] if len(x) else [0, 0, 0, 0]
    return {
        "id": number,
        "image_id": frame + 1,
        "category_id": label,
        "segmentation": {"size": [height, width], "counts": runs(mask)},
        "area": int(mask.sum()),
        "bbox": [int(value) for value in box],
        "iscrowd": 0,
    }


def is_data_set(facts: object) -> bool:
    """Whether JSON is a COCO data set."""
    return isinstance(facts, dict) and "images" in facts and "annotations" in facts


def extent(facts: Mapping[str, Any]) -> tuple[int, tuple[int, int]]:
    """Number of frames, and their (width, height): those of the first image."""
    first = facts["images"][0]
    return len(facts["images"]), (whole(first["width"]), whole(first["height"]))


def entries(facts: Mapping[str, Any]) -> Iterator[Entry]:
    """The masks of a data set: frame from 0, label, and run lengths as `from_runs` takes them.

    Images are frames in the order of their names. A label is a category, or, where annotations carry the
    number of an object, an object. Several annotations of one label on an image become one mask.
    """
    images = sorted(facts["images"], key=lambda image: (natural(str(image["file_name"])), image["id"]))
    frames = {image["id"]: frame for frame, image in enumerate(images)}
    size = extent(facts)[1]
    labels = _labels(facts)
    found: dict[tuple[int, int], Any] = {}
    for one in facts["annotations"]:
        place = frames[one["image_id"]], labels[_object(one)]
        counts = _counts(one["segmentation"], size)
        found[place] = _joined(found[place], counts, size) if place in found else counts
    for (frame, label), counts in found.items():
        yield frame, label, counts


def names(facts: Mapping[str, Any]) -> dict[int, str]:
    """By label, the name of its category; the data set is one that `entries` has read."""
    known = {whole(one["id"]): str(one.get("name", "")) for one in facts.get("categories", [])}
    return {label: known.get(category, "") for (category, _), label in _labels(facts).items()}


def _object(one: Mapping[str, Any]) -> tuple[int, str]:
    said = {**(one.get("attributes") or {}), **one}
    track = next((said[key] for key in _TRACKS if said.get(key) is not None), "")
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
    if not isinstance(segmentation, list):
        return segmentation["counts"]
    import cv2  # slow to import, and seldom needed

    mask = np.zeros(size[::-1], np.uint8)
    for polygon in segmentation:
        # A corner is between pixels, as COCO counts; OpenCV counts from their centres.
        corners = np.array(polygon, float).reshape(-1, 2) - 0.5
        cv2.fillPoly(mask, [np.round(16 * corners).astype(np.int32)], 1, shift=4)
    return runs(mask > 0)


def _joined(one: Any, other: Any, size: tuple[int, int]) -> list[int]:
    return runs(from_runs(one, size) | from_runs(other, size))


_MOST = 10**9  # of a number in a file of masks
# Of JSON that is no masks.
_BAD = (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError)


def write_rle(
    masks: Mapping[int, Bool[np.ndarray | LazyFrames, "frames height width"]],
    path: str | Path,
    names: Mapping[int, str] | None = None,
) -> None:
    """Write all masks as one COCO data set: an image per frame, a category per label, run lengths.

    Args:
        masks: By label.
        path: JSON file.
        names: What labels are called; their numbers by default.

    Raises:
        MaskError: There is no mask, and so no size.
    """
    if not masks:
        raise MaskError("masks", "No mask is given. Add at least one.")

    frames, height, width = next(iter(masks.values())).shape
    known = {label: (names or {}).get(label) or str(label) for label in masks}
    found = (
        (index, label, frame)
        for label, mask in masks.items()
        for index, frame in enumerate(mask)
        if index == 0 or frame.any()  # the first keeps a label that is nowhere
    )
    start = _compact(head(frames, (width, height), known)).removesuffix("]}")
    with Path(path).open("w", encoding="utf-8") as file:  # one at a time: all of them would fill memory
        file.write(start)
        for number, (index, label, frame) in enumerate(found, 1):
            file.write("," * (number > 1) + _compact(annotation(number, index, label, frame)))
        file.write("]}\n")


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def read_rle(
    path: str | Path, frames: int, size: tuple[int, int]
) -> dict[int, Bool[np.ndarray, "frames height width"]]:
    """Read what `write_rle` wrote; missing masks are empty, and `counts` may be compressed.

    Args:
        path: JSON file.
        frames: Number of used frames of the clip.
        size: (width, height) of the clip.

    Raises:
        MaskError: See `open_rle`.
    """
    masks = {}
    for label, counts in open_rle(path, frames, size).items():
        masks[label] = np.zeros((frames, size[1], size[0]), bool)
        for frame, given in counts.items():
            masks[label][frame] = from_runs(given, size)
    return masks


def _dense(entry: dict[str, Any]) -> dict[str, Any]:
    """Keep run lengths as numbers of four bytes; as a list they take ten times as much."""
    counts = entry.get("counts")
    if isinstance(counts, list) and all(type(n) is int and 0 <= n < 1 << 31 for n in counts):
        entry["counts"] = array("i", counts)
    return entry


def load_json(path: str | Path) -> Any:
    """Read JSON, keeping run lengths as numbers of four bytes.

    Raises:
        MaskError: There is no such file, or it is not JSON.
    """
    check_regular(Path(path), "masks", MaskError)
    with boundary("masks", _no_masks(path).message, MaskError):
        return json.loads(Path(path).read_text(encoding="utf-8"), object_hook=_dense)


def open_rle(path: str | Path, frames: int, size: tuple[int, int]) -> dict[int, dict[int, Any]]:
    """Read the run lengths of a file, for `from_runs`, by label and frame.

    Args:
        path: JSON that `write_rle` wrote, or a COCO data set of other tools; `counts` compressed or not.
        frames: Number of used frames of the clip.
        size: (width, height) of the clip.

    Raises:
        MaskError: The file is missing, has another format, or the count or size is wrong.
    """
    name, facts = Path(path).name, load_json(path)
    check_extent(name, _extent(facts, path), (frames, size))
    masks: dict[int, dict[int, Any]] = {}
    for frame, label, counts in _entries(facts, path):
        if not (0 <= frame < frames and 1 <= label <= 255):
            raise MaskError(
                "masks",
                f"{shorten(name)} has a mask for frame {frame}, label {label}. Use frames 0 to {frames - 1} "
                "and labels 1 to 255.",
            )
        masks.setdefault(label, {})[frame] = counts
    return masks


def check_extent(name: str, given: tuple[int, tuple[int, int]], wanted: tuple[int, tuple[int, int]]) -> None:
    """Refuse masks of another clip: both are the number of frames and their (width, height).

    Raises:
        MaskError: The count or size is wrong.
    """
    if (given[0], tuple(given[1])) != (wanted[0], tuple(wanted[1])):
        (count, (width, height)), (frames, size) = given, wanted
        raise MaskError(
            "masks",
            f"{shorten(name)} has {count} frames of {width}x{height}, but the clip uses {frames} of "
            f"{size[0]}x{size[1]}. Use masks of this clip.",
        )


def extent_of(path: str | Path) -> tuple[int, tuple[int, int]]:
    """Number of frames, and their (width, height), of a JSON file of masks.

    Raises:
        MaskError: The file is missing or has another format.
    """
    return _extent(load_json(path), path)


def _extent(facts: Any, path: str | Path) -> tuple[int, tuple[int, int]]:
    if not is_data_set(facts):
        raise _no_masks(path)
    try:
        return extent(facts)
    except _BAD:
        raise _no_masks(path) from None


def _entries(facts: Any, path: str | Path) -> list[Entry]:
    """Frame from 0, label and run lengths of every mask."""
    try:
        masks = list(entries(facts))
    except MaskError:
        raise
    except _BAD:
        raise _no_masks(path) from None
    if not all(isinstance(counts, list | str | array) for *_, counts in masks):
        raise _no_masks(path)
    return masks


def whole(value: object) -> int:
    """A number of JSON that must be whole and not absurd.

    Raises:
        TypeError: It is neither.
    """
    if type(value) is not int or not 0 <= value < _MOST:
        raise TypeError("no whole number")
    return value


def _no_masks(path: str | Path) -> MaskError:
    said = f"{shorten(Path(path).name)} is not a JSON file of masks. Export the masks again."
    return MaskError("masks", said)
