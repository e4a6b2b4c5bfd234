"""The motion of a clip, as pictures on demand; its cuts, found once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from regrain.editing.errors import EditingError
from regrain.editing.request.plan import scan
from regrain.editing.request.region import is_int
from regrain.ui.handlers.base import Data, explain
from regrain.ui.handlers.masking import frame_of
from regrain.ui.server.media import data_url
from regrain.ui.session.method_choice import View
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.session.session_store import SessionStore
from regrain.ui.views import session_views

if TYPE_CHECKING:  # torch takes seconds
    from regrain.editing.pipeline.motion_pictures import MotionPictures

log = logging.getLogger(__name__)
Motion = Callable[[np.ndarray, np.ndarray], "MotionPictures"]
_CUT = "There seems to be a cut between these frames, so the motion means nothing."
_SIGNS = "Hue shows the direction, saturation the distance. Hatched places have no counterpart."
_LAST = "The last frame has no next one. Choose an earlier frame."


class Motions:
    """Draws the motion of a page's clip, a pair of frames at a time; see `motion_pictures`."""

    def __init__(self, visits: SessionStore, motion: Motion) -> None:
        self.visits = visits
        self.motion = motion

    def look(self, page: str, data: Data) -> View | None:
        """Draw the motion from a frame to the next; None for a clip that the page has left.

        Nothing of the page is locked meanwhile, so clicks and runs go on.
        """
        asked: View = {}
        for key in ("id", "frame", "nonce"):
            value = data.get(key)
            if isinstance(value, str) or is_int(value):
                asked[key] = value
        try:
            with self.visits.held(page, data) as session:
                frame = frame_of(session, data)
                frames = session.opened.frames
            if frame == len(frames) - 1:
                return asked | {"note": _LAST}
            this = np.asarray(frames[frame])
            following = np.asarray(frames[frame + 1])
            return asked | _shown(self.motion(this, following), frame, session)
        except StaleEvent:
            return None
        except Exception as error:
            note = explain(error, "the motion could not be drawn", with_field=True)
            return asked | {"note": note, "alarm": True}


def find_cuts(visits: SessionStore, page: str, data: Data) -> View | None:
    """Return the canvas with the cuts of the clip that a page shows; None if the page has left it meanwhile.

    To look for them takes 10 to 15 ms a frame.
    """
    found = []
    try:
        with visits.held(page, data) as session:
            identity = session.id
            clip = session.opened.clip
        for number, is_cut in scan(clip):
            if session.id != identity or visits.has_left(page):
                return None
            if is_cut:
                found.append(number)
    except EditingError:
        return None  # the page has gone, or its clip; a run looks for cuts itself
    except OSError:
        log.info("the frames went while cuts were sought")
        return None
    with session.lock:
        if session.id != identity:
            return None
        session.found = tuple(found)
        return session_views.canvas(session, data["have"], None)


def _shown(drawn: MotionPictures, frame: int, session: Session) -> View:
    this, following = frame + 1, frame + 2  # as people count
    hidden = _percent(drawn.hidden_share)
    appeared = _percent(drawn.appeared_share)
    width, height = session.state.size
    return {
        "aspect": width / height,
        "wheel": _url(drawn.wheel),
        "reach": f"{drawn.reach:.0f} px",
        "pictures": [
            {
                "url": _url(drawn.flow),
                "text": f"Motion from frame {this} to {following}",
            },
            {
                "url": _url(drawn.hidden),
                "text": f"Frame {this}: {hidden} is hidden in frame {following}",
            },
            {
                "url": _url(drawn.appeared),
                "text": f"Frame {following}: {appeared} is new since frame {this}",
            },
        ],
        "note": _CUT if drawn.cut else _SIGNS,
    }


def _url(picture: np.ndarray) -> str:
    return data_url(picture, max(picture.shape), 90)


def _percent(share: float) -> str:
    if share == 0:
        return "nothing"
    if share < 0.01:
        return "under 1 %"
    return f"{100 * share:.0f} %"
