"""What happens on the page's events: each takes what the page sent and returns the parts it changes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from regrain.editing.errors import EditingError
from regrain.editing.params.registry import METHODS
from regrain.editing.request.edit_request import EditRequest
from regrain.ui.forms import run_views, settings, views
from regrain.ui.forms.catalogue import BUILT_IN_MODEL, Catalogue
from regrain.ui.forms.shots import find_cuts
from regrain.ui.handlers.masking import BROKEN, Masking
from regrain.ui.handlers.tracking import Tracking
from regrain.ui.results import made_views
from regrain.ui.results.model_views import lora_view
from regrain.ui.session import method_choice
from regrain.ui.session.build_request import build_request, composed, whole_masks
from regrain.ui.session.clip_files import ClipFiles, uploaded
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.session.session_store import SessionStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Components:
    """The components that events change."""

    gallery: gr.HTML
    mask_file: gr.UploadButton
    canvas: gr.HTML
    fetch: gr.HTML
    motion: gr.HTML
    player: gr.HTML
    history: gr.HTML
    live: gr.HTML
    result: gr.HTML
    losses: gr.HTML
    cards: gr.HTML
    prompt: gr.HTML
    notice: gr.HTML
    variants: gr.HTML
    run: gr.Button
    tries: gr.HTML
    stop: gr.Button
    progress: gr.HTML
    download: gr.HTML
    method: gr.HTML
    adapters: gr.HTML
    adapter_file: gr.UploadButton
    takes: gr.HTML
    checks: gr.HTML
    quality: gr.HTML
    hub: gr.HTML
    lora_picker: gr.HTML
    model: Component
    loras: Component
    seed: gr.Number
    controls: settings.ParameterFields


@dataclass(frozen=True)
class MaskHandlers:
    """Clips, masks, words."""

    catalogue: Catalogue
    masking: Masking
    tracking: Tracking
    files: ClipFiles
    parts: Components

    @property
    def visits(self) -> SessionStore:
        """The documents of all open pages."""
        return self.masking.visits

    def choose(self, event: gr.EventData, request: gr.Request, model: object) -> dict[Any, Any]:
        """An example was picked."""
        name = told(event).get("name")
        example = self.catalogue.example(name)
        document = self.files.begin(page_of(request), example.opened)
        return self.opened(document, "", model, str(name))

    def load(self, event: gr.EventData, request: gr.Request, model: object) -> dict[Any, Any]:
        """A clip of the user's own was uploaded."""
        return self._attempt(lambda: self.files.upload(page_of(request), uploaded(told(event))), model)

    def trim(self, event: gr.EventData, request: gr.Request, model: object) -> dict[Any, Any]:
        """Its range was changed."""
        return self._attempt(lambda: self.files.trim(page_of(request), told(event)), model)

    def switch(self, event: gr.EventData, request: gr.Request) -> Any:
        """Another method was chosen."""
        try:
            method = self.catalogue.method(told(event).get("name"))
            document = self.visits.get(page_of(request))
        except EditingError:
            return {self.parts.method: gr.skip()}
        with document.lock:
            document.method = method
        return {
            self.parts.prompt: prompt_view(document),
            self.parts.seed: gr.Number(**seed_field(method)),
            **self._switched(method),
        }

    def act(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """One thing done on the canvas or the cards: a click, a stroke, a region, undo."""
        shown, document = self.masking.act(page_of(request), told(event))
        changes = {self.parts.canvas: shown or gr.skip()}
        return changes | (self._cards(document) if document else {})

    def track(self, event: gr.EventData, request: gr.Request) -> Iterator[Any]:
        """Masks, frame by frame, while they follow through the clip."""
        for shown in self.tracking.track(page_of(request), told(event)):
            yield shown or gr.skip()

    def scan(self, event: gr.EventData, request: gr.Request) -> Any:
        """Cuts, once the clip can be seen."""
        return find_cuts(self.visits, page_of(request), told(event)) or gr.skip()

    def discover(self, request: gr.Request, value: object, model: object) -> Iterator[Any]:
        """Regions found by the words alone."""
        try:
            document = described(self.visits, page_of(request), value)
            chosen = self.catalogue.model(model)
        except StaleEvent:
            yield {self.parts.canvas: gr.skip()}
            return
        except EditingError as error:
            yield {self.parts.canvas: views.lost(views.sentence(error))}
            return
        for shown in self.tracking.discover(document, value["have"], chosen):  # type: ignore[index]
            yield {self.parts.canvas: shown} if shown else {self.parts.canvas: gr.skip()}
        yield self._cards(document)

    def describe(self, request: gr.Request, value: object) -> Any:
        """The composed prompt, while words are typed."""
        try:
            return prompt_view(described(self.visits, page_of(request), value))
        except EditingError:
            return gr.skip()  # said when it is run; while typing it would only disturb

    def save(
        self, request: gr.Request, value: object, model: object, loras: object, seed: object, *values: object
    ) -> dict[Any, Any]:
        """The project as an archive."""
        try:
            document = described(self.visits, page_of(request), value)
            with document.lock:
                asked = requested(self.catalogue, self.parts.controls, document, model, loras, seed, values)
                whole = whole_masks(document, asked)
            saved = self.files.save(document, asked, whole, page_of(request))
            return {self.parts.download: {"path": str(saved), "name": "project.zip"}}
        except StaleEvent:
            return {self.parts.download: gr.skip()}
        except EditingError as error:
            return {self.parts.progress: run_views.failed(error.field, error.message)}

    def choose_model(self, request: gr.Request, model: object) -> Any:
        """Its recommendations, and whether it can edit this clip at all."""
        try:
            document = self.visits.get(page_of(request))
            notice = gr.HTML(visible=not document.opened.drawn and model == BUILT_IN_MODEL)
            return {self.parts.notice: notice, **self._filled(document, model)}
        except EditingError:
            return {self.parts.notice: gr.skip()}

    def choose_preset(self, method: str) -> Callable[[object, object], dict[Any, Any]]:
        """The handler that shows what a preset of a method sets."""

        def choose(preset: object, model: object) -> dict[Any, Any]:
            try:
                values = self.catalogue.values(method, self.catalogue.model(model), {"preset": preset})
            except EditingError as error:
                return {self.parts.progress: run_views.failed(error.field, error.message)}
            return self.parts.controls.fill(method, values)

        return choose

    def _attempt(self, load: Callable[[], tuple[Session, str]], model: object) -> dict[Any, Any]:
        try:
            document, note = load()
        except EditingError as error:
            return {self.parts.canvas: views.lost(views.sentence(error))}
        except Exception:
            log.exception("a clip could not be opened")
            return {self.parts.canvas: views.lost(BROKEN)}
        return self.opened(document, note, model)

    def opened(self, document: Session, note: str, model: object, name: str | None = None) -> dict[Any, Any]:
        """All that shows a document from its beginning; `name` is of an example."""
        opened, method = document.opened, document.method
        return {
            self.parts.gallery: views.gallery(self.catalogue.examples, name),
            self.parts.canvas: views.canvas(document, -1, note),
            self.parts.player: made_views.player(opened),
            self.parts.seed: gr.Number(value=opened.request.seed, **seed_field(method)),
            self.parts.loras: [*opened.request.loras],
            self.parts.lora_picker: lora_view(self.catalogue.loras, opened.request.loras),
            self.parts.notice: gr.HTML(visible=not opened.drawn and model == BUILT_IN_MODEL),
            **self._cards(document),
            **self._switched(method),
            **self._filled(document, model),
            **self._shared(document),
            **dict.fromkeys((self.parts.live, self.parts.losses, self.parts.progress)),
            self.parts.result: made_views.result(opened),
        }

    def _cards(self, document: Session) -> dict[Any, Any]:
        return {self.parts.cards: views.cards(document), self.parts.prompt: prompt_view(document)}

    def _filled(self, document: Session, model: object) -> dict[Any, Any]:
        """All controls as the model and the project have them."""
        chosen, base = (
            str(model) if model in self.catalogue.models else BUILT_IN_MODEL,
            document.opened.request,
        )
        updates: dict[Any, Any] = {}
        for method in METHODS:
            given = base.params if method == base.method else {}
            updates |= self.parts.controls.fill(method, self.catalogue.values(method, chosen, given))
        return updates

    def _shared(self, document: Session) -> dict[Any, Any]:
        """What all methods share, as the project has it."""
        request = document.opened.request
        given = {name: value for name, value in request.params.items() if name in settings.SHARED}
        values = self.catalogue.values(request.method, BUILT_IN_MODEL, given)
        return self.parts.controls.fill_shared(values)

    def _switched(self, method: str) -> dict[Any, Any]:
        return {self.parts.method: method_choice.choice(method), **self.parts.controls.show(method)}


def page_of(request: gr.Request) -> str:
    """The page's own name: what its tab calls itself, or else its connection.

    A tab keeps its name through a reload (`js/head/connection.js`), while Gradio's session ends with it.
    """
    told = (getattr(request, "headers", None) or {}).get("x-regrain-page", "")
    return told if re.fullmatch(r"[A-Za-z0-9_-]{32}", told) else request.session_hash or ""


def told(event: gr.EventData) -> dict[str, Any]:
    """What an event of the page says; nothing if it is not an object, as only others than the page send."""
    return event._data if isinstance(event._data, dict) else {}


def address_of(request: gr.Request) -> str:
    """The network address of a visitor; empty where it is not known."""
    client = getattr(request, "client", None)
    return str(getattr(client, "host", "") or "")


def prompt_view(document: Session) -> views.View:
    """The composed prompt of a document."""
    return views.prompts(composed(document), document.state.regions.values())


def seed_field(method: str) -> dict[str, Any]:
    """How the seed's field looks for a method."""
    return {
        "info": method_choice.seed_words(method),
        "interactive": method_choice.uses(method).seed != "never",
    }


def requested(
    catalogue: Catalogue,
    fields: settings.ParameterFields,
    document: Session,
    model: object,
    loras: object,
    seed: object,
    values: Sequence[object],
) -> EditRequest:
    """What a page asks for now, of the values of all its fields.

    Raises:
        EditingError: See `build_request`; a model that is not offered, a bad parameter.
    """
    chosen, params = catalogue.model(model), given_params(catalogue, fields, document, model, values)
    return build_request(document, params, document.method, chosen, seed, given_loras(document, loras))


def given_params(
    catalogue: Catalogue,
    fields: settings.ParameterFields,
    document: Session,
    model: object,
    values: Sequence[object],
) -> dict[str, Any]:
    """The parameters that a page gives, of the values of all its fields.

    Raises:
        EditingError: A model that is not offered, a bad parameter.
    """
    chosen, method, base = catalogue.model(model), document.method, document.opened.request
    own = base.params if method == base.method else {}
    return fields.given(method, values, partial(catalogue.values, method, chosen), own)


def given_loras(document: Session, loras: object) -> tuple[str, ...]:
    """The LoRA files that a page gives; those of its project until it has given any."""
    return tuple(map(str, loras)) if isinstance(loras, list | tuple) else document.opened.request.loras


def described(visits: SessionStore, page: str, value: object) -> Session:
    """The document of a page, with what its cards say.

    Raises:
        RequestError: `Gone` or `StaleEvent`, see `Session.check`.
    """
    words = value if isinstance(value, dict) else {}
    document = visits.get(page)
    with document.lock:
        document.check(words.get("id"), words.get("have"))
        texts = (words.get("prompt"), words.get("negative_prompt"))
        document.describe(words.get("source_prompt"), words.get("regions"), *texts)
    return document
