"""Masks from clicks, strokes and boxes: by SAM, or, without weights, by colours (`masks.grabcut`).

Everything about torch is imported when first used: a bad request is refused within a second.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from editing.errors import MaskError, shorten
from masks import sam
from masks.draw import BrushStroke, deepest
from masks.grabcut import cut
from masks.sam import Embedded


def segment(
    image: UInt8[np.ndarray, "height width 3"] | Embedded,
    points: Sequence[Sequence[float | int]] | np.ndarray,
    point_labels: Sequence[int] | np.ndarray,
    box: Sequence[float | int] | np.ndarray | None = None,
    previous: Bool[np.ndarray, "_ _"] | None = None,
    *,
    index: int | None = None,
    method: str = "sam",
    strokes: Sequence[BrushStroke] = (),
    model: str | Path | None = None,
) -> Bool[np.ndarray, "height width"]:
    """The mask of what is clicked, boxed or drawn over.

    One click alone means the whole thing. Where there is more, it means what fits all of it; hand in the
    mask that further clicks correct as `previous`.

    Args:
        image: RGB, or what `embed` made of it.
        points: (x, y) in pixels; may be empty where there is a box, a stroke or an earlier mask.
        point_labels: Per point 1, belongs to it, or 0, does not.
        box: x0, y0, x1, y1 in pixels.
        previous: Mask to be corrected.
        index: Choose of the three masks for the clicks so far: 0 whole, 1 part, 2 part of the part.
        method: "sam", or "grabcut", which needs no weights; where there are none it stands in, with a
            warning.
        strokes: Lines drawn over what belongs to it or, erasing, over what does not.
        model: Path of a published SAM checkpoint, or its name in the folder `$REGRAIN_MODELS`; None is the
            built-in one.

    Raises:
        MaskError: Points, labels, box or mask that do not fit the image; nothing to go by.
        ModelError: No such weights.
    """
    pixels = image.image if isinstance(image, Embedded) else image
    coords, labels, corners = _check(pixels, points, point_labels, box, previous, strokes)
    if method not in ("sam", "grabcut"):
        raise MaskError("method", f"{shorten(method)} was given; allowed: sam, grabcut; choose one")
    if method == "sam" and model is None and not isinstance(image, Embedded) and (lacking := sam.missing()):
        warnings.warn(lacking, stacklevel=2)
        method = "grabcut"
    if method == "grabcut":
        return cut(pixels, coords, labels, corners, previous, strokes)
    frame = image if isinstance(image, Embedded) else sam.embed(image, model)
    coords, labels = _with_strokes(coords, labels, strokes)
    if previous is not None and len(coords) and corners is None:
        coords, labels = _with_middle(coords, labels, previous)
    return sam.predict(sam.load_sam(frame.model), frame, coords, labels, corners, previous, index)


def _with_strokes(
    coords: np.ndarray, labels: np.ndarray, strokes: Sequence[BrushStroke]
) -> tuple[np.ndarray, np.ndarray]:
    """The clicks, and about four points along each stroke."""
    for stroke in strokes:
        ends = np.array(stroke.points, float)[:: max(1, len(stroke.points) // 4)]
        coords = np.concatenate([coords, ends])
        labels = np.append(labels, [int(not stroke.erase)] * len(ends))
    return coords, labels


def _with_middle(
    coords: np.ndarray, labels: np.ndarray, previous: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The clicks, and one in the middle of the mask they correct, where none of them confirms it.

    A lone corrective click outweighs the mask prompt: what was right is lost with what was wrong.
    """
    x, y = np.minimum(coords.round().astype(int), np.array(previous.shape[::-1]) - 1).T
    if previous[y, x][labels == 1].any() or not previous.any():
        return coords, labels
    left = previous.copy()
    left[y[labels == 0], x[labels == 0]] = False  # away from what is to be taken off
    if not left.any():
        return coords, labels
    return np.concatenate([[deepest(left)], coords]), np.append([1], labels)


def _check(
    pixels: np.ndarray, points: Any, labels: Any, box: Any, previous: Any, strokes: Sequence[BrushStroke]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The prompts as arrays, once they fit the frame."""
    height, width = pixels.shape[:2]
    coords = np.array(points, float).reshape(-1, 2) if np.size(points) % 2 == 0 else None
    marks = np.array(labels, float).reshape(-1)
    if coords is None or len(marks) != len(coords):
        raise MaskError("points", f"{np.shape(points)} and {len(marks)} labels were given; give (x, y) each")
    if not np.isin(marks, (0, 1)).all():
        raise MaskError("point_labels", f"{shorten(marks.tolist())} was given; allowed are 0 and 1")
    if not ((coords >= 0) & (coords < (width, height))).all():
        raise MaskError("points", f"{shorten(coords.tolist())} leaves the frame of {width}x{height}; move it")
    corners = None
    if box is not None:
        corners = np.array(box, float).reshape(-1)
        if corners.shape != (4,) or not (corners[:2] < corners[2:]).all():
            raise MaskError(
                "box", f"{shorten(box)} was given; allowed is x0, y0, x1, y1 with x0 < x1, y0 < y1"
            )
        if not ((corners[:2] < (width, height)).all() and (corners[2:] > 0).all()):
            raise MaskError("box", f"{shorten(box)} lies outside the frame of {width}x{height}; move it")
        corners = corners.clip(0, (width, height, width, height))
    if previous is not None and np.shape(previous) != (height, width):
        raise MaskError(
            "previous", f"{np.shape(previous)} was given; the frame is {(height, width)}; match it"
        )
    positive = marks.any() or any(not stroke.erase for stroke in strokes)
    if not positive and box is None and (previous is None or not np.any(previous)):
        raise MaskError("points", "nothing says what is meant; give a point with label 1, a stroke or a box")
    return coords, marks.astype(int), corners
