"""Masks made by hand: points, boxes, strokes and tools change one region; each is a step to undo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from regrain.editing.errors import RequestError
from regrain.masks.draw import BrushStroke, Rectangle, pack, unpack
from regrain.masks.models.finders import CUTS
from regrain.ui.session.layers import Box, Edit, Key, Mask, MaskLayer, Reshape, touched_up
from regrain.ui.session.mask_models import choose, click_models
from regrain.ui.session.session import Session

MAX_POINTS, MAX_PATH = 64, 4000
Segment = Callable[..., Mask]


def add_point(
    session: Session,
    label: int,
    frame: int,
    at: tuple[float, float],
    inside: bool,
    segment: Segment,
) -> bool:
    """Add a point (x, y), in pixels from the frame's corner, and find the mask anew; whether one was found.

    Raises:
        RequestError: There is no such region, or the frame has enough points.
    """
    key = session.state.layer(label).keys.get(frame, Key())
    if len(key.points) >= MAX_POINTS:
        raise RequestError("points", f"At most {MAX_POINTS} are allowed on a frame. Use the brush.")
    before = session.state.mask(label, frame)
    key = replace(key, points=(*key.points, (*at, inside)))
    if key.box and inside and not _within(key.box, at):
        key = replace(key, box=None)  # it would cut off what is clicked
    return _find(session, label, frame, key, before, segment)


def remove_point(
    session: Session, label: int, frame: int, at: tuple[float, float], segment: Segment
) -> bool:
    """Take a point back; the others find the mask anew."""
    key = session.state.layer(label).keys.get(frame, Key())
    points = tuple(point for point in key.points if point[:2] != at)
    return _find(session, label, frame, replace(key, points=points), None, segment)


def add_box(session: Session, label: int, frame: int, box: Box, segment: Segment) -> bool:
    """Find what a box holds, x0, y0, x1, y1 in pixels from the frame's corner; whether something was found.

    It replaces an earlier box, and points outside it that were to be inside.
    """
    key = session.state.layer(label).keys.get(frame, Key())
    points = tuple(point for point in key.points if not point[2] or _within(box, point[:2]))
    return _find(session, label, frame, replace(key, points=points, box=box), None, segment)


def add_edit(session: Session, label: int, frame: int, edit: BrushStroke | Rectangle) -> None:
    """Brush or erase on a frame, by a stroke or a whole rectangle, over the mask as it is."""
    layer = session.state.layer(label)
    session.commit(session.state.with_layer(label, _with_edit(layer, frame, edit)))


def reshape(session: Session, label: int, frames: list[int], how: Reshape) -> None:
    """Use a mask tool on a region's masks on these frames; a RequestError if it has none there."""
    layer = session.state.layer(label)
    masked = [frame for frame in frames if session.state.mask(label, frame).any()]
    if not masked:
        where = "on this frame" if len(frames) == 1 else "on any frame"
        raise RequestError(
            "mask", f"The region has none {where}. Click the object or paint it first."
        )
    drawn = set(layer.drawn)
    if len(frames) == 1:  # a correction, to be followed from here
        layer = _with_edit(layer, frames[0], how)
    else:  # all frames alike: what was tracked stays tracked
        for frame in drawn.intersection(masked):
            layer = replace(_with_edit(layer, frame, how), corrected=layer.corrected)
        tracked = {f: layer.track[f] for f in masked if f in layer.track and f not in drawn}
        changed = {
            f: pack(touched_up(unpack(m, session.state.size), [how])) for f, m in tracked.items()
        }
        layer = replace(layer, track={**layer.track, **changed})
    session.commit(session.state.with_layer(label, layer))


def finder_of(session: Session, label: int) -> str:
    """What finds the masks of a region."""
    return session.state.layer(label).by or session.finder


def find_by(session: Session, label: int, frame: int, finder: str, segment: Segment) -> None:
    """Choose what finds the masks of a region; this frame's is found anew at once, in the same step to undo.

    Raises:
        RequestError: There is no such finder here.
    """
    choose("finder", finder, click_models(session.fallback))
    layer = replace(session.state.layer(label), by=finder)
    key = layer.keys.get(frame, Key())
    if key.points or key.box:
        layer = _found(session, layer, frame, key, None, segment)
    session.commit(session.state.with_layer(label, layer))


def _with_edit(layer: MaskLayer, frame: int, edit: Edit) -> MaskLayer:
    key = layer.keys.get(frame, Key())
    return layer.with_key(frame, replace(key, edits=(*key.edits, edit)))


def _within(box: Box, at: tuple[float, float]) -> bool:
    return box[0] <= at[0] <= box[2] and box[1] <= at[1] <= box[3]


def _find(
    session: Session, label: int, frame: int, key: Key, before: Mask | None, segment: Segment
) -> bool:
    """Find the mask of a key frame by its points; see `_found`. Whether one was found."""
    layer = _found(session, session.state.layer(label), frame, key, before, segment)
    session.commit(session.state.with_layer(label, layer))
    return frame not in layer.keys or layer.keys[frame].found is not None


def _found(
    session: Session, layer: MaskLayer, frame: int, key: Key, before: Mask | None, segment: Segment
) -> MaskLayer:
    """A layer with the mask of a key frame found by its points and box; `before` is what there was."""
    size, by = session.state.size, layer.by or session.finder
    found = np.zeros(size[::-1], bool)
    if before is None:
        # A box says where it is; what was tracked would only blur that.
        before = found if key.box else unpack(layer.track.get(frame), size)
    positive = key.box is not None or any(inside for *_, inside in key.points)
    if positive or (key.points and before.any()):
        points = np.array([point[:2] for point in key.points], np.float32).reshape(-1, 2)
        inside = np.array([int(point[2]) for point in key.points], int)
        how: dict[str, Any] = {"box": key.box} if key.box else {}
        if by == CUTS:
            how |= {"clip": session.opened.clip, "frame": frame}
        image, previous = np.array(session.opened.frames[frame]), before if before.any() else None
        found = np.asarray(
            segment(image, points, inside, previous=previous, method=by, **how), bool
        )
    return layer.with_key(frame, replace(key, found=pack(found) if found.any() else None, by=by))
