"""Masks made by hand: points, boxes, strokes and tools change one region; each is a
step to undo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from regrain.editing.errors import RequestError
from regrain.editing.media.lazy_frames import Size
from regrain.masks.draw import BrushStroke, Rectangle, pack, unpack
from regrain.masks.models.finders import CUTS
from regrain.ui.session.session import Session
from regrain.ui.values.layers import (
    Box,
    Key,
    Mask,
    MaskLayer,
    Place,
    Reshape,
    Stroke,
    encode_runs,
    mask_on,
    touched_up,
)
from regrain.ui.values.mask_models import choose, click_models

MAX_POINTS = 64  # on a frame
MAX_PATH = 4000  # points of a stroke
Segment = Callable[..., Mask]


def add_point(
    session: Session,
    label: int,
    frame: int,
    at: Place,
    inside: bool,
    segment: Segment,
) -> bool:
    """Add a point (x, y), in pixels from the frame's corner, and find the mask anew.

    Returns:
        Whether a mask was found.

    Raises:
        RequestError: There is no such region, or the frame has enough points.
    """
    layer = _pointed(session, session.state.layer(label), frame, at, inside, segment)
    return _commit(session, label, frame, layer)


def preview_point(
    session: Session,
    label: int | None,
    frame: int,
    at: Place,
    inside: bool,
    segment: Segment,
) -> str:
    """Return the mask that `add_point` would make, as `encode_runs` does; nothing
    changes.

    `label` is None for a region that is yet to be made.
    """
    layer = MaskLayer() if label is None else session.state.layer(label)
    layer = _pointed(session, layer, frame, at, inside, segment)
    return encode_runs(mask_on(layer, frame, session.state.size))


def remove_point(
    session: Session, label: int, frame: int, at: Place, segment: Segment
) -> bool:
    """Take a point back; the others find the mask anew.

    Returns:
        Whether a mask was found.
    """
    layer = session.state.layer(label)
    key = layer.keys.get(frame, Key())
    points = tuple(point for point in key.points if point[:2] != at)
    key = replace(key, points=points)
    layer = _found(session, layer, frame, key, None, segment)
    return _commit(session, label, frame, layer)


def add_box(
    session: Session, label: int, frame: int, box: Box, segment: Segment
) -> bool:
    """Find the object in a box, x0, y0, x1, y1 in pixels from the frame's corner.

    It replaces an earlier box, and points outside it that were to be inside.

    Returns:
        Whether something was found.
    """
    layer = session.state.layer(label)
    key = layer.keys.get(frame, Key())
    points = tuple(
        point for point in key.points if not point[2] or _within(box, point[:2])
    )
    key = replace(key, points=points, box=box)
    layer = _found(session, layer, frame, key, None, segment)
    return _commit(session, label, frame, layer)


def add_edit(
    session: Session, label: int, frame: int, edit: BrushStroke | Rectangle
) -> None:
    """Brush or erase on a frame, by a stroke or a whole rectangle, over the mask as it
    is."""
    layer = _with_edit(session.state.layer(label), frame, edit)
    session.commit(session.state.with_layer(label, layer))


def reshape(session: Session, label: int, frames: list[int], how: Reshape) -> None:
    """Use a mask tool on a region's masks on these frames; a RequestError if it has
    none there."""
    layer = session.state.layer(label)
    masked = [frame for frame in frames if session.state.mask(label, frame).any()]
    if not masked:
        where = "on this frame" if len(frames) == 1 else "on any frame"
        raise RequestError(
            "mask", f"The region has none {where}. Click the object or paint it first."
        )
    if len(frames) == 1:  # a correction, to be followed from here
        layer = _with_edit(layer, frames[0], how)
    else:  # all frames alike: what was tracked stays tracked
        layer = _reshaped(layer, masked, how, session.state.size)
    session.commit(session.state.with_layer(label, layer))


def _reshaped(
    layer: MaskLayer, frames: list[int], how: Reshape, size: Size
) -> MaskLayer:
    """Use a mask tool on many frames of a layer, of which none needs to be tracked
    again."""
    keys = dict(layer.keys)
    track = dict(layer.track)
    drawn = set(layer.drawn)
    for frame in frames:
        if frame in drawn:
            key = keys[frame]
            keys[frame] = replace(key, edits=(*key.edits, how))
        elif frame in track:
            mask = unpack(track[frame], size)
            track[frame] = pack(touched_up(mask, [how]))
    return replace(layer, keys=keys, track=track)


def finder_of(session: Session, label: int) -> str:
    """Return the name of the mask model that finds the masks of a region."""
    return session.state.layer(label).by or session.finder


def find_by(
    session: Session, label: int, frame: int, finder: str, segment: Segment
) -> None:
    """Choose the finder of a region's masks; this frame's is found anew at once, in the
    same step to undo.

    Raises:
        RequestError: There is no such finder here.
    """
    choose("finder", finder, click_models(session.fallback))
    layer = replace(session.state.layer(label), by=finder)
    key = layer.keys.get(frame, Key())
    if key.points or key.box:
        layer = _found(session, layer, frame, key, None, segment)
    session.commit(session.state.with_layer(label, layer))


def _with_edit(layer: MaskLayer, frame: int, edit: Stroke) -> MaskLayer:
    key = layer.keys.get(frame, Key())
    return layer.with_key(frame, replace(key, edits=(*key.edits, edit)))


def _within(box: Box, at: Place) -> bool:
    left, top, right, bottom = box
    x, y = at
    return left <= x <= right and top <= y <= bottom


def _pointed(
    session: Session,
    layer: MaskLayer,
    frame: int,
    at: Place,
    inside: bool,
    segment: Segment,
) -> MaskLayer:
    """Return a layer with one more point on a frame, by which its mask is found anew;
    a RequestError if the frame has enough."""
    key = layer.keys.get(frame, Key())
    if len(key.points) >= MAX_POINTS:
        raise RequestError(
            "points", f"At most {MAX_POINTS} are allowed on a frame. Use the brush."
        )
    before = mask_on(layer, frame, session.state.size)
    key = replace(key, points=(*key.points, (*at, inside)))
    if key.box and inside and not _within(key.box, at):
        key = replace(key, box=None)  # it would cut off what is clicked
    return _found(session, layer, frame, key, before, segment)


def _commit(session: Session, label: int, frame: int, layer: MaskLayer) -> bool:
    """Take a layer over.

    Returns:
        Whether a mask was found on a frame, or nothing was asked for.
    """
    session.commit(session.state.with_layer(label, layer))
    return frame not in layer.keys or layer.keys[frame].found is not None


def _found(
    session: Session,
    layer: MaskLayer,
    frame: int,
    key: Key,
    before: Mask | None,
    segment: Segment,
) -> MaskLayer:
    """Return a layer with the mask of a key frame found by its points and box.

    `before` is the mask that there was; None for the one that was tracked.
    """
    by = layer.by or session.finder
    size = session.state.size
    if before is None:
        before = unpack(layer.track.get(frame), size)
        if key.box:  # it says where the object is; what was tracked would only blur it
            before = np.zeros(size[::-1], bool)
    inside = any(inside for *_, inside in key.points)
    # points outside alone take away from a mask
    cuts_off = key.points and before.any()
    found = None
    if key.box is not None or inside or cuts_off:
        asked = (frame, by, key.points, key.box, before.tobytes())
        if session.answer[0] != asked:
            doubts: list[bool] = []
            ask = partial(segment, doubt=lambda: doubts.append(True))
            mask = _segmented(session, frame, key, before, by, ask)
            found = pack(mask) if mask.any() else None
            session.answer = asked, found, bool(doubts)
        found = session.answer[1]
    return layer.with_key(frame, replace(key, found=found, by=by))


def _segmented(
    session: Session, frame: int, key: Key, before: Mask, by: str, segment: Segment
) -> Mask:
    """Find a mask by the points and the box of a key frame, and by what it was."""
    clicks = np.array(key.points, np.float32).reshape(-1, 3)
    how: dict[str, Any] = {"previous": before if before.any() else None}
    if key.box:
        how["box"] = key.box
    if by == CUTS:
        how["clip"] = session.opened.clip
        how["frame"] = frame
    image = np.array(session.opened.frames[frame])
    points = clicks[:, :2].copy()
    inside = clicks[:, 2].astype(int)
    return np.asarray(segment(image, points, inside, method=by, **how), bool)
