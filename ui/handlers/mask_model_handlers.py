"""A published SAM is fetched from the page: offered, watched, stopped, and used once it is here."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import gradio as gr

from regrain.editing.storage.fetching import Fetched
from regrain.editing.storage.local_models import MODELS_VARIABLE, models_folder
from regrain.masks.models.checkpoints import title_of
from regrain.masks.models.fetch import SUGGESTED, fetch, why_not
from regrain.masks.models.finders import finders
from regrain.ui.forms import views
from regrain.ui.handlers.base import Handlers, explain, page_of
from regrain.ui.server.worker import in_thread

_TITLE = title_of(SUGGESTED.name)
_NO_FOLDER = (
    f"For better masks on real clips: start with {MODELS_VARIABLE}=/your/folder, then fetch {_TITLE} here "
    f"({SUGGESTED.size / 1e6:.0f} MB)."
)
_fetching = threading.Lock()  # one at a time in the process, whoever asked


def offer() -> views.View | None:
    """What a page says of the SAM it could fetch; None where it is here, and where nothing can be fetched."""
    shown = {"state": "offer", "title": _TITLE, "size": SUGGESTED.size, "note": ""}
    if os.environ.get("SPACE_ID") or SUGGESTED.name in finders():
        return None
    if models_folder() is None:
        return shown | {"note": _NO_FOLDER}
    return None if why_not() else shown


@dataclass(frozen=True)
class MaskModelHandlers(Handlers):
    """The line below the canvas that fetches a published SAM."""

    fetch: Callable[[], Iterator[Fetched]] = fetch  # as `masks.models.fetch.fetch`
    _stopped: dict[str, threading.Event] = field(default_factory=dict)

    def start(self, request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Fetch it; the canvas offers it as soon as it is here."""
        page = page_of(request)
        stop = self._stopped[page] = threading.Event()
        try:
            with closing(in_thread(lambda: iter(self.fetch()), turn=_fetching)) as steps:
                for step in takewhile(lambda _: not stop.is_set(), steps):
                    self.visits.keep(page)
                    busy = step and {"state": "busy", "title": _TITLE, "done": step.done, "total": step.total}
                    yield {self.parts.fetch: busy or gr.skip()}
            shown = {self.parts.fetch: offer()} if stop.is_set() else self._done(page)
        except Exception as error:
            note = explain(error, "a model could not be fetched")
            shown = {self.parts.fetch: (offer() or {}) | {"state": "failed", "note": note}}
        finally:
            self._stopped.pop(page, None)
        yield shown

    def stop(self, request: gr.Request) -> None:
        """Stop what this page fetches."""
        if stop := self._stopped.get(page_of(request)):
            stop.set()

    def _done(self, page: str) -> dict[Any, Any]:
        found = finders().get(SUGGESTED.name)
        note = f"It takes {found.cost()}." if found else ""
        shown: dict[Any, Any] = {self.parts.fetch: {"state": "done", "title": _TITLE, "note": note}}
        if session := self.visits.find(page):
            with session.lock:
                shown[self.parts.canvas] = views.canvas(session, session.rev, None)
        return shown
