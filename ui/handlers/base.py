"""Common parts of handlers: components they change, page and session of an event, texts
of errors."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import gradio as gr
from gradio import EventData, Request
from gradio.components import Component

from regrain.editing.errors import EditingError, ResourceError
from regrain.editing.models.files.location import BUILT_IN_MODEL, moving
from regrain.editing.params.written import split_weight
from regrain.editing.request.edit import Edit
from regrain.editing.storage.folders import is_of_disk
from regrain.ui.server.media import Media
from regrain.ui.server.runs import Changes
from regrain.ui.session.session import Session
from regrain.ui.session.session_store import SessionStore
from regrain.ui.values.fields import Fields, Values
from regrain.ui.views import run_views, session_views, settings
from regrain.ui.views.model_views import addons_view, choice, tuned_models
from regrain.ui.views.shown import AdaptersView, DownloadView, HeaderView, SettingsView
from regrain.ui.work.catalogue import Catalogue
from regrain.ui.work.wording import sentence

log = logging.getLogger(__name__)
Data = dict[str, Any]
FULL = "The disk of this machine is full, or cannot be written. Free some space, then try again."
BROKEN = "Something went wrong inside Regrain. The log has the details."


# Names of the components that show: the choice of a method; a session, without its
# fields; all fields.
METHOD = ("method", "settings")
SESSION = (
    *("gallery", "canvas", "player", "live", "result", "losses", "useless", "words"),
    *("progress", "cards", "prompt", "addons", "adapters", "history", *METHOD),
)
FIELDS = ("model", "added", "settings")


class Components(SimpleNamespace):
    """The components that events change, by the names that `ui.page.layout` gives
    them."""

    @property
    def fields(self) -> list[Component]:
        """The components from which events are sent what `Fields.of` reads."""
        return [self.model, self.added, self.settings]


@dataclass(frozen=True)
class Handlers:
    """The tools of all handlers."""

    catalogue: Catalogue  # what may be chosen
    visits: SessionStore  # the sessions of all open pages
    media: Media  # where files go
    parts: Components  # the components

    def session(self, request: Request) -> Session:
        """Return the session of the page that sent an event; see `SessionStore.get`."""
        return self.visits.get(page_of(request))

    def told(self, session: Session) -> Changes:
        """Return what is said below the header of the folder in which a session is
        kept, if its page was not told yet."""
        notice = session.take_notice()
        return {"head": HeaderView(known=True, notice=notice)} if notice else {}

    def described(self, request: Request, words: object) -> Session:
        """Return the session of a page with the words of its cards; raises as
        `Session.check` does."""
        with self.visits.held(page_of(request), words) as session:
            session.describe(words)
        return session

    def given_params(self, session: Session, fields: Fields) -> dict[str, object]:
        """Return the parameters that a page gives; an EditingError if a model or a
        value is not allowed."""
        base = session.opened.request
        project = base.params if session.method == base.method else {}
        return settings.given(self.catalogue, session.method, fields, project)

    def asked(self, session: Session, fields: Fields) -> Edit:
        """Return what a page asks for: its fields, and what its project says where
        there is no field."""
        model = self.catalogue.model(fields.model)
        # of a model that does not say itself what it predicts
        prediction = fields.prediction if self.catalogue.is_silent(model) else ""
        return replace(
            session.opened.request.asked,
            method=session.method,
            focus=session.focus,
            params=self.given_params(session, fields),
            model=model,
            seed=fields.seed,  # checked with the request
            prediction=str(prediction or ""),  # checked with the request
            **self._added(session, model, fields.added),
        )

    def _added(self, session: Session, model: str, given: object) -> dict[str, object]:
        """Return what a page adds to the model, by field of `Edit`; its project's until
        it has given any."""
        project = session.opened.request.asked
        usual = self.catalogue.seeing(model, session.method, project.picture_adapter)
        if not isinstance(given, list | tuple):
            return {"motion": moving(model, project.motion), "picture_adapter": usual}
        loras = []
        motion = ""
        reader = ""
        seeing = usual
        for text in map(str, given):
            name = split_weight(text)[0]
            if text == project.motion or name in self.catalogue.motions:
                motion = text
            elif name == project.picture_adapter or name in self.catalogue.pictures:
                seeing = self.catalogue.seeing(model, session.method, name)
            elif name == project.reader or name in self.catalogue.readers:
                reader = name
            else:
                loras.append(text)
        return {
            "loras": tuple(loras),
            "motion": motion,
            "picture_adapter": seeing,
            "reader": reader,
        }

    def usual(
        self, method: str, fields: Fields, given: Values = settings.NOTHING
    ) -> Data:
        """Return every parameter of a run; see `settings.usual`."""
        return settings.usual(self.catalogue, method, fields, given)

    def values_of(self, asked: Edit) -> Data:
        """Return every parameter of what is asked, as a run of its model would have
        it."""
        return self.catalogue.values(
            asked.method, asked.model, asked.params, asked.loras
        )

    def cards(self, session: Session, model: object = None) -> Changes:
        """Return the cards and the composed prompt; of a chosen model also whether it
        looks at pictures, is told what to do, and what it can draw."""
        blind = None
        instructs = False
        drawn = None
        if self.catalogue.is_usable(model):
            blind = self.catalogue.blind(str(model), session.method)
            instructs = self.catalogue.instructs(str(model))
            drawn = self.catalogue.drawn(str(model))
        return {
            "cards": session_views.cards(session, blind, instructs, drawn),
            "prompt": session_views.prompts(session),
        }

    def method(self, method: str, fields: Fields) -> Changes:
        """Return the choice of a method, and its settings with what a page says of
        them; an EditingError if the model is not offered."""
        return {"method": choice(method), "settings": self.settings(method, fields)}

    def settings(self, method: str, fields: Fields) -> SettingsView:
        """Return the settings of a method; see `settings.view`."""
        return settings.view(self.catalogue, method, fields)

    def added(self, names: list[str], model: object = BUILT_IN_MODEL) -> Changes:
        """Return the names of what is added to a model, in their field."""
        # The time: a page that has changed the list would take no notice of what it was
        # sent before.
        shown = replace(addons_view(self.catalogue, names, model), time=time.time())
        return {"added": names, "addons": shown}

    def tuned_models(self, session: Session, problem: str = "") -> AdaptersView:
        """Return the list of tuned models; see `model_views.tuned_models`."""
        return tuned_models(
            session.adapters, self.catalogue.adapters, session.method, problem
        )

    def buttons(self, running: bool) -> Changes:
        """Return Run and Stop, while a run goes on or none."""
        return {
            "run": gr.Button("Add to queue" if running else "Run"),
            "stop": gr.Button(visible=running),
        }

    def failed(self, error: EditingError) -> Changes:
        """Return an error beside Run."""
        return {"progress": run_views.failed(error.field, error.message)}

    def download(self, path: Path | str, name: str) -> Changes:
        """Return a file for the browser to save; the time tells it from the same file
        wanted before."""
        return {"download": DownloadView(str(path), name, time=time.time())}


Handler = TypeVar("Handler", bound=Callable[..., Changes])


def beside_run(handler: Handler) -> Handler:
    """Make a handler say its EditingErrors beside Run."""

    @wraps(handler)
    def answer(self: Handlers, *values: object) -> Changes:
        try:
            return handler(self, *values)
        except EditingError as error:
            return self.failed(error)

    return cast(Handler, answer)


@contextmanager
def told_if_full() -> Iterator[None]:
    """Turn what a full disk answers into an EditingError."""
    try:
        yield
    except OSError as error:
        if not is_of_disk(error):
            raise
        raise ResourceError("disk", FULL) from error


def page_of(request: Request) -> str:
    """Return the page's own name: what its tab calls itself, or else its connection.

    A tab keeps its name through a reload (`js/head/page_name.js`), while Gradio's
    session ends with it.
    """
    name = headers_of(request).get("x-regrain-page", "")
    if re.fullmatch(r"[A-Za-z0-9_-]{32}", name):
        return name
    return request.session_hash or ""


def headers_of(request: Request) -> Mapping[str, str]:
    """Return the headers of a request; none where nobody sent it."""
    found = request.headers if hasattr(request, "headers") else None
    return found or {}


def event_data(event: EventData) -> Data:
    """Return the data of an event; empty if they are no object, which the page itself
    never sends."""
    return event._data if isinstance(event._data, dict) else {}


def key_of(event: EventData) -> object:
    """Return the key of what an event is about."""
    return event_data(event).get("key")


def address_of(request: Request | None) -> str:
    """Return the network address of a visitor; empty where it is not known."""
    client = request.client if request and hasattr(request, "client") else None
    return str(client.host or "") if client else ""


def explain(error: Exception, what: str, with_field: bool = False) -> str:
    """Return the text of an error for a page; any that is no user's is logged as
    `what`."""
    if is_of_disk(error):
        return FULL
    if not isinstance(error, EditingError):
        log.error(what, exc_info=error)
        return BROKEN
    return sentence(error) if with_field else error.message
