"""A published SAM is fetched from the page: offered, watched, stopped, and used once it is here."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from regrain.editing.errors import EditingError
from regrain.editing.storage.fetching import Fetched
from regrain.editing.storage.local_models import MODELS_VARIABLE, models_folder
from regrain.masks.models.checkpoints import title_of
from regrain.masks.models.fetch import SUGGESTED, fetch, why_not
from regrain.masks.models.finders import finders
from regrain.ui.forms import views
from regrain.ui.handlers.masking import BROKEN
from regrain.ui.handlers.regions import Components, page_of
from regrain.ui.server.worker import in_thread
from regrain.ui.session.session_store import SessionStore

log = logging.getLogger(__name__)
_TITLE = title_of(SUGGESTED.name)
_NO_FOLDER = (
    f"A published SAM masks real clips far better. Set {MODELS_VARIABLE} to a folder for models, and the "
    "page can fetch one."
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
class FinderHandlers:
    """The line below the canvas that fetches a published SAM.

    Attributes:
        visits: The documents of all open pages.
        parts: The components.
        fetch: As `masks.models.fetch.fetch`.
    """

    visits: SessionStore
    parts: Components
    fetch: Callable[[], Iterator[Fetched]] = fetch
    _stopped: dict[str, threading.Event] = field(default_factory=dict)

    def start(self, request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Fetch it; the canvas offers it as soon as it is here."""
        page = page_of(request)
        stop = self._stopped[page] = threading.Event()
        try:
            yield from self._fetched(page, stop)
        except EditingError as error:
            yield self._failed(error.message)
        except Exception:
            log.exception("a model could not be fetched")
            yield self._failed(BROKEN)
        finally:
            self._stopped.pop(page, None)

    def _fetched(self, page: str, stop: threading.Event) -> Iterator[dict[Any, Any]]:
        with closing(in_thread(lambda: iter(self.fetch()), turn=_fetching)) as steps:
            for step in steps:
                self.visits.keep(page)
                if stop.is_set():
                    break
                yield self._shown(_busy(step)) if step else {self.parts.fetch: gr.skip()}
        yield self._shown(offer()) if stop.is_set() else self._shown(_done()) | self._canvas(page)

    def _failed(self, note: str) -> dict[Any, Any]:
        return self._shown((offer() or {}) | {"state": "failed", "note": note})

    def stop(self, request: gr.Request) -> None:
        """Stop what this page fetches."""
        if stop := self._stopped.get(page_of(request)):
            stop.set()

    def _shown(self, value: views.View | None) -> dict[Any, Any]:
        return {self.parts.fetch: value}

    def _canvas(self, page: str) -> dict[Any, Any]:
        try:
            document = self.visits.get(page)
        except EditingError:
            return {}
        with document.lock:
            return {self.parts.canvas: views.canvas(document, document.rev, None)}


def _busy(step: Fetched) -> views.View:
    return {"state": "busy", "title": _TITLE, "done": step.done, "total": step.total}


def _done() -> views.View:
    found = finders().get(SUGGESTED.name)
    takes = f"It takes {found.cost()}." if found else ""
    return {"state": "done", "title": _TITLE, "note": takes}
