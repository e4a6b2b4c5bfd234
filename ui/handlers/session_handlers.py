"""What a page had comes back after a reload, a lost connection or Back."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr

from regrain.editing.errors import EditingError, ResourceError
from regrain.ui.handlers.base import event_data, page_of
from regrain.ui.handlers.regions import MaskHandlers
from regrain.ui.views import views
from regrain.ui.views.catalogue import BUILT_IN_MODEL

_NOTE = "Your clip, masks and words are as you left them."
_GONE = ResourceError(
    "clip", "The server was restarted, and what you had here was removed. Open your clip again."
)


@dataclass(frozen=True)
class SessionHandlers:
    """Keeps what the fields say and brings all of a page back."""

    head: Any  # the header, whose script asks for what the page had
    masks: MaskHandlers  # what opens a session
    look: Callable[
        ..., dict[Any, Any]
    ]  # what is said of the settings; called with the values of all fields

    def here(self, request: gr.Request) -> None:
        """The page is still open."""
        self.masks.visits.here(page_of(request))

    def keep(self, request: gr.Request, *fields: object) -> None:
        """What the page's fields say now: model, LoRA files, seed, parameters."""
        if session := self.masks.visits.find(page_of(request)):
            session.fields = fields

    def arrive(self, request: gr.Request) -> dict[Any, Any]:
        """A page has been opened: whether it had something before, else what is said of a new one."""
        if self.masks.visits.arrive(page_of(request), request.session_hash or ""):
            return {self.head: {"known": True}}
        _, *others = (getattr(field, "value", None) for field in self.masks.parts.fields)
        return {self.head: {"known": False}} | self.look(request, BUILT_IN_MODEL, *others)

    def offer(self, event: gr.EventData) -> dict[Any, Any]:
        """What another page of the same browser had, if that was closed and its own clip is still here."""
        page = str(event_data(event).get("page"))
        session = self.masks.visits.find(page)
        kept = session and session.opened.own and self.masks.visits.has_left(page)
        return {
            self.head: {"known": False, "offer": session.opened.title}
            if session and kept
            else gr.skip()
        }

    def restore(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """All that a page had before it was reloaded, and what was typed there last."""
        p = self.masks.parts
        session = self.masks.visits.find(page_of(request))
        if session is None or event_data(event).get(
            "gone"
        ):  # what the page sends again begins a new one
            return {p.canvas: views.lost(_GONE.message)} | self.masks.failed(
                _GONE
            )  # one of them is on show
        with suppress(EditingError):  # of another clip
            self.masks.described(request, event_data(event).get("typed"))
        model, *_ = session.fields or (BUILT_IN_MODEL,)
        with session.lock:
            shown = self.masks.opened(session, _NOTE, model)
            shown[p.cards] |= {"anew": time.time()}
        shown[p.history] = session.history.view()
        if session.going:  # else left alone: Run may have been pressed meanwhile
            shown |= self.masks.buttons(True)
        return shown

    def refill(self, request: gr.Request) -> dict[Any, Any]:
        """What the fields said before a reload, once they are there: one that appears forgets it."""
        session = self.masks.visits.find(page_of(request))
        p = self.masks.parts
        filled: dict[Any, Any] = {p.progress: gr.skip()}
        for part, value in zip(p.fields, session.fields if session else (), strict=False):
            # A state has no properties to update.
            filled[part] = value if isinstance(part, gr.State) else gr.update(value=value)
        return filled
