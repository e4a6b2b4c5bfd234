"""Masks made by hand: points, boxes, strokes and tools change one region; each is a step to undo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from regrain.editing.errors import RequestError, suggest
from regrain.masks.draw import BrushStroke, Rectangle, pack
from regrain.masks.models.finders import CUTS, MaskModel, finders
from regrain.ui.session.layers import Box, Edit, Key, Mask, MaskLayer, Reshape, touched_up
from regrain.ui.session.session import Session

MAX_POINTS, MAX_PATH = 64, 4000
Segment = Callable[..., Mask]


def add_point(
    document: Session, label: int, frame: int, at: tuple[float, float], inside: bool, segment: Segment
) -> bool:
    """Add a point (x, y), in pixels from the frame's corner, and find the mask anew; whether one was found.

    Raises:
        RequestError: There is no such region, or the frame has enough points.
    """
    key = document.layer(label).keys.get(frame, Key())
    if len(key.points) >= MAX_POINTS:
        raise RequestError("points", f"At most {MAX_POINTS} are allowed on a frame. Use the brush.")
    before = document.mask(label, frame)
    key = replace(key, points=(*key.points, (*at, inside)))
    if key.box and inside and not _within(key.box, at):
        key = replace(key, box=None)  # it would cut off what is clicked
    return _find(document, label, frame, key, before, segment)


def remove_point(
    document: Session, label: int, frame: int, at: tuple[float, float], segment: Segment
) -> bool:
    """Take a point back; the others find the mask anew."""
    key = document.layer(label).keys.get(frame, Key())
    points = tuple(point for point in key.points if point[:2] != at)
    return _find(document, label, frame, replace(key, points=points), None, segment)


def add_box(document: Session, label: int, frame: int, box: Box, segment: Segment) -> bool:
    """Find what a box holds, x0, y0, x1, y1 in pixels from the frame's corner; whether something was found.

    It replaces an earlier box, and points outside it that were to be inside.
    """
    key = document.layer(label).keys.get(frame, Key())
    points = tuple(point for point in key.points if not point[2] or _within(box, point[:2]))
    return _find(document, label, frame, replace(key, points=points, box=box), None, segment)


def add_edit(document: Session, label: int, frame: int, edit: BrushStroke | Rectangle) -> None:
    """Brush or erase on a frame, by a stroke or a whole rectangle, over the mask as it is."""
    key = document.layer(label).keys.get(frame, Key())
    document.set_key(label, frame, _with_edit(key, edit))


def reshape(document: Session, label: int, frames: list[int], how: Reshape) -> None:
    """Use a mask tool on a region's masks on these frames.

    Raises:
        RequestError: There is no such region, or it has no mask there.
    """
    layer = document.layer(label)
    masked = [frame for frame in frames if document.mask(label, frame).any()]
    if not masked:
        where = "on this frame" if len(frames) == 1 else "on any frame"
        raise RequestError("mask", f"The region has none {where}. Click the object or paint it first.")
    if len(frames) == 1:  # a correction, to be followed from here
        (frame,) = frames
        document.set_key(label, frame, _with_edit(layer.keys.get(frame, Key()), how))
        return
    # All frames alike: what was tracked stays tracked.
    drawn = set(layer.drawn)
    keys = {f: _with_edit(key, how) if f in drawn and f in masked else key for f, key in layer.keys.items()}
    track = {
        f: pack(touched_up(document.unpack(packed), [how])) if f in masked and f not in drawn else packed
        for f, packed in layer.track.items()
    }
    document.set_layer(label, replace(layer, keys=keys, track=track))


def clear(document: Session, label: int) -> None:
    """Take all masks of a region away."""
    document.set_layer(label, MaskLayer())


def finder_of(document: Session, label: int) -> str:
    """Who finds the masks of a region."""
    return document.layer(label).by or document.finder


def find_by(document: Session, label: int, frame: int, finder: str, segment: Segment) -> None:
    """Choose who finds the masks of a region; this frame's is found anew at once.

    Raises:
        RequestError: There is no such finder here.
    """
    if finder not in (allowed := finders_at_hand(document)):
        raise RequestError("finder", f"{finder[:60]!r} was not found. {suggest(finder[:60], allowed)}")
    layer = replace(document.layer(label), by=finder)
    document.set_layer(label, layer)
    key = layer.keys.get(frame, Key())
    if key.points or key.box:
        _find(document, label, frame, key, None, segment)
        document.join_steps()


def _with_edit(key: Key, edit: Edit) -> Key:
    return replace(key, edits=(*key.edits, edit))


def _within(box: Box, at: tuple[float, float]) -> bool:
    return box[0] <= at[0] <= box[2] and box[1] <= at[1] <= box[3]


def _find(document: Session, label: int, frame: int, key: Key, before: Mask | None, segment: Segment) -> bool:
    """Find the mask of a key frame by its points; `before` is what there was. Whether one was found."""
    found, by = np.zeros(document.size[::-1], bool), finder_of(document, label)
    if before is None and key.box:
        before = found  # a box says where it is; what was tracked would only blur that
    if before is None:
        before = document.unpack(document.layer(label).track.get(frame))
    positive = key.box is not None or any(inside for *_, inside in key.points)
    if positive or (key.points and before.any()):
        points = np.array([point[:2] for point in key.points], np.float32).reshape(-1, 2)
        inside = np.array([int(point[2]) for point in key.points], int)
        previous = before if before.any() else None
        image = np.array(document.opened.frames[frame])
        how: dict[str, Any] = {"box": key.box} if key.box else {}
        if by == CUTS:
            how |= {"clip": document.opened.clip, "frame": frame}
        answer = segment(image, points, inside, previous=previous, method=by, **how)
        found = np.asarray(answer, bool)
    document.set_key(label, frame, replace(key, found=pack(found) if found.any() else None, by=by))
    return bool(found.any()) or not (key.points or key.box)


_HINTS = {
    "sam": "Find masks with the small built-in SAM, which knows drawn things best",
    CUTS: "Find masks by colour, place and motion, without a network; made for real clips",
}


def finders_at_hand(document: Session) -> dict[str, MaskModel]:
    """Who can be asked for masks on a page, by name; published ones first."""
    able = [one for one in finders().values() if "points" in one.takes and not one.missing]
    able = [one for one in able if one.name != "sam" or document.fallback == "sam"]
    return {one.name: one for one in sorted(able, key=lambda one: one.checkpoint is None)}


def choose_tracker(document: Session, name: object) -> str:
    """Choose who follows the masks of a page; what to say of it.

    Raises:
        RequestError: There is no such tracker here.
    """
    able = {one.name: one for one in finders().values() if one.follows and not one.missing}
    if not isinstance(name, str) or name not in able:
        raise RequestError("tracker", f"{str(name)[:60]!r} was not found. {suggest(str(name)[:60], able)}")
    document.tracker = name
    said = able[name].cost()
    return f"{able[name].title} takes {said}." if said else ""


def finders_view(document: Session) -> dict[str, Any]:
    """The choices as the canvas shows them: finders, trackers and who follows."""
    trackers = [one for one in finders().values() if one.follows and not one.missing]
    return {
        "choices": [
            {
                "name": one.name,
                "title": one.title,
                "hint": _HINTS.get(one.name, f"Find masks with {one.title}"),
                "cost": one.cost(),
            }
            for one in finders_at_hand(document).values()
        ],
        "trackers": [{"name": one.name, "title": one.title, "cost": one.cost()} for one in trackers],
        "tracker": document.tracker,
        "usual": document.finder,
    }
