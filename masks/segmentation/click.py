"""Masks from clicks, strokes and boxes: by SAM, or by cuts (`cuts`).

Everything about torch is imported when first used: a bad request is refused within a
second.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache, partial
from itertools import compress
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float

from regrain.editing.boundary import AnyPath
from regrain.editing.errors import DoubtWarning, MaskError, shorten
from regrain.editing.media.clip import Clip
from regrain.editing.media.lazy_frames import Mask, Rgb, Shape, Size
from regrain.masks.draw import (
    BrushStroke,
    Number,
    deepest,
    drop_specks,
    fill_holes,
)
from regrain.masks.models import checkpoints, sam, sam2
from regrain.masks.models.checkpoints import Checkpoint
from regrain.masks.models.embedded import (
    Box,
    Doubt,
    Embedded,
    Points,
    Prompts,
    trusting,
)
from regrain.masks.models.finders import CUTS, find_finder
from regrain.masks.segmentation import cuts
from regrain.masks.segmentation.cut_evidence import Scene
from regrain.masks.segmentation.cut_motion import scene_of
from regrain.masks.segmentation.cut_solver import touching

_MOST = 0.5  # share of the picture that a thing rarely has
# Of a side of a box: a mask that covers more of it may go on beyond it, or has ground
# in it. Of eleven boxes in six real clips, the five wrong masks cover .44 to 1, the six
# right ones at most .19.
_ALONG = 0.4
_IN = 2  # pixels from the edge of a box to the line that is looked at
_HOLE = 0.01  # share of a mask below which a hole is a mistake


def segment(
    image: Rgb | Embedded,
    points: Sequence[Sequence[Number]] | np.ndarray,
    point_labels: Sequence[int] | np.ndarray,
    box: Sequence[Number] | np.ndarray | None = None,
    previous: Bool[np.ndarray, "_ _"] | None = None,
    *,
    index: int | None = None,
    method: str = "sam",
    strokes: Sequence[BrushStroke] = (),
    model: AnyPath | None = None,
    clip: Clip | None = None,
    frame: int = 0,
    doubt: Doubt = trusting,
) -> Mask:
    """Find the mask of the object that is clicked, boxed or drawn over.

    A single click selects the whole object; several prompts select what fits all of
    them. To correct a mask with further clicks, pass it as `previous`.

    Args:
        image: RGB, or the result of `embed`.
        points: (x, y) in pixels; may be empty with a box, a stroke or an earlier mask.
        point_labels: 1 per point on the object, 0 per point outside it.
        box: x0, y0, x1, y1 in pixels.
        previous: Mask to correct.
        index: Which of SAM's three masks for the clicks so far: 0 whole, 1 part, 2 part
            of the part.
        method: A finder of `models.finders`: "sam"; "cuts", for real clips, which
            replaces SAM if SAM has no weights, with a warning, and where the last point
            takes away from an earlier mask; or a published SAM in `$REGRAIN_MODELS`,
            by name.
        strokes: Lines drawn over the object or, erasing, over what does not belong to
            it.
        model: For "sam", path of a published checkpoint, or its name in the folder
            `$REGRAIN_MODELS`; None is the built-in one.
        clip: For "cuts", the clip that the image is from: things are told apart by how
            they move.
        frame: Its number in the clip, from 0.
        doubt: Is called where the mask of a single click or box is not to be trusted:
            a click may mean very different masks, a mask that was cut out runs along
            its box, or it has most of the picture.

    Raises:
        MaskError: Points, labels, box or mask do not fit the image, or nothing marks
            the object.
        ModelError: The weights are missing or broken.
    """
    if isinstance(image, Embedded):
        encoded = image
        pixels = image.image
    else:
        encoded = None
        pixels = image
    prompts = _checked(pixels, points, point_labels, box, previous, strokes)
    if method not in ("sam", CUTS):
        model = find_finder(method).name
        method = "sam"
    if method == "sam" and model is None and encoded is None:
        lacking = sam.missing()
        if lacking:
            warnings.warn(lacking, DoubtWarning, stacklevel=2)
            method = CUTS
        elif previous is not None and len(prompts.labels) and not prompts.labels[-1]:
            method = CUTS  # what it takes away is what was clicked, and no more
    boxed = None if len(prompts.points) else prompts.box
    if not prompts.is_first and boxed is None:
        doubt = trusting
    if method == CUTS:
        scene = scene_of(pixels, clip, frame)
        mask = _by_cuts(pixels, prompts, scene, doubt)
    else:
        mask = _by_sam(encoded or embed(pixels, model), prompts, index, doubt)
    mask = _tidied(mask, prompts)
    cut = boxed if method == CUTS else None
    if mask.mean() > _MOST or (cut is not None and _along(mask, cut) > _ALONG):
        doubt()
    return mask


def _along(mask: Mask, box: np.ndarray) -> float:
    """Return the largest share of a side of a box that a mask runs along, of the sides
    that are not the frame's: there the box ends it, and no edge of a thing."""
    height, width = mask.shape
    left, top, right, bottom = box.astype(int)
    inside = mask[top : bottom + 1, left : right + 1]
    if min(inside.shape) <= 2 * _IN:
        return 0.0
    last = -1 - _IN
    are_free = top > _IN, bottom < height + last, left > _IN, right < width + last
    lines = inside[_IN], inside[last], inside[:, _IN], inside[:, last]
    return max((line.mean() for line in compress(lines, are_free)), default=0.0)


