"""Masks in JSON of other tools: COCO, YouTube-VIS, LabelMe."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool
from PIL import Image

from regrain.editing.errors import MaskError, shorten
from regrain.editing.media import coco
from regrain.editing.media.images import natural, pictures_in
from regrain.editing.storage.folders import visible

Runs = dict[int, dict[int, Any]]
"""Run lengths of masks, for `coco.from_runs`, by label and frame."""


class Annotations(NamedTuple):
    """Masks in JSON.

    Attributes:
        extent: Number of frames, and their (width, height).
        runs: Reads the masks, which takes memory for polygons as large as the frames.
        names: What labels are called, maybe nothing.
    """

    extent: coco.Extent
    runs: Callable[[], Runs]
    names: Callable[[], Mapping[int, str]]


def read_annotations(path: Path) -> Annotations:
    """Read a JSON file, or a folder of those of LabelMe; MaskError if it has no
    masks."""
    if path.is_dir():
        return _label_me(path, _frames_in(path))
    facts = coco.load_json(path)
    if isinstance(facts, dict) and "videos" in facts and "images" not in facts:
        return _video_set(facts, path)
    if isinstance(facts, dict) and "shapes" in facts:
        return _label_me(path, [facts])
    extent = coco.extent(facts, path)
    return Annotations(
        extent,
        lambda: coco.open_rle(facts, path, *extent),
        lambda: coco.names(facts),
    )


def is_label_me(folder: Path) -> bool:
    """Tell whether a folder holds JSON files, as LabelMe writes them beside the
    pictures."""
    return any(entry.suffix.lower() == ".json" for entry in visible(folder))


def _video_set(facts: Mapping[str, Any], path: Path) -> Annotations:
    """Read masks of YouTube-VIS: an object per annotation, a mask per frame, or null."""
    with coco.parsing(path):
        if len(facts["videos"]) != 1:
            has = f"{shorten(path.name)} has {len(facts['videos'])} videos."
            raise MaskError("masks", f"{has} Export the one of this clip.")
        video = facts["videos"][0]
        size = coco.whole(video["width"]), coco.whole(video["height"])
        files = video.get("file_names") or ()
        count = coco.whole(video["length"]) if "length" in video else len(files)
        categories = {
            one["id"]: str(one.get("name", "")) for one in facts.get("categories", ())
        }
        objects = sorted(facts["annotations"], key=lambda one: one["id"])
        called = {
            label: categories.get(one.get("category_id"), "")
            for label, one in enumerate(objects, 1)
        }

    def runs() -> Runs:
        with coco.parsing(path):
            found = {}
            for label, one in enumerate(objects, 1):
                of_video = one.get("video_id", video["id"])
                if of_video != video["id"] or len(one["segmentations"]) != count:
                    raise TypeError("masks of another video")
                found[label] = {
                    frame: coco.counts_of(shown, size, f"annotation {one['id']}")
                    for frame, shown in enumerate(one["segmentations"])
                    if shown is not None
                }
        return _checked(found, path)

    return Annotations((count, size), runs, lambda: called)


def _frames_in(folder: Path) -> list[Mapping[str, Any]]:
    """Read the frames that LabelMe annotated, one file each; those without a file,
    whose pictures stand among the others, show nothing."""
    files = [file for file in visible(folder) if file.suffix.lower() == ".json"]
    by_stem = {file.stem: file for file in files}
    stems = by_stem.keys() | {picture.stem for picture in pictures_in(folder)}
    frames = []
    for stem in sorted(stems, key=natural):
        facts = coco.load_json(by_stem[stem]) if stem in by_stem else {"shapes": []}
        if not isinstance(facts, dict) or "shapes" not in facts:
            said = f"{shorten(by_stem[stem].name)} has no shapes, but others in the folder are of LabelMe."
            raise MaskError(
                "masks", f"{said} Choose one JSON file, or a folder of LabelMe's."
            )
        frames.append(facts)
    return frames


def _label_me(path: Path, frames: Sequence[Mapping[str, Any]]) -> Annotations:
    """Read masks of LabelMe: a label's shapes on a frame, of one group, are one
    mask."""
    with coco.parsing(path):
        sizes = [
            (coco.whole(one["imageWidth"]), coco.whole(one["imageHeight"]))
            for one in frames
            if one["shapes"] or "imageWidth" in one
        ]
        coco.check_sizes(path, sizes)
        size = sizes[0]
        labels = _number(_object(shape) for one in frames for shape in one["shapes"])

    def runs() -> Runs:
        found: Runs = {label: {} for label in labels.values()}
        with coco.parsing(path):
            for frame, one in enumerate(frames):
                for shape in one["shapes"]:
                    counts = coco.runs(_drawn(shape, size))
                    masks = found[labels[_object(shape)]]
                    masks[frame] = coco.join_runs(masks.get(frame), counts, size)
        return _checked(found, path)

    called = {label: one.name for one, label in labels.items()}
    return Annotations((len(frames), size), runs, lambda: called)


class _Shown(NamedTuple):
    """What a shape shows: its label, and the number of its group, or ""."""

    name: str
    group: str


def _object(shape: Mapping[str, Any]) -> _Shown:
    group = shape.get("group_id")
    return _Shown(str(shape["label"]), "" if group is None else str(group))


def _number(objects: Iterable[_Shown]) -> dict[_Shown, int]:
    """Number what is shown: by its label where all are numbers, else from 1 in
    order."""
    found = sorted(
        set(objects), key=lambda one: (natural(one.name), natural(one.group))
    )
    if all(not one.group and _is_label(one.name) for one in found):
        return {one: int(one.name) for one in found}
    return {one: number for number, one in enumerate(found, 1)}


def _is_label(name: str) -> bool:
    return (
        name.isascii()
        and name.isdigit()
        and str(int(name)) == name
        and 1 <= int(name) <= 255
    )


def _drawn(
    shape: Mapping[str, Any], size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """Draw a shape of LabelMe as a mask of (width, height)."""
    kind = shape.get("shape_type") or "polygon"
    called = f"the {kind} {shape['label']}"
    points = np.array(shape["points"], float).reshape(-1, 2)
    coco.check_corners(points, called)
    if kind == "polygon":
        return coco.draw_polygons([points], size, called)
    if kind == "mask":
        return _pasted(shape["mask"], points, size)
    if kind == "rectangle":
        (left, top), (right, bottom) = points.min(0), points.max(0)
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        return coco.draw_polygons([corners], size, called)
    if kind == "circle":
        middle, edge = points
        angles = np.linspace(0, 2 * np.pi, 256, endpoint=False)
        around = np.stack([np.cos(angles), np.sin(angles)], -1)
        corners = middle + np.linalg.norm(edge - middle) * around
        return coco.draw_polygons([corners], size, called)
    said = f"{shorten(str(shape['label']))} is drawn as a {shorten(str(kind))}, which has no area."
    raise MaskError("masks", f"{said} Draw polygons, rectangles, circles or masks.")


def _pasted(
    text: str, points: np.ndarray, size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
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


def _checked(found: Runs, path: Path) -> Runs:
    """Return masks after checking that there are some, and not too many."""
    if not found:
        said = f"{shorten(path.name)} has no masks. Draw some, or choose another file."
        raise MaskError("masks", said)
    if max(found) > 255:
        said = f"{shorten(path.name)} has {len(found)} objects. Use at most 255."
        raise MaskError("masks", said)
    return found
