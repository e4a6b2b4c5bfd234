"""Bring a page's work back after a reload, a lost connection or Back."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import gradio as gr
from gradio import EventData, Request

from regrain.editing.errors import EditingError, ResourceError
from regrain.editing.models.files.location import BUILT_IN_MODEL
from regrain.ui.handlers.base import FIELDS, SESSION, event_data, page_of
from regrain.ui.handlers.clip_handlers import ClipHandlers
from regrain.ui.handlers.outputs import outputs
from regrain.ui.server.runs import Changes
from regrain.ui.session.session import Session
from regrain.ui.views import session_views
from regrain.ui.views.model_views import addons_view
from regrain.ui.views.result_views import history_view
from regrain.ui.views.shown import HeaderView

_NOTE = "Your clip, masks and words are as you left them."
_GONE = ResourceError(
    "clip",
    "The server was restarted, and what you had here was removed. Open your clip again.",
)


@dataclass(frozen=True)
class SessionHandlers(ClipHandlers):
    """Keeps the values of a page's fields and brings all of a page back."""

    # judges the settings; called with the values of all fields
    look: Callable[..., Changes]

    @outputs("head")
    def here(self, request: Request) -> Changes:
        """Note that the page is still open, and say what it was not told yet."""
        self.visits.here(page_of(request))
        session = self.visits.find(page_of(request))
        return self.told(session) if session else {}

    @outputs("head", "quality", "tries", "focus", "model", "addons")
    def arrive(self, request: Request) -> Changes:
        """Say whether a page that was opened had something before; else judge the
        settings of a new one."""
        if self.visits.arrive(page_of(request), request.session_hash or ""):
            return {"head": HeaderView(known=True)}
        _, *others = [field.value for field in self.parts.fields]  # type: ignore[attr-defined]
        notice = self.session(request).take_notice()
        shown: Changes = {"head": HeaderView(known=False, notice=notice)}
        catalogue = self.catalogue
        if catalogue.changed:
            shown["model"] = gr.Dropdown(choices=catalogue.model_choices)
            shown["addons"] = addons_view(catalogue, self.parts.added.value)
        return shown | self.look(request, BUILT_IN_MODEL, *others)

    @outputs("head")
    def offer(self, event: EventData) -> Changes:
        """Offer the own clip of another page of the same browser, if that was closed
        and is still kept."""
        page = str(event_data(event).get("page"))
        session = self.visits.find(page)
        if session and session.opened.own and self.visits.has_left(page):
            return {"head": HeaderView(known=False, offer=session.opened.title)}
        return {}

    @outputs(*SESSION, *FIELDS, "run", "stop")
    def restore(self, event: EventData, request: Request) -> Changes:
        """Show all that a page had before it was reloaded, and what was typed there
        last."""
        said = event_data(event)
        session = self.visits.find(page_of(request))
        # what the page sends again begins a new one
        if session is None or (said.get("gone") and not session.returned):
            # One of the two is on show.
            return {"canvas": session_views.lost(_GONE.message)} | self.failed(_GONE)
        with suppress(EditingError):  # of another clip
            self.described(request, said.get("typed"))
        shown = self.whole(session, _NOTE)
        if session.going:  # else left alone: Run may have been pressed meanwhile
            shown |= self.buttons(True)
        return shown

    def whole(self, session: Session, note: str) -> Changes:
        """Show all of a session that was there before, with a note, or what its page
        is still to be told."""
        with session.lock:
            shown = self.opened(session, session.take_notice() or note)
            if session.returned and not session.run:
                history = session.history
                for last in history.of_clip(session.id)[:1]:
                    before = last.read()
                    history.shown = (last.key,)
                    shown |= {"player": before["player"], "result": before["result"]}
        shown["cards"] = replace(shown["cards"], anew=time.time())
        shown["history"] = history_view(session.history, session.id)
        return shown
