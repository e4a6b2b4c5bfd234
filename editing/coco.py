"""COCO data sets as masks of a clip: an image per frame, a category per label; other tools' polygons, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from editing.clip.images import natural
from editing.rle import from_runs, runs, whole

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
