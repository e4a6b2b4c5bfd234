"""COCO data sets as masks of a clip: an image per frame, a category per label; other
tools' polygons, too.

A mask is stored as its run lengths down the columns, outside and inside in turn.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.images import natural
from regrain.editing.media.lazy_frames import LazyFrames

Extent = tuple[int, tuple[int, int]]  # number of frames, and their (width, height)
# Keys under which tools give the number of an object that is the same in all images.
_TRACKS = ("track_id", "instance_id", "object_id")
_MOST = 10**9  # of a number in a file of masks
_LEAST_CORNERS = 3
_FARTHEST = 10**6  # pixels of a corner from the frame's


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
    """Read what `write_rle` wrote, or a COCO data set of other tools; missing masks are
    empty.

    The clip uses so many `frames` of `size` (width, height).

    Raises:
        MaskError: The file is missing, has another format, or the count or size is
            wrong.
    """
    facts = load_json(path)
    check_extent(Path(path).name, extent(facts, path), (frames, size))
    by_label = open_rle(facts, path, frames, size)
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
    facts: Any, path: str | Path, frames: int, size: tuple[int, int]
) -> dict[int, dict[int, Any]]:
    """Return the run lengths of a data set, for `from_runs`, by label and frame.

    Its `counts` are compressed or not. Errors are those of `read_rle`.
    """
    name = Path(path).name
    with parsing(path):
        check_sizes(path, [_size_of(image) for image in facts["images"]])
        masks = _masks(facts, size)
        names(facts)  # so that reading them later cannot fail
    if not masks:
        said = f"{shorten(name)} has images, but no masks in them. Export the masks."
        raise MaskError("masks", said)
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
    with parsing(path):
        # by its first bytes: programs on Windows write a mark, or UTF-16
        return json.loads(Path(path).read_bytes(), object_hook=_dense)


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
        whole(category["id"]): str(category.get("name", ""))
        for category in facts.get("categories", [])
    }
    return {
        label: categories.get(one.category, "") for one, label in _labels(facts).items()
    }


@contextmanager
def parsing(path: str | Path) -> Iterator[None]:
    """Turn any failure inside the block into a MaskError: the file holds no masks, or
    lacks a key."""
    name = shorten(Path(path).name)
    said = f"{name} is not a JSON file of masks."
    hint = "Export them as COCO, YouTube-VIS or LabelMe."
    with boundary("masks", f"{said} {hint}", MaskError):
        try:
            yield
        except KeyError as error:
            key = error.args[0]
            if isinstance(key, str):
                said = f"{name} lacks {shorten(key)} where masks need it."
            raise MaskError("masks", f"{said} {hint}") from error


def extent(facts: Any, path: str | Path) -> Extent:
    """Return the number of images of a data set, and the (width, height) of the first;
    MaskError if it is none."""
    with parsing(path):
        if isinstance(facts, list) and facts and "segmentation" in facts[0]:
            said = (
                f"{shorten(Path(path).name)} is a list of masks without their images."
            )
            raise MaskError("masks", f"{said} Export the whole COCO data set.")
        if isinstance(facts, dict) and {"image", "annotations"} <= facts.keys():
            said = (
                f"{shorten(Path(path).name)} is of one image, as SA-1B, and does not "
            )
            hint = "say which masks are of one thing. Export a COCO data set."
            raise MaskError("masks", said + hint)
        if not is_data_set(facts):
            raise TypeError("no data set")
        images = facts["images"]
        return len(images), _size_of(images[0])


def _size_of(image: Mapping[str, Any]) -> tuple[int, int]:
    """Return (width, height) of an image of a data set."""
    return whole(image["width"]), whole(image["height"])


def check_sizes(path: str | Path, sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse frames of different (width, height) by MaskError."""
    for size in sizes:
        if size != sizes[0]:
            one, other = ("{}x{}".format(*of) for of in (sizes[0], size))
            has = f"{shorten(Path(path).name)} has frames of {one} and of {other}."
            raise MaskError("masks", f"{has} Use masks of one clip.")


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
    if len(frames) < len(facts["images"]):
        raise TypeError("two images with one number")
    labels = _labels(facts)
    masks: dict[tuple[int, int], Any] = {}
    for annotation in facts["annotations"]:
        called = f"annotation {annotation.get('id', '')}".rstrip()
        image = annotation["image_id"]
        if image not in frames:
            said = f"{shorten(called)} is of image {shorten(image)}"
            advice = "which is not among the images. Export them again"
            raise MaskError("masks", f"{said}, {advice}.")
        frame = frames[image]
        label = labels[_object(annotation)]
        counts = counts_of(annotation.get("segmentation"), size, called)
        masks[frame, label] = join_runs(masks.get((frame, label)), counts, size)
    return masks


