"""Masks in JSON of other tools: COCO, YouTube-VIS, LabelMe."""

from __future__ import annotations

import base64
import io
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import MaskError, shorten
from regrain.editing.media.coco import Counts, from_runs, runs
from regrain.editing.media.images import natural, natural_of, pictures_in
from regrain.editing.media.label_map import label_in
from regrain.editing.media.lazy_frames import Extent, Mask, Size
from regrain.editing.storage.folders import visible
from regrain.editing.storage.texts import Json

# Keys under which tools give the number of an object that is the same in all images.
_TRACKS = ("track_id", "instance_id", "object_id")
_MOST = 10**9  # of a number in a file of masks
_MOST_LABELS = 255
_LEAST_CORNERS = 3
_FARTHEST = 10**6  # pixels of a corner from the frame's

Found = Iterator[tuple[int, int, Counts]]
"""Label, frame and run lengths of masks."""
Corners = Float[np.ndarray, "corners 2"]


class Annotations(NamedTuple):
    """Masks in JSON.

    Attributes:
        path: The file or folder.
        extent: Number of frames, and their size.
        names: What labels are called, maybe nothing.
        shown: Yields label, frame and run lengths of each mask, which takes memory for
            polygons as large as the frames; a label may have several on a frame.
    """

    path: Path
    extent: Extent
    names: Mapping[int, str]
    shown: Callable[[], Found]

    def runs(self) -> dict[int, dict[int, Counts]]:
        """Read the run lengths of masks, by label and frame; MaskError if there are
        none, or too many."""
        found: dict[int, dict[int, Counts]] = {label: {} for label in self.names}
        _, size = self.extent
        with _parsing(self.path):
            for label, frame, counts in self.shown():
                others = found[label].get(frame)
                if others is not None:
                    counts = runs(from_runs(others, size) | from_runs(counts, size))
                found[label][frame] = counts
        name = shorten(self.path.name)
        if not found:
            raise MaskError(
                "masks", f"{name} has no masks. Draw some, or choose another file."
            )
        if max(found) > _MOST_LABELS:
            raise MaskError(
                "masks", f"{name} has {len(found)} objects. Use at most {_MOST_LABELS}."
            )
        return found


def read_annotations(path: Path) -> Annotations:
    """Read a JSON file, or a folder of those of LabelMe; MaskError if it has no
    masks."""
    if path.is_dir():
        return _label_me(path, _frames_in(path))
    facts = _load_json(path)
    if isinstance(facts, dict) and "videos" in facts and "images" not in facts:
        return _video_set(facts, path)
    if isinstance(facts, dict) and "shapes" in facts:
        return _label_me(path, [facts])
    return _data_set(facts, path)


def is_label_me(folder: Path) -> bool:
    """Tell whether a folder holds JSON files, as LabelMe writes them beside the
    pictures."""
    return any(entry.suffix.lower() == ".json" for entry in visible(folder))


def _load_json(path: Path) -> Any:
    """Read JSON, keeping run lengths as numbers of four bytes; MaskError if it cannot
    be read."""
    check_regular(path, "masks", MaskError)
    with _parsing(path):
        # by its first bytes: programs on Windows write a mark, or UTF-16
        return json.loads(path.read_bytes(), object_hook=_dense)


