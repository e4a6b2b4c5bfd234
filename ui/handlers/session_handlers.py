"""What a page had comes back after a reload, a lost connection or Back."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from regrain.editing.errors import EditingError
from regrain.ui.forms.catalogue import BUILT_IN_MODEL
from regrain.ui.handlers.regions import MaskHandlers, described, page_of, told

_SAID = "Your clip, masks and words are as you left them."


@dataclass(frozen=True)
class SessionHandlers:
    """Keeps what the fields say and brings all of a page back.

    Attributes:
        head: The header, whose script asks for what the page had.
        masks: What opens a document.
        look: What is said of the settings; called with the model and the values of all controls.
    """

    head: Any
    masks: MaskHandlers
    look: Callable[..., dict[Any, Any]]

    @property
    def _fields(self) -> list[Component]:
        p = self.masks.parts
        return [p.model, p.loras, p.seed, *p.controls.all]

    def wire(self, page: gr.Blocks, quiet: dict[str, Any]) -> Dependency:
        """Connect the events; returns the one that brings a page back.

        Most pages are new. What brings one back writes to all its components, which takes a browser half a
        second, so it waits until the server has said that there is something.
        """
        p, head, free = self.masks.parts, self.head, {**quiet, "concurrency_limit": None}
        page.load(self.arrive, None, [head, p.quality, p.tries], **free)
        head.here(self.here, None, None, trigger_mode="multiple", **free)
        head.keep(self.keep, self._fields, None, trigger_mode="multiple", **free)
        shown = [p.gallery, p.canvas, p.cards, p.player, p.notice, p.live, p.result, p.progress, p.method]
        shown += [
            p.prompt,
            p.losses,
            p.lora_picker,
            p.history,
            p.run,
            p.stop,
            *p.controls.show(""),
            *self._fields,
        ]
        restored = head.back(self.restore, None, shown, **free)
        filled = restored.then(self.refill, None, [p.progress, *self._fields], **free)
        # Until then the fields hold what a new page has, or what the browser filled in on its way back.
        filled.then(None, None, None, js="() => { window.regrain.restored = true; }", **quiet)
        return restored

    def here(self, request: gr.Request) -> None:
        """The page is still open."""
        self.masks.visits.here(page_of(request))

    def keep(self, request: gr.Request, *fields: object) -> None:
        """What the page's fields say now: model, LoRA files, seed, parameters."""
        if document := self.masks.visits.find(page_of(request)):
            document.fields = fields

    def arrive(self, request: gr.Request) -> dict[Any, Any]:
        """A page has been opened: whether it had something before, else what is said of a new one."""
        if self.masks.visits.arrive(page_of(request), request.session_hash or ""):
            return {self.head: {"known": True}}
        values = (getattr(field, "value", None) for field in self.masks.parts.controls.all)
        return {self.head: {"known": False}} | self.look(request, BUILT_IN_MODEL, *values)

    def restore(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """All that a page had before it was reloaded, and what was typed there last."""
        visits, p = self.masks.visits, self.masks.parts
        page = page_of(request)
        document = visits.find(page)
        if document is None:  # forgotten since
            return {p.progress: gr.skip()}
        with suppress(EditingError):  # of another clip
            described(visits, page, told(event).get("typed"))
        model, *_ = document.fields or (BUILT_IN_MODEL,)
        running = document.run is not None and not document.run.over
        with document.lock:
            shown = self.masks.opened(document, _SAID, model, document.opened.name)
            shown[p.cards] |= {"anew": time.time()}
        shown[p.history] = document.history.view()
        if running:  # else left alone: Run may have been pressed meanwhile
            shown |= {p.run: gr.Button(interactive=False), p.stop: gr.Button(visible=True)}
        return shown

    def refill(self, request: gr.Request) -> dict[Any, Any]:
        """What the fields said before a reload, once they are there: one that appears forgets it."""
        document = self.masks.visits.find(page_of(request))
        fields = zip(self._fields, document.fields if document else (), strict=False)
        # A state has no properties to update.
        filled = {
            part: value if isinstance(part, gr.State) else gr.update(value=value) for part, value in fields
        }
        return {self.masks.parts.progress: gr.skip(), **filled}
