"""Masks: each handler takes what the page sent and returns the parts it changes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from gradio import EventData, Request

from regrain.editing.errors import EditingError
from regrain.editing.request.plan import scan
from regrain.ui.handlers.base import Handlers, event_data, page_of
from regrain.ui.handlers.masking import Masking
from regrain.ui.handlers.outputs import outputs
from regrain.ui.handlers.tracking import Tracking
from regrain.ui.server.runs import Changes
from regrain.ui.views import session_views

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaskHandlers(Handlers):
    """Masks: made on the canvas, and followed."""

    masking: Masking
    tracking: Tracking

    @outputs("canvas", "cards", "prompt")
    def act(self, event: EventData, request: Request) -> Changes:
        """Answer one thing done on the canvas or the cards: a click, a stroke, a
        region, undo."""
        shown, session = self.masking.act(page_of(request), event_data(event))
        changes = {"canvas": shown} if shown else {}
        return changes | self.cards(session) if session else changes

    @outputs("canvas")
    def track(self, event: EventData, request: Request) -> Iterator[Changes]:
        """Yield masks, frame by frame, while regions are followed through the clip."""
        for shown in self.tracking.track(page_of(request), event_data(event)):
            yield {"canvas": shown} if shown else {}

    @outputs("canvas")
    def scan(self, event: EventData, request: Request) -> Changes:
        """Look for cuts, once the clip can be seen, unless the page leaves it.

        It takes 10 to 15 ms a frame.
        """
        page = page_of(request)
        data = event_data(event)
        found = []
        try:
            with self.visits.held(page, data) as session:
                identity = session.id
                clip = session.opened.clip
            for number, is_cut in scan(clip):
                if session.id != identity or self.visits.has_left(page):
                    return {}
                if is_cut:
                    found.append(number)
        except EditingError:
            return {}  # the page has gone, or its clip; a run looks for cuts itself
        except OSError:
            log.info("the frames went while cuts were sought")
            return {}
        with session.lock:
            if session.id != identity:
                return {}
            session.found = tuple(found)
            return {"canvas": session_views.canvas(session, data["have"], None)}