def _tidied(mask: Mask, prompts: Prompts) -> Mask:
    """Keep the pieces that are clicked, drawn over or in the mask so far, and those that
    touch them; without specks and, where nothing is taken away, small holes."""
    points, labels, _, previous, strokes = prompts
    marked = cuts.seeds_of(mask.shape, points, labels, strokes)
    held = marked.inside if previous is None else marked.inside | previous
    near = touching(mask, held, reach=1)
    tidy = drop_specks(near)
    if (marked.inside & near).any():
        tidy |= touching(near, marked.inside)
    return tidy if marked.outside.any() else fill_holes(tidy, _HOLE * near.sum())


def _by_sam(seen: Embedded, prompts: Prompts, index: int | None, doubt: Doubt) -> Mask:
    """Ask the SAM that has encoded a frame."""
    coords, labels, box, previous, strokes = prompts
    # about four points along each stroke
    for stroke in strokes:
        every = max(1, len(stroke.points) // 4)
        points = np.array(stroke.points, float)[::every]
        coords = np.concatenate([coords, points])
        label = int(not stroke.erase)
        labels = np.append(labels, np.full(len(points), label))
    has_points = len(coords) > 0 and box is None
    if previous is not None and has_points:
        coords, labels = _with_middle(coords, labels, previous)
    asked = prompts._replace(points=coords, labels=labels)
    checkpoint = _checkpoint(seen.model)
    if checkpoint:
        return sam2.predict(checkpoint, seen, asked, index, doubt)
    return sam.predict(sam.load_sam(seen.model), seen, asked, index, doubt)


def _by_cuts(image: np.ndarray, prompts: Prompts, scene: Scene, doubt: Doubt) -> Mask:
    """Cut on the grid of the scene; the built-in SAM, if it is here, is asked about a
    first click or box."""
    height, width = image.shape[:2]
    ratio = np.array(scene.shape[::-1]) / (width, height)
    marked = _on_grid(prompts, ratio, scene.shape)

    seen = cache(partial(embed, image))  # only if anything is asked

    def ask(about: np.ndarray) -> list[np.ndarray]:
        """Ask the built-in SAM about each of some points on the object, or about a
        box."""
        answers = sam.logits(seen(), about / ratio, prompts.box)
        return [_resized(logits, scene.shape) for logits in answers]

    mask = cuts.find(scene, marked, None if sam.missing() else ask, doubt)
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


def _on_grid(prompts: Prompts, ratio: np.ndarray, shape: Shape) -> Prompts:
    """Convert prompts to pixels of a scene; `ratio` is (x, y), `shape` height and
    width."""
    box = prompts.box
    if box is not None:
        box = box * np.tile(ratio, 2)
    previous = prompts.previous
    if previous is not None:
        previous = _resized(previous.astype(np.float32), shape) > 0.5
    strokes = [
        BrushStroke(
            tuple(map(tuple, np.array(stroke.points) * ratio)),
            stroke.radius * float(ratio.min()),
            stroke.erase,
        )
        for stroke in prompts.strokes
    ]
    points = prompts.points * ratio
    return Prompts(points, prompts.labels, box, previous, strokes)


def _resized(values: np.ndarray, shape: Shape) -> np.ndarray:
    return cv2.resize(values, shape[::-1], interpolation=cv2.INTER_AREA)


def embed(image: Rgb, model: AnyPath | None = None) -> Embedded:
    """Encode a frame with SAM. The last frames are kept, so that the same pixels are
    encoded only once.

    `image` is RGB, `model` as for `segment`.

    Raises:
        ModelError: The weights are missing, unknown or broken.
    """
    checkpoint = None if model is None else _checkpoint(str(model))
    if checkpoint:
        return sam2.embed(image, checkpoint)
    return sam.embed(image, model)


def _checkpoint(model: str) -> Checkpoint | None:
    """Return the SAM 2 or SAM 3 of this name or path; None for a first SAM."""
    found = checkpoints.find(model)
    if found:
        return found
    folder = Path(model)
    return checkpoints.read(folder) if checkpoints.is_published(folder) else None


def _with_middle(
    coords: np.ndarray, labels: np.ndarray, previous: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Add a click in the middle of the mask to correct, unless one of the clicks
    confirms it.

    A lone corrective click outweighs the mask prompt: the right part is lost with the
    wrong one.
    """
    last = np.array(previous.shape[::-1]) - 1
    x, y = np.minimum(coords.round().astype(int), last).T
    confirmed = previous[y, x][labels == 1].any()
    if confirmed or not previous.any():
        return coords, labels
    left = previous.copy()
    left[y[labels == 0], x[labels == 0]] = False  # away from what is to be taken off
    if not left.any():
        return coords, labels
    return np.concatenate([[deepest(left)], coords]), np.append([1], labels)


def _checked(
    pixels: np.ndarray,
    points: object,
    labels: object,
    box: object,
    previous: np.ndarray | None,
    strokes: Sequence[BrushStroke],
) -> Prompts:
    """Check that the prompts fit the frame."""
    height, width = pixels.shape[:2]
    size = (width, height)
    coords, marks = _checked_points(points, labels, size)
    corners = None if box is None else _checked_box(box, size)
    if previous is not None and np.shape(previous) != (height, width):
        raise MaskError(
            "previous",
            f"Expected a mask of shape {(height, width)}, got {np.shape(previous)}.",
        )
    is_marked = (
        corners is not None
        or marks.any()
        or (previous is not None and np.any(previous))
        or any(not stroke.erase for stroke in strokes)
    )
    if not is_marked:
        raise MaskError(
            "points",
            "Nothing marks the object. Add a point with label 1, a stroke or a box.",
        )
    return Prompts(coords, marks.astype(int), corners, previous, strokes)


def _checked_points(
    points: object, labels: object, size: Size
) -> tuple[Points, Float[np.ndarray, " points"]]:
    """Check points and their labels on a frame of `size`, (width, height)."""
    marks = np.array(labels, float).reshape(-1)
    if np.size(points) != 2 * len(marks):
        raise MaskError(
            "points",
            f"Expected one (x, y) per label, got shape {np.shape(points)} and "
            f"{len(marks)} labels.",
        )
    coords = np.array(points, float).reshape(-1, 2)
    if not np.isin(marks, (0, 1)).all():
        got = shorten(marks.tolist())
        raise MaskError("point_labels", f"Expected 0 or 1 for each point, got {got}.")
    within = (coords >= 0) & (coords < size)
    if not within.all():
        said = "the frame of {}x{}. Move it.".format(*size)
        raise MaskError(
            "points", f"A point of {shorten(coords.tolist())} is outside {said}"
        )
    return coords, marks


def _checked_box(box: object, size: Size) -> Box:
    """Check a box on a frame of `size`, (width, height); return the part within."""
    width, height = size
    corners = np.array(box, float).reshape(-1)
    if corners.shape != (4,) or not (corners[:2] < corners[2:]).all():
        raise MaskError(
            "box",
            f"Expected x0, y0, x1, y1 with x0 < x1 and y0 < y1, got {shorten(box)}.",
        )
    begins_within = (corners[:2] < size).all()
    ends_within = (corners[2:] > 0).all()
    if not (begins_within and ends_within):
        raise MaskError(
            "box", f"{shorten(box)} is outside the frame of {width}x{height}. Move it."
        )
    return corners.clip(0, (width, height, width, height))
