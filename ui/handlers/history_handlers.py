"""What happens on events about earlier runs: shown again, compared, used again, removed, taken away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from regrain.editing.errors import EditingError, RequestError
from regrain.ui.forms import run_views, views
from regrain.ui.forms.catalogue import Catalogue
from regrain.ui.handlers.downloads import MADE
from regrain.ui.handlers.masking import BROKEN
from regrain.ui.handlers.regions import Components, page_of, prompt_view, seed_field, told
from regrain.ui.results.model_views import lora_view
from regrain.ui.server.media import Media
from regrain.ui.session import method_choice
from regrain.ui.session.history import Choices, compare
from regrain.ui.session.session import Session
from regrain.ui.session.session_store import SessionStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HistoryHandlers:
    """The runs of a page.

    Attributes:
        catalogue: What may be chosen.
        visits: The documents of all open pages.
        media: Where files go.
        parts: The components.
    """

    catalogue: Catalogue
    visits: SessionStore
    media: Media
    parts: Components

    def show(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """An earlier run was picked."""

        def show(document: Session) -> dict[Any, Any]:
            run = document.history.get(_of(event, "key"))
            shown = run.read()
            document.history.shown = (run.key,)
            return {self.parts.player: shown["player"], self.parts.result: shown["result"]}

        return self._act(request, show)

    def compare(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """Two were picked to be compared."""

        def show(document: Session) -> dict[Any, Any]:
            first, second = (document.history.get(_of(event, key)) for key in ("a", "b"))
            player = compare(first, second)
            document.history.shown = (first.key, second.key)
            return {self.parts.player: player, self.parts.result: None}

        return self._act(request, show)

    def remove(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """One is not wanted any more; if it was shown, the clip alone is."""

        def remove(document: Session) -> dict[Any, Any]:
            history = document.history
            was_shown = _of(event, "key") in history.shown
            self.media.drop(history.remove(_of(event, "key")).folder)
            if not was_shown:
                return {}
            return {self.parts.player: views.player(document.opened), self.parts.result: None}

        return self._act(request, remove)

    def use(self, event: gr.EventData, request: gr.Request, model: object) -> dict[Any, Any]:
        """The settings and words of one are wanted in the form."""

        def use(document: Session) -> dict[Any, Any]:
            choices = document.history.used = document.history.get(_of(event, "key")).choices
            with document.lock:
                _take(document, choices)
            return self._form(document, choices, model)

        return self._act(request, use)

    def fill(self, request: gr.Request) -> dict[Any, Any]:
        """Fields of a method that was hidden take a value only once they are shown."""
        try:
            choices = self.visits.get(page_of(request)).history.used
            return self._fields(choices) if choices else {self.parts.progress: gr.skip()}
        except EditingError as error:
            return {self.parts.progress: run_views.failed(error.field, error.message)}

    def make(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """A file is wanted that is made only now; the time tells it from the same file wanted before."""
        wanted, now = _of(event, "name"), time.time()
        try:
            run = self.visits.get(page_of(request)).history.get(_of(event, "key"))
            if wanted not in MADE:
                raise RequestError("download", "This file cannot be made. Choose another.")
            path = MADE[wanted](run)
        except EditingError as error:
            return {self.parts.download: {"failed": error.message, "time": now}}
        except Exception:
            log.exception("a file could not be made")
            return {self.parts.download: {"failed": BROKEN, "time": now}}
        return {self.parts.download: {"path": str(path), "name": path.name, "time": now}}

    def _act(self, request: gr.Request, act: Callable[[Session], dict[Any, Any]]) -> dict[Any, Any]:
        try:
            document = self.visits.get(page_of(request))
            return act(document) | {self.parts.history: document.history.view()}
        except EditingError as error:
            return {self.parts.progress: run_views.failed(error.field, error.message)}

    def _form(self, document: Session, choices: Choices, model: object) -> dict[Any, Any]:
        """Every field as it was when the run began."""
        controls, method = self.parts.controls, choices.method
        # A field that has the value already is left alone: a change of model fills all others anew.
        other = {} if model == choices.model else {self.parts.model: choices.model}
        return {
            **other,
            self.parts.cards: views.cards(document) | {"anew": time.time()},
            self.parts.prompt: prompt_view(document),
            self.parts.method: method_choice.choice(method),
            self.parts.seed: gr.Number(value=choices.seed, **seed_field(method)),
            self.parts.loras: list(choices.loras),
            self.parts.lora_picker: lora_view(self.catalogue.loras, choices.loras),
            **controls.show(method),
            **self._fields(choices),
        }

    def _fields(self, choices: Choices) -> dict[Any, Any]:
        """The parameters of a run in the fields of its method.

        Raises:
            EditingError: The model has gone.
        """
        controls = self.parts.controls
        values = self.catalogue.values(choices.method, choices.model, choices.params)
        return {**controls.fill(choices.method, values), **controls.fill_shared(values)}


def _take(document: Session, choices: Choices) -> None:
    """Put the words of a run into a document: by region, or by its name where the clip is another."""
    same = document.id == choices.clip
    words = {region.label if same else region.name: region for region in choices.regions}
    regions = {}
    for label, region in document.state.regions.items():
        found = words.get(label if same else region.name)
        regions[label] = replace(region, prompt=found.prompt, source=found.source) if found else region
    document.state = replace(document.state, regions=regions)
    document.method, document.prompt = choices.method, choices.prompt
    if same or not document.source_prompt:
        document.source_prompt = choices.source_prompt


def _of(event: gr.EventData, key: str) -> Any:
    return told(event).get(key)
