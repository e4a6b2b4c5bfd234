"""The cuts of a page's clip, found once."""

from __future__ import annotations

import logging

from regrain.editing.errors import EditingError
from regrain.editing.request.plan import scan
from regrain.ui.handlers.base import Data
from regrain.ui.session.session_store import SessionStore
from regrain.ui.views import session_views
from regrain.ui.views.shown import CanvasView

log = logging.getLogger(__name__)


def find_cuts(visits: SessionStore, page: str, data: Data) -> CanvasView | None:
    """Return the canvas with the cuts of the clip that a page shows; None if the page
    has left it meanwhile.

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