def join_runs(others: Any, counts: Any, size: tuple[int, int]) -> Any:
    """Return the run lengths of two masks together; `others` may be None."""
    if others is None:
        return counts
    return runs(from_runs(others, size) | from_runs(counts, size))


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
        given = attributes.get(key)
        if given is not None and given == given:  # tables have NaN where nothing is
            track = str(given)
            break
    category = annotation["category_id"]
    is_text = isinstance(category, str)
    return _Object(int(category) if is_text else whole(category), track)


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


def counts_of(segmentation: Any, size: tuple[int, int], called: str) -> Any:
    """Return the run lengths of a segmentation; polygons are drawn first.

    Raises:
        MaskError: It is empty, or of another size; `called` says which.
    """
    if not segmentation:
        said = f"{shorten(called)} has no mask, perhaps a box alone."
        raise MaskError("masks", f"{said} Export masks or polygons.")
    if isinstance(segmentation, list):
        return runs(draw_polygons(segmentation, size, called))
    height, width = segmentation.get("size", size[::-1])
    if (width, height) != size:
        said = f"{shorten(called)} is {width}x{height}, but its frame is "
        raise MaskError("masks", said + "{}x{}. Export again.".format(*size))
    counts = segmentation["counts"]
    if isinstance(counts, list):  # with floats among the numbers, see `_dense`
        return [whole(count) for count in counts]
    if not isinstance(counts, str | array):
        raise TypeError("no run lengths")
    return counts


def draw_polygons(
    polygons: Sequence[Any], size: tuple[int, int], called: str
) -> Bool[np.ndarray, "height width"]:
    """Fill polygons in a mask of (width, height): lists of x, y, x, y ..., or of (x, y).

    Raises:
        MaskError: One has fewer than three corners, or none has a pixel of the frame.
    """
    mask = np.zeros(size[::-1], bool)
    shapes = []
    for polygon in polygons:
        numbers = np.array(polygon, float)
        if numbers.size % 2:
            said = f"{shorten(called)} has a polygon of {numbers.size} numbers"
            raise MaskError("masks", f"{said}, not of pairs. Export the masks again.")
        corners = numbers.reshape(-1, 2)
        check_corners(corners, called)
        if len(corners) < _LEAST_CORNERS:
            said = f"{shorten(called)} has a polygon of {len(corners)} corners."
            raise MaskError("masks", f"{said} Export masks or polygons.")
        shapes.append(corners)
        mask |= _centres_inside(corners, size)
    if not mask.any():
        mask = _touched(shapes, size)
    if not mask.any():
        said = f"{shorten(called)} is outside its frame."
        raise MaskError("masks", f"{said} Use masks of this clip.")
    return mask


def check_corners(corners: Float[np.ndarray, "corners 2"], called: str) -> None:
    """Refuse corners that are no numbers, or far from any frame, by a MaskError;
    `called` says whose they are."""
    for number in corners.ravel().tolist():
        if not abs(number) < _FARTHEST:
            said = f"{shorten(called)} has a corner at {number:g}"
            raise MaskError("masks", f"{said}. Export the masks again.")


def _centres_inside(
    corners: Float[np.ndarray, "corners 2"], size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """Return the pixels whose centres are inside a polygon, as COCO counts; its corners
    are between pixels."""
    width, height = size
    # a side changes what is to its right, in the rows whose centres it passes
    changes = np.zeros((height, width + 1), bool)
    for (x, y), (x_end, y_end) in zip(corners, np.roll(corners, -1, 0), strict=True):
        first, last = np.ceil(np.clip(sorted((y, y_end)), 0, height) - 0.5).astype(int)
        rows = np.arange(max(0, first), last)
        crossed = x + (rows + 0.5 - y) * (x_end - x) / (y_end - y or 1)
        columns = np.ceil(np.clip(crossed, 0, width) - 0.5).astype(int)
        changes[rows, columns] ^= True
    return np.logical_xor.accumulate(changes, axis=1)[:, :width]


def _touched(
    shapes: Sequence[Float[np.ndarray, "corners 2"]], size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """Return the pixels that polygons touch, which are too small for any centre."""
    import cv2  # slow to import, and seldom needed

    mask = np.zeros(size[::-1], np.uint8)
    for corners in shapes:
        # OpenCV counts from the centres of pixels
        sixteenths = np.round(16 * (corners - 0.5)).astype(np.int32)
        cv2.fillPoly(mask, [sixteenths], 1, shift=4)
    return mask > 0


def whole(value: object) -> int:
    """Return a number of JSON, maybe written as 128.0, after checking that it is whole
    and not absurd."""
    if isinstance(value, float) and not isfinite(value):
        said = f"The file has {value:g} where masks need a whole number"
        raise MaskError("masks", f"{said}. Export them again.")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value < _MOST:
        raise TypeError("no whole number")
    return value