def _dense(entry: Json) -> Json:
    """Keep run lengths as numbers of four bytes; as a list they take ten times as
    much."""
    counts = entry.get("counts")
    if isinstance(counts, list) and all(
        type(n) is int and 0 <= n < 1 << 31 for n in counts
    ):
        entry["counts"] = array("i", counts)
    return entry


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Turn any failure inside the block into a MaskError: the file holds no masks, or
    lacks a key."""
    name = shorten(path.name)
    hint = "Export them as COCO, YouTube-VIS or LabelMe."
    with boundary("masks", f"{name} is not a JSON file of masks. {hint}", MaskError):
        try:
            yield
        except KeyError as error:
            key = shorten(str(error.args[0]))
            said = f"{name} lacks {key} where masks need it."
            raise MaskError("masks", f"{said} {hint}") from error


class _Object(NamedTuple):
    """An object: its category, and its number in all frames, or ""."""

    category: str
    number: str


def _numbered(objects: Iterable[_Object]) -> dict[_Object, int]:
    """Number objects: by their categories where these can be labels, else from 1 in
    order."""
    found = sorted(
        set(objects), key=lambda one: (natural(one.category), natural(one.number))
    )
    labels = {one: label_in(one.category) for one in found if not one.number}
    if all(str(labels.get(one)) == one.category for one in found):
        return {one: int(one.category) for one in found}
    return {one: number for number, one in enumerate(found, 1)}


def _data_set(facts: Any, path: Path) -> Annotations:
    """Read masks of COCO: images are frames in the order of their names.

    A label is a category, or, where annotations carry the number of an object, an
    object. Several annotations of one label on an image become one mask.
    """
    with _parsing(path):
        _check_data_set(facts, path)
        images: list[Json] = facts["images"]
        size = _size_of(images[0])
        labels = _numbered(map(_object_of, facts["annotations"]))
        categories = {
            str(_whole(category["id"])): str(category.get("name", ""))
            for category in facts.get("categories", [])
        }
        names = {
            label: categories.get(one.category, "") for one, label in labels.items()
        }

    def shown() -> Found:
        _check_sizes(path, [_size_of(image) for image in images])
        key = natural_of([str(image["file_name"]) for image in images])
        ordered = sorted(
            images, key=lambda image: (key(str(image["file_name"])), image["id"])
        )
        frames = {image["id"]: frame for frame, image in enumerate(ordered)}
        if len(frames) < len(images):
            raise TypeError("two images with one number")
        if not labels:
            raise MaskError(
                "masks",
                f"{shorten(path.name)} has images, but no masks in them. Export "
                "the masks.",
            )
        for annotation in facts["annotations"]:
            called = f"annotation {annotation.get('id', '')}".rstrip()
            image = annotation["image_id"]
            if image not in frames:
                raise MaskError(
                    "masks",
                    f"{shorten(called)} is of image {shorten(image)}, which is "
                    "not among the images. Export them again.",
                )
            counts = _counts_of(annotation.get("segmentation"), size, called)
            yield labels[_object_of(annotation)], frames[image], counts

    return Annotations(path, (len(images), size), names, shown)


def _check_data_set(facts: Any, path: Path) -> None:
    """Refuse JSON that is no COCO data set, by TypeError where nobody knows what it
    is."""
    name = shorten(path.name)
    if isinstance(facts, list) and facts and "segmentation" in facts[0]:
        raise MaskError(
            "masks",
            f"{name} is a list of masks without their images. Export the whole "
            "COCO data set.",
        )
    if isinstance(facts, dict) and {"image", "annotations"} <= facts.keys():
        said = f"{name} is of one image, as SA-1B, and does not "
        hint = "say which masks are of one thing. Export a COCO data set."
        raise MaskError("masks", said + hint)
    if not isinstance(facts, dict) or not {"images", "annotations"} <= facts.keys():
        raise TypeError("no data set")


def _object_of(annotation: Json) -> _Object:
    """Return the object that an annotation of COCO shows."""
    attributes = {**(annotation.get("attributes") or {}), **annotation}
    given = [attributes.get(key) for key in _TRACKS]
    # tables have NaN where nothing is
    tracks = [str(one) for one in given if one is not None and one == one]
    category = annotation["category_id"]
    number = int(category) if isinstance(category, str) else _whole(category)
    return _Object(str(number), tracks[0] if tracks else "")


def _video_set(facts: Json, path: Path) -> Annotations:
    """Read masks of YouTube-VIS: an object per annotation, a mask per frame, or null."""
    with _parsing(path):
        if len(facts["videos"]) != 1:
            raise MaskError(
                "masks",
                f"{shorten(path.name)} has {len(facts['videos'])} videos. Export "
                "the one of this clip.",
            )
        video = facts["videos"][0]
        size = _size_of(video)
        files = video.get("file_names") or ()
        count = _whole(video["length"]) if "length" in video else len(files)
        categories = {
            one["id"]: str(one.get("name", "")) for one in facts.get("categories", ())
        }
        objects = sorted(facts["annotations"], key=lambda one: one["id"])
        names = {
            label: categories.get(one.get("category_id"), "")
            for label, one in enumerate(objects, 1)
        }

    def shown() -> Found:
        for label, one in enumerate(objects, 1):
            of_video = one.get("video_id", video["id"])
            if of_video != video["id"] or len(one["segmentations"]) != count:
                raise TypeError("masks of another video")
            for frame, mask in enumerate(one["segmentations"]):
                if mask is not None:
                    yield (
                        label,
                        frame,
                        _counts_of(mask, size, f"annotation {one['id']}"),
                    )

    return Annotations(path, (count, size), names, shown)


def _frames_in(folder: Path) -> list[Json]:
    """Read the frames that LabelMe annotated, one file each; those without a file,
    whose pictures stand among the others, show nothing."""
    files = [file for file in visible(folder) if file.suffix.lower() == ".json"]
    by_stem = {file.stem: file for file in files}
    stems = by_stem.keys() | {picture.stem for picture in pictures_in(folder)}
    frames = []
    for stem in sorted(stems, key=natural_of(stems)):
        facts = _load_json(by_stem[stem]) if stem in by_stem else {"shapes": []}
        if not isinstance(facts, dict) or "shapes" not in facts:
            raise MaskError(
                "masks",
                f"{shorten(by_stem[stem].name)} has no shapes, but others in the "
                "folder are of LabelMe. Choose one JSON file, or a folder of "
                "LabelMe's.",
            )
        frames.append(facts)
    return frames


def _label_me(path: Path, frames: Sequence[Json]) -> Annotations:
    """Read masks of LabelMe: a label's shapes on a frame, of one group, are one
    mask."""
    with _parsing(path):
        sizes = [
            (_whole(one["imageWidth"]), _whole(one["imageHeight"]))
            for one in frames
            if one["shapes"] or "imageWidth" in one
        ]
        _check_sizes(path, sizes)
        size = sizes[0]
        labels = _numbered(
            _shown_by(shape) for one in frames for shape in one["shapes"]
        )

    def shown() -> Found:
        for frame, one in enumerate(frames):
            for shape in one["shapes"]:
                yield labels[_shown_by(shape)], frame, runs(_drawn(shape, size))

    names = {label: one.category for one, label in labels.items()}
    return Annotations(path, (len(frames), size), names, shown)


def _shown_by(shape: Json) -> _Object:
    """Return the object that a shape of LabelMe shows."""
    group = shape.get("group_id")
    return _Object(str(shape["label"]), "" if group is None else str(group))


def _drawn(shape: Json, size: Size) -> Mask:
    """Draw a shape of LabelMe as a mask of (width, height)."""
    kind = shape.get("shape_type") or "polygon"
    called = f"the {kind} {shape['label']}"
    points = np.array(shape["points"], float).reshape(-1, 2)
    _check_corners(points, called)
    if kind == "polygon":
        return _draw_polygons([points], size, called)
    if kind == "mask":
        return _pasted(shape["mask"], points, size)
    if kind == "rectangle":
        left, top = points.min(0)
        right, bottom = points.max(0)
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        return _draw_polygons([corners], size, called)
    if kind == "circle":
        middle, edge = points
        angles = np.linspace(0, 2 * np.pi, 256, endpoint=False)
        around = np.stack([np.cos(angles), np.sin(angles)], -1)
        corners = middle + np.linalg.norm(edge - middle) * around
        return _draw_polygons([corners], size, called)
    raise MaskError(
        "masks",
        f"{shorten(str(shape['label']))} is drawn as a {shorten(str(kind))}, "
        "which has no area. Draw polygons, rectangles, circles or masks.",
    )


def _pasted(text: str, points: np.ndarray, size: Size) -> Mask:
    """Return a mask in which the picture in a text lies at its first point."""
    with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
        if image.width > size[0] or image.height > size[1]:
            raise TypeError("a mask larger than the frame")
        inside = np.asarray(image.convert("L")) > 0
    left, top = np.rint(points.min(0)).astype(int).tolist()
    mask = np.zeros(size[::-1], bool)
    if left < 0 or top < 0:
        raise TypeError("a mask outside the frame")
    place = mask[top : top + image.height, left : left + image.width]
    place |= inside[: place.shape[0], : place.shape[1]]
    return mask


def _size_of(image: Json) -> Size:
    """Return (width, height) of an image or video of a data set."""
    return _whole(image["width"]), _whole(image["height"])


def _check_sizes(path: Path, sizes: Sequence[Size]) -> None:
    """Refuse frames of different (width, height) by MaskError."""
    for size in sizes:
        if size != sizes[0]:
            one, other = ("{}x{}".format(*of) for of in (sizes[0], size))
            raise MaskError(
                "masks",
                f"{shorten(path.name)} has frames of {one} and of {other}. Use "
                "masks of one clip.",
            )


def _counts_of(segmentation: Any, size: Size, called: str) -> Counts:
    """Return the run lengths of a segmentation; polygons are drawn first.

    Raises:
        MaskError: It is empty, or of another size; `called` says which.
    """
    if not segmentation:
        raise MaskError(
            "masks",
            f"{shorten(called)} has no mask, perhaps a box alone. Export masks or "
            "polygons.",
        )
    if isinstance(segmentation, list):
        return runs(_draw_polygons(segmentation, size, called))
    height, width = segmentation.get("size", size[::-1])
    if (width, height) != size:
        said = f"{shorten(called)} is {width}x{height}, but its frame is "
        raise MaskError("masks", said + "{}x{}. Export again.".format(*size))
    counts = segmentation["counts"]
    if isinstance(counts, list):  # with floats among the numbers, see `_dense`
        return [_whole(count) for count in counts]
    if not isinstance(counts, str | array):
        raise TypeError("no run lengths")
    return counts


def _draw_polygons(polygons: Sequence[Any], size: Size, called: str) -> Mask:
    """Fill polygons in a mask of (width, height): lists of x, y, x, y ..., or of (x, y).

    Raises:
        MaskError: One has fewer than three corners, or none has a pixel of the frame.
    """
    mask = np.zeros(size[::-1], bool)
    shapes = []
    for polygon in polygons:
        numbers = np.array(polygon, float)
        if numbers.size % 2:
            raise MaskError(
                "masks",
                f"{shorten(called)} has a polygon of {numbers.size} numbers, not "
                "of pairs. Export the masks again.",
            )
        corners = numbers.reshape(-1, 2)
        _check_corners(corners, called)
        if len(corners) < _LEAST_CORNERS:
            raise MaskError(
                "masks",
                f"{shorten(called)} has a polygon of {len(corners)} corners. "
                "Export masks or polygons.",
            )
        shapes.append(corners)
        mask |= _centres_inside(corners, size)
    _check_pixels(np.concatenate(shapes), size, called)
    if not mask.any():
        # too small for any centre: the pixels that they touch
        import cv2  # slow to import, and seldom needed

        drawn = np.zeros(size[::-1], np.uint8)
        for corners in shapes:
            # OpenCV counts from the centres of pixels
            sixteenths = np.round(16 * (corners - 0.5)).astype(np.int32)
            cv2.fillPoly(drawn, [sixteenths], 1, shift=4)
        mask = drawn > 0
    if not mask.any():
        raise MaskError(
            "masks", f"{shorten(called)} is outside its frame. Use masks of this clip."
        )
    return mask


def _check_corners(corners: Corners, called: str) -> None:
    """Refuse corners that are no numbers, or far from any frame, by a MaskError;
    `called` says whose they are."""
    for number in corners.ravel().tolist():
        if not abs(number) < _FARTHEST:
            raise MaskError(
                "masks",
                f"{shorten(called)} has a corner at {number:g}. Export the masks "
                "again.",
            )


def _check_pixels(corners: Corners, size: Size, called: str) -> None:
    """Refuse corners that may be shares of a frame of this size, a little outside it
    perhaps, by a MaskError; `called` says whose they are."""
    if max(size) > 2 and -0.5 < corners.min() <= corners.max() < 1.5:
        raise MaskError(
            "masks",
            f"{shorten(called)} has all corners at about 0 to 1, as shares of the "
            "frame have, or is one pixel. Export them in pixels.",
        )


def _centres_inside(corners: Corners, size: Size) -> Mask:
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


def _whole(value: object) -> int:
    """Return a number of JSON, maybe written as 128.0, after checking that it is whole
    and not absurd."""
    if isinstance(value, float) and not isfinite(value):
        raise MaskError(
            "masks",
            f"The file has {value:g} where masks need a whole number. Export them "
            "again.",
        )
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value < _MOST:
        raise TypeError("no whole number")
    return value
