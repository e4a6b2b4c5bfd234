"""Masks that come by themselves: regions followed through the clip."""

from __future__ import annotations

import time
from collections.abc import Iterator

from regrain.editing.errors import EditingError
from regrain.ui.handlers.base import Data, explain
from regrain.ui.handlers.masking import frame_shown
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.session.session_store import SessionStore
from regrain.ui.session.tracking import Propagate, Tracker, unsure
from regrain.ui.views import session_views
from regrain.ui.views.shown import CanvasGone, CanvasView

_NO_KEY = "There is nothing to track yet. Click an object, or correct a mask."
# Seconds between two looks at a long and at a short clip that is tracked.
_PAUSE = 0.3
_GLANCE = 0.05
_SHORT = 32  # frames


class Tracking(Tracker):
    """Follows regions for pages, in threads.

    Args:
        visits: The sessions of all open pages.
        propagate: See `Tracker`.
    """

    def __init__(self, visits: SessionStore, propagate: Propagate) -> None:
        super().__init__(propagate)
        self.visits = visits

    def track(self, page: str, data: Data) -> Iterator[CanvasView | CanvasGone | None]:
        """Follow the regions that were corrected through the clip; None while there is
        nothing new."""
        idle = None
        try:
            with self.visits.held(page, data) as session:
                if data.get("again") and not session.tracking:
                    return
                identity = session.id
                since = data["have"]
                session.shown = frame_shown(session, data)
                if not session.tracking:  # else watched again, after a reload
                    self.begin(session)
                if not session.tracking:
                    idle = session_views.canvas(
                        session, since, _NO_KEY, frame=session.shown
                    )
        except StaleEvent:
            return
        except EditingError as error:
            yield session_views.lost(error.message)
            return
        # handed out without the lock: what comes back may come in another thread
        if idle:
            yield idle
        else:
            yield from _watch(session, identity, since)


def look(
    session: Session, identity: str, since: int, note: str = "", alarm: bool = False
) -> CanvasView | None:
    """Return the canvas of a session while it shows the clip of that identity; see
    `session_views.canvas`."""
    with session.lock:
        if session.id != identity:
            return None
        frame = session.followed[-1] if session.followed else session.shown
        return session_views.canvas(session, since, note, alarm, frame)


def _watch(session: Session, identity: str, since: int) -> Iterator[CanvasView | None]:
    """Yield the canvas of a session while regions are tracked, and at the end with a
    note."""
    shown = None
    while session.tracking and session.id == identity:
        done = session.followed
        yield look(session, identity, since) if done != shown else None
        shown = done
        time.sleep(_PAUSE if len(session.opened.frames) > _SHORT else _GLANCE)
    if session.trouble:
        note = explain(session.trouble, "tracking failed", with_field=True)
    elif session.stop.is_set():
        note = "Tracking stopped. Correct the mask here, then track again."
    else:
        note = unsure(session)
    yield look(session, identity, since, note, alarm=session.trouble is not None)
