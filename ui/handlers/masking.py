"""Events of the canvas and the cards: points, strokes, mask tools, regions, undo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard, get_args, get_type_hints

from regrain.editing.errors import EditingError, RequestError
from regrain.editing.request.region import is_int
from regrain.masks.draw import BrushStroke, Rectangle
from regrain.ui.handlers.base import Data, explain
from regrain.ui.session import mask_edits, region_pictures
from regrain.ui.session.clip_files import uploaded
from regrain.ui.session.mask_edits import MAX_PATH, Segment
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.session.session_store import SessionStore
from regrain.ui.values import mask_models
from regrain.ui.values.cutout import Point
from regrain.ui.values.layers import Box, MaskLayer, Place, Reshape
from regrain.ui.values.state import MAX_UNDO
from regrain.ui.views import session_views
from regrain.ui.views.shown import CanvasGone, CanvasView

MAX_RESHAPE = 64  # pixels
# pixels; no clip is so large, and a whole number may be too large for a float
_FAR = 10**9
_NOTHING = (
    "Nothing found at that point. "
    "Click nearer the middle of the object, or paint it with the brush (B)."
)
_NOTHING_BOXED = (
    "Nothing found in that box. "
    "Draw it closer around the object, or hold Shift to take all of it."
)
_UNSURE = "Unsure: this click may mean several things."
_UNSURE_BOX = (
    "Unsure: the mask ends where the box does. Click what is missing, right-click what is too much, or draw "
    "a larger box."
)
_TAKEN_BACK = "The point is taken back. Undo brings it again."
_BEGUN = "A new region begins with this mask."
_MOST_CLICKS = 100  # on the picture of a region
_KINDS = get_args(get_type_hints(Reshape)["kind"])


class Masking:
    """Events of the canvas in, views out; `segment` turns points into a mask."""

    def __init__(self, visits: SessionStore, segment: Segment) -> None:
        self.visits = visits
        self.segment = segment
        self._acts: dict[str, Callable[[Session, Data], str | None]] = {
            "point": self._point,
            "unpoint": self._point,
            "stroke": self._stroke,
            "box": self._box,
            "reshape": self._reshape,
            "feather": self._feather,
            "undo": self._undo,
            "redo": self._undo,
            "stop": lambda session, _: session.stop.set(),
            "add": self._add,
            "rest": self._add_rest,
            "delete": self._delete,
            "clear": self._clear,
            "picture": self._picture,
            "find": self._find_by,
            "tracker": self._choose_tracker,
            "focus": lambda session, data: session.choose_focus(str(data.get("how"))),
        }

    def act(
        self, page: str, data: Data
    ) -> tuple[CanvasView | CanvasGone | None, Session | None]:
        """Answer an event of the canvas.

        Returns:
            The canvas, None where it stays as it is; and the session if the cards must
            change too.
        """
        try:
            with self.visits.held(page, data) as session:
                return self._answer(session, {**data, "page": page})
        except StaleEvent:
            return None, None
        except EditingError as error:
            return session_views.lost(error.message), None

    def _answer(
        self, session: Session, data: Data
    ) -> tuple[CanvasView, Session | None]:
        before = _of_cards(session)
        session.describe(data.get("cards"))  # typed, and not yet sent
        note, alarm = self._do(session, data)
        act = data.get("act")
        if is_int(data.get("nonce")):
            session.acknowledged.append(data["nonce"])
        session.shown = frame_shown(session, data)
        if act in ("look", "preview"):  # only to be given masks
            note = None  # the note before stays
        view = session_views.canvas(
            session,
            data["have"],
            note,
            alarm,
            session.shown,
            _wanted(session, data),
        )
        view = replace(view, unsure=note == _UNSURE)
        if act in ("undo", "redo"):
            view = replace(view, **_go_to_change(session))
        if act == "preview":
            view = replace(view, preview=self._previewed(session, data))
        if act == "picture" and data.get("how") in ("open", "cut"):
            view = replace(view, **_cutting(session, data))
        cards_changed = before != _of_cards(session)
        return view, session if cards_changed else None

    def _do(self, session: Session, data: Data) -> tuple[str | None, bool]:
        """Do what an event asks for; returns a note, and whether it is about something
        that went wrong."""
        act = self._acts.get(str(data.get("act")))
        if act is None:
            return "", False
        try:
            note = act(session, data)
        except Exception as error:
            return explain(
                error, "an event of the canvas failed", with_field=True
            ), True
        return note or "", note in (_NOTHING, _NOTHING_BOXED)

    def _point(self, session: Session, data: Data) -> str | None:
        frame = frame_of(session, data)
        at = _place(session, data.get("at"))
        if data["act"] == "unpoint":
            found = mask_edits.remove_point(
                session, _label(data), frame, at, self.segment
            )
            return _TAKEN_BACK if found else _NOTHING
        label = self._target(session, data)
        inside = bool(data.get("inside"))
        if inside:
            session.state = session.state.raised(label, frame, at)
        found = mask_edits.add_point(session, label, frame, at, inside, self.segment)
        if found and session.answer[2]:
            return _UNSURE
        if found and data.get("begins") is True:
            return _BEGUN
        return None if found else _NOTHING

    def _previewed(self, session: Session, data: Data) -> str:
        """Return the mask that a click would make, see `preview_point`; empty where a
        click would be refused."""
        try:
            return mask_edits.preview_point(
                session,
                None if data.get("begins") is True else _aim(session, data),
                frame_of(session, data),
                _place(session, data.get("at")),
                bool(data.get("inside")),
                self.segment,
            )
        except EditingError:
            return ""

    def _box(self, session: Session, data: Data) -> str | None:
        box = _dragged_box(session, data)
        label = self._target(session, data)
        frame = frame_of(session, data)
        how = data.get("how")
        if how in ("add", "erase"):
            mask_edits.add_edit(
                session, label, frame, Rectangle(box, erase=how == "erase")
            )
            return None
        found = mask_edits.add_box(session, label, frame, box, self.segment)
        if found and session.answer[2]:
            return _UNSURE_BOX
        return None if found else _NOTHING_BOXED

    def _stroke(self, session: Session, data: Data) -> None:
        stroke = _brush_stroke(session, data)
        label = self._target(session, data)
        frame = frame_of(session, data)
        if not stroke.erase:
            first = _place(session, data["path"][0])
            session.state = session.state.raised(label, frame, first)
        mask_edits.add_edit(session, label, frame, stroke)

    def _reshape(self, session: Session, data: Data) -> None:
        kind = data.get("kind")
        pixels = data.get("pixels")
        if kind not in _KINDS or not is_int(pixels) or not 1 <= pixels <= MAX_RESHAPE:
            raise RequestError(
                "mask tool",
                f"It needs one of {', '.join(_KINDS)} and 1 to {MAX_RESHAPE} pixels.",
            )
        everywhere = data.get("all") is True
        frames = (
            list(range(session.state.shape[0]))
            if everywhere
            else [frame_of(session, data)]
        )
        mask_edits.reshape(session, _label(data), frames, Reshape(kind, pixels))

    def _feather(self, session: Session, data: Data) -> None:
        pixels = data.get("pixels")
        if not isinstance(pixels, int) or not 0 <= pixels <= MAX_RESHAPE:
            raise RequestError("feather", f"Choose 0 to {MAX_RESHAPE} pixels.")
        session.commit(session.state.change_region(_label(data), feather=pixels))

    def _picture(self, session: Session, data: Data) -> str | None:
        label = _label(data)
        session.state.layer(label)
        how = data.get("how")
        if how == "open":
            return None
        if how == "cut":
            found = region_pictures.cut_out(
                session,
                label,
                _clicks(data.get("points")),
                self._folder(data),
                self.segment,
            )
            return None if found else region_pictures.NOTHING
        if how in ("same", "remove"):
            picture = ""
            if how == "same":
                other = _label({"label": data.get("other")})
                session.state.layer(other)
                picture = session.state.regions[other].picture
            session.commit(session.state.change_region(label, picture=picture))
            return None
        note = region_pictures.take(session, label, uploaded(data), self._folder(data))
        return note or "Click the picture to cut the thing out of it."

    def _folder(self, data: Data) -> Path:
        """Make a folder that stays as long as the page, since undo brings pictures
        back."""
        return self.visits.media.new_clip(str(data["page"]))

    def _find_by(self, session: Session, data: Data) -> None:
        finder = str(data.get("by"))
        frame = frame_of(session, data)
        mask_edits.find_by(
            session,
            self._target(session, data),
            frame,
            finder,
            self.segment,
        )

    def _add(self, session: Session, data: Data) -> str:
        session.add_region()
        return "New region. Click an object in the frame, or paint it."

    def _add_rest(self, session: Session, data: Data) -> str:
        session.add_rest()
        return "The rest of the frame is a region now. Say what it should become."

    def _target(self, session: Session, data: Data) -> int:
        """Return the region an event is for, see `_aim`; the first click of all makes
        one, and fast later ones use it."""
        label = _aim(session, data)
        return session.add_region() if label is None else label

    def _undo(self, session: Session, data: Data) -> str:
        session.stop.set()
        if data["act"] == "redo":
            session.redo()
        else:
            session.undo()
        if session.steps.cut and not session.steps.past:  # more was done
            return f"Undo ends here: it keeps the last {MAX_UNDO} steps."
        return ""

    def _delete(self, session: Session, data: Data) -> None:
        # a tracker writes by label, and labels of deleted regions are given again
        session.stop.set()
        session.commit(session.state.delete(_label(data)))

    def _clear(self, session: Session, data: Data) -> None:
        session.commit(session.state.with_layer(_label(data), MaskLayer()))

    def _choose_tracker(self, session: Session, data: Data) -> str:
        chosen = mask_models.choose("tracker", data.get("by"), mask_models.trackers())
        session.tracker = chosen.name
        cost = chosen.cost()
        return f"{chosen.title} takes {cost}." if cost else ""


def _aim(session: Session, data: Data) -> int | None:
    """Return the region that a click is for; None for one that is yet to be made.

    The rest of the frame cannot be drawn: while it is selected, a region without words
    is drawn.
    """
    regions = session.state.regions
    rest = session.state.rest
    own = [label for label in regions if label != rest]
    if not own:
        return None
    label = _label(data) or own[0]
    if label != rest:
        return label
    wordless = (other for other in own if not regions[other].prompt.strip())
    return next(wordless, None)


def _label(data: Data) -> int:
    label = data.get("label")
    if not is_int(label):
        raise RequestError("region", "No region is selected. Click one in the list.")
    return label


def _clicks(points: object) -> list[Point]:
    """Return clicks on a picture: x and y, 0..1, and whether they are on the thing."""
    if not isinstance(points, list) or len(points) > _MOST_CLICKS:
        raise RequestError("picture", f"It takes at most {_MOST_CLICKS} clicks.")
    clicks = []
    for point in points:
        if not isinstance(point, list) or len(point) != 3:
            raise RequestError("picture", "A click has two numbers, and what it is on.")
        x, y = _pair(point[:2])
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise RequestError("picture", "Click inside the picture.")
        clicks.append((x, y, bool(point[2])))
    return clicks


def _cutting(session: Session, data: Data) -> Data:
    """Return how the picture of an event's region is cut out, or why that cannot be
    shown; nothing without a picture."""
    label = data.get("label")
    region = session.state.regions.get(label) if is_int(label) else None
    if region is None or not region.picture:
        return {}
    try:
        return {"cutting": session_views.cutting(session, region.label)}
    except EditingError as error:  # its file is gone
        said = explain(error, "a picture cannot be shown", with_field=True)
        return {"note": said, "alarm": True}


def _dragged_box(session: Session, data: Data) -> Box:
    x0, y0 = _place(session, data.get("from"))
    x1, y1 = _place(session, data.get("to"))
    left, right = sorted((x0, x1))
    top, bottom = sorted((y0, y1))
    if right - left < 1 or bottom - top < 1:
        raise RequestError("box", "It is too small. Drag it around the object.")
    return left, top, right, bottom


def _brush_stroke(session: Session, data: Data) -> BrushStroke:
    path = data.get("path")
    radius = data.get("radius")
    if (
        not isinstance(path, list)
        or not 1 <= len(path) <= MAX_PATH
        or not _is_number(radius)
    ):
        raise RequestError("stroke", f"It needs 1 to {MAX_PATH} points and a radius.")
    largest = float(max(session.state.size))
    radius = min(max(float(radius), 0.5), largest)
    centres = []
    for at in path:
        x, y = _place(session, at)
        # A browser counts from the corner of a pixel, the brush from its centre.
        centres.append((x - 0.5, y - 0.5))
    return BrushStroke(tuple(centres), radius, bool(data.get("erase")))


def frame_of(session: Session, data: Data) -> int:
    """Return the frame an event is about, from 0; a RequestError if the clip has no
    such frame."""
    frame: object = data.get("frame")
    if _is_frame(frame, session):
        return frame
    most = session.state.shape[0] - 1
    raise RequestError(
        "frame", f"{str(frame)[:20]} is outside the clip. Choose from 0 to {most}."
    )


def frame_shown(session: Session, data: Data) -> int:
    """Return the frame that a page shows, from 0; the first if it does not say."""
    frame: object = data.get("frame")
    return frame if _is_frame(frame, session) else 0


def _go_to_change(session: Session) -> Data:
    """Lead the page to the first frame that was changed last, unless it shows one of
    them."""
    changed = [frame for frame, rev in session.changed.items() if rev == session.rev]
    if not changed or session.shown in changed:
        return {}
    return {"go": min(changed)}


def _of_cards(session: Session) -> list[tuple[int, str]]:
    """Return the part of the cards that the server alone changes: labels and pictures,
    in their order."""
    return [(label, region.picture) for label, region in session.state.regions.items()]


def _wanted(session: Session, data: Data) -> list[int]:
    """List the frames whose masks a page lacks."""
    frames = data.get("wanted")
    if not isinstance(frames, list):
        return []
    return [
        frame
        for frame in frames[: session_views.MAX_WHOLE]
        if _is_frame(frame, session)
    ]


def _is_frame(value: object, session: Session) -> TypeGuard[int]:
    return is_int(value) and 0 <= value < session.state.shape[0]


def _pair(at: object) -> Place:
    if isinstance(at, list) and len(at) == 2:
        x, y = at
        if _is_number(x) and _is_number(y):
            return x, y
    raise RequestError("point", "It needs two numbers, x and y.")


def _place(session: Session, at: object) -> Place:
    """Return a place (x, y) in pixels of the clip from the frame's corner, within the
    frame."""
    x, y = _pair(at)
    width, height = session.state.size
    x = min(max(x, 0.0), width - 1e-3)
    y = min(max(y, 0.0), height - 1e-3)
    return round(x, 2), round(y, 2)


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < _FAR
