"""What all handlers share: the components they change, the page and session of an event, what errors say."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from regrain.editing.errors import EditingError
from regrain.editing.request.edit_request import EditRequest
from regrain.ui.server.media import Media
from regrain.ui.session import method_choice
from regrain.ui.session.build_request import Added, build_request
from regrain.ui.session.history import Choices
from regrain.ui.session.session import Session
from regrain.ui.session.session_store import SessionStore
from regrain.ui.views import run_views, settings, views
from regrain.ui.views.catalogue import Catalogue, moving
from regrain.ui.views.model_views import addons_view, tuned_models

log = logging.getLogger(__name__)
Data = dict[str, Any]
BROKEN = "Something went wrong inside Regrain. The log has the details."


@dataclass(frozen=True)
class Components:
    """The components that events change."""

    gallery: gr.HTML
    mask_file: gr.UploadButton
    canvas: gr.HTML
    fetch: gr.HTML
    player: gr.HTML
    history: gr.HTML
    live: gr.HTML
    result: gr.HTML
    losses: gr.HTML
    cards: gr.HTML
    prompt: gr.HTML
    notice: gr.HTML
    useless: gr.HTML  # the same beside Run
    words: gr.Accordion  # what the built-in model knows
    variants: gr.HTML
    run: gr.Button
    tries: gr.HTML
    stop: gr.Button
    progress: gr.HTML
    queue: gr.HTML  # runs that wait for the one before
    download: gr.HTML
    method: gr.HTML
    adapters: gr.HTML
    adapter_file: gr.UploadButton
    takes: gr.HTML
    checks: gr.HTML
    quality: gr.HTML
    hub: gr.HTML
    addons: gr.HTML
    model: Component
    added: Component
    seed: gr.Number
    controls: settings.ParameterFields

    @property
    def fields(self) -> list[Component]:
        """The fields whose values `FieldValues` holds, in its order."""
        return [self.model, self.added, self.seed, *self.controls.all]

    @property
    def method_shown(self) -> list[Any]:
        """What shows the choice of a method."""
        return [self.method, *(column for _, column in self.controls.columns)]

    @property
    def model_shown(self) -> list[Any]:
        """What says how far the chosen model is of use for the clip."""
        return [self.notice, self.useless, self.words]

    @property
    def session(self) -> list[Any]:
        """What shows a session, but for its fields."""
        clip = [self.gallery, self.canvas, self.player, self.live, self.result, self.losses]
        words = [self.progress, self.cards, self.prompt, self.addons]
        return [*clip, *self.model_shown, *words, *self.method_shown]


class FieldValues(NamedTuple):
    """What the fields of a page say; each may be anything, as browsers send it."""

    model: object
    added: object
    seed: object
    parameters: tuple[object, ...]

    @classmethod
    def of(cls, values: tuple[object, ...]) -> FieldValues:
        """The values of `Components.fields`."""
        return cls(*values[:3], values[3:])


@dataclass(frozen=True)
class Handlers:
    """What handlers work with."""

    catalogue: Catalogue  # what may be chosen
    visits: SessionStore  # the sessions of all open pages
    media: Media  # where files go
    parts: Components  # the components

    def session(self, request: gr.Request) -> Session:
        """The session of the page that sent an event; see `SessionStore.get`."""
        return self.visits.get(page_of(request))

    def described(self, request: gr.Request, words: Any) -> Session:
        """The same, with what its cards say; raises as `Session.check` does."""
        given = words if isinstance(words, dict) else {}
        with self.visits.held(page_of(request), given) as session:
            session.describe(given)
        return session

    def given_params(self, session: Session, fields: FieldValues) -> dict[str, Any]:
        """The parameters that a page gives; an EditingError if a model or a value is not allowed."""
        model, method, base = (
            self.catalogue.model(fields.model),
            session.method,
            session.opened.request,
        )
        usual = partial(self.catalogue.values, method, model)
        project = base.params if method == base.method else {}
        return self.parts.controls.given(method, fields.parameters, usual, project)

    def given_added(self, session: Session, fields: FieldValues) -> Added:
        """What a page adds to the model; its project's until it has given any."""
        given, base = fields.added, session.opened.request
        model = self.catalogue.model(fields.model)
        usual = base.picture_adapter or self.catalogue.seeing(model)
        if not isinstance(given, list | tuple):
            return Added(base.loras, moving(model, base.motion), usual)
        own = (usual, *self.catalogue.pictures)
        texts, known = [*map(str, given)], self.catalogue.motions
        motions = [text for text in texts if text == base.motion or text.partition("@")[0] in known]
        seeing = [text for text in texts if text.partition("@")[0] in own]
        loras = tuple(text for text in texts if text not in (*motions, *seeing))
        return Added(loras, "".join(motions[-1:]), "".join(seeing[-1:]).partition("@")[0] or usual)

    def requested(self, session: Session, fields: FieldValues) -> EditRequest:
        """What a page asks for now; raises as `build_request` does, too."""
        model, params = self.catalogue.model(fields.model), self.given_params(session, fields)
        added = self.given_added(session, fields)
        return build_request(session, params, session.method, model, fields.seed, added)

    def cards(self, session: Session, model: object = None) -> dict[Any, Any]:
        """The cards and the composed prompt; of a chosen model also whether it looks at pictures."""
        blind = self.catalogue.blind(str(model)) if model in self.catalogue.models else None
        return {
            self.parts.cards: views.cards(session, blind),
            self.parts.prompt: views.prompts(session),
        }

    def method(self, method: str) -> dict[Any, Any]:
        """The choice of a method, and its fields in place of another's."""
        return {self.parts.method: method_choice.choice(method), **self.parts.controls.show(method)}

    def settings(self, asked: EditRequest | Choices) -> dict[Any, Any]:
        """Method, seed and what is added to the model, in their fields."""
        added = [*asked.loras, *filter(None, [asked.motion, asked.picture_adapter])]
        seed = {self.parts.seed: gr.Number(value=asked.seed, **seed_field(asked.method))}
        return self.method(asked.method) | seed | self.added(added)

    def added(self, names: list[str]) -> dict[Any, Any]:
        """What is added to the model, in its field."""
        # The time: a page that has changed the list would take no notice of what it was sent before.
        shown = addons_view(self.catalogue, names) | {"time": time.time()}
        return {self.parts.added: names, self.parts.addons: shown}

    def tuned_models(self, session: Session, problem: str = "") -> views.View:
        """The list of tuned models; see `model_views.tuned_models`."""
        return tuned_models(session.shelf, self.catalogue.adapters, session.method, problem)

    def buttons(self, running: bool) -> dict[Any, Any]:
        """Run and Stop, while a run goes on or none."""
        p = self.parts
        return {
            p.run: gr.Button("Add to queue" if running else "Run"),
            p.stop: gr.Button(visible=running),
        }

    def failed(self, error: EditingError) -> dict[Any, Any]:
        """An error beside Run."""
        return {self.parts.progress: run_views.failed(error.field, error.message)}

    def download(self, path: Path | str, name: str) -> dict[Any, Any]:
        """A file for the browser to save; the time tells it from the same file wanted before."""
        return {self.parts.download: {"path": str(path), "name": name, "time": time.time()}}


def page_of(request: gr.Request) -> str:
    """The page's own name: what its tab calls itself, or else its connection.

    A tab keeps its name through a reload (`js/head/connection.js`), while Gradio's session ends with it.
    """
    name = (getattr(request, "headers", None) or {}).get("x-regrain-page", "")
    return name if re.fullmatch(r"[A-Za-z0-9_-]{32}", name) else request.session_hash or ""


def event_data(event: gr.EventData) -> Data:
    """What an event of the page says; nothing if it is not an object, as only others than the page send."""
    return event._data if isinstance(event._data, dict) else {}


def address_of(request: gr.Request) -> str:
    """The network address of a visitor; empty where it is not known."""
    client = getattr(request, "client", None)
    return str(getattr(client, "host", "") or "")


def seed_field(method: str) -> dict[str, Any]:
    """How the seed's field looks for a method."""
    used = method_choice.uses(method).seed != "never"
    return {"info": method_choice.seed_words(method), "interactive": used}


def explain(error: Exception, what: str, with_field: bool = False) -> str:
    """What a page is told of an error; any that is no user's is logged as `what`."""
    if not isinstance(error, EditingError):
        log.error(what, exc_info=error)
        return BROKEN
    return views.sentence(error) if with_field else error.message
