"""What happens on events about tuned models: chosen, renamed, downloaded, uploaded; what a run would tune."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from regrain.editing.errors import EditingError, RequestError, shorten
from regrain.editing.params.registry import METHODS
from regrain.editing.pipeline.estimate import Estimate, check_known
from regrain.editing.request.edit_request import EditRequest
from regrain.ui.forms import views
from regrain.ui.forms.catalogue import Catalogue
from regrain.ui.handlers.masking import BROKEN
from regrain.ui.handlers.regions import Components, given_loras, given_params, page_of, told
from regrain.ui.results import tuning_views
from regrain.ui.server.media import Media
from regrain.ui.server.worker import free_turn
from regrain.ui.session.session import Session
from regrain.ui.session.session_store import SessionStore

log = logging.getLogger(__name__)
Estimator = Callable[[EditRequest, Any, bool], Estimate]


@dataclass(frozen=True)
class TuningHandlers:
    """The list of tuned models, and the sentence beside Run.

    Attributes:
        catalogue: What may be chosen.
        visits: The documents of all open pages.
        media: Where files go.
        parts: The components.
        estimate: As `editing.pipeline.estimate.estimate_tuning`; None where only the steps are to be said.
    """

    catalogue: Catalogue
    visits: SessionStore
    media: Media
    parts: Components
    estimate: Estimator | None = None

    def choose(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """Another was picked."""
        return self._act(
            request, lambda document: document.shelf.choose(_key(event), self.catalogue.adapters)
        )

    def rename(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """One got another name."""
        name = told(event).get("name", "")
        page = page_of(request)
        return self._act(request, lambda document: document.shelf.rename(_key(event), name, self.media, page))

    def upload(self, request: gr.Request, file: object) -> dict[Any, Any]:
        """A file of the user's own."""
        page = page_of(request)

        def add(document: Session) -> None:
            if not isinstance(file, str):
                raise RequestError("adapter", "No file has arrived. Add it again.")
            document.shelf.add_file(Path(file), self.media, page)

        return self._act(request, add)

    def export(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """One is wanted as a file."""
        found: dict[Any, Any] = {}

        def find(document: Session) -> None:
            entry = document.shelf.own(_key(event))
            # The time tells it from the same file wanted before.
            found[self.parts.download] = {"path": entry.path, "name": entry.file_name, "time": time.time()}

        return self._act(request, find) | found

    def look(self, request: gr.Request, model: object, loras: object, *values: object) -> dict[Any, Any]:
        """Whether the chosen one fits, and what the run would tune, after anything that changes it."""
        try:
            document = self.visits.get(page_of(request))
        except EditingError:
            return {self.parts.takes: None}
        problem, estimate = "", None
        try:
            asked = self._asked(document, model, loras, values)
            problem = _problem(asked, document)
            if tuning_views.tunes(document.method) and not asked.adapter:
                estimate = self._estimated(asked)
        except EditingError:
            pass  # said by the run; while things are chosen it would only disturb
        return {
            self.parts.adapters: self._list(document, problem),
            self.parts.takes: tuning_views.takes(estimate),
        }

    def _act(self, request: gr.Request, act: Callable[[Session], None]) -> dict[Any, Any]:
        try:
            document = self.visits.get(page_of(request))
        except EditingError:
            return {self.parts.adapters: gr.skip()}
        document.shelf.note = ""
        try:
            act(document)
        except EditingError as error:
            document.shelf.note = error.message
        except Exception:
            log.exception("a tuned model could not be used")
            document.shelf.note = BROKEN
        return {self.parts.adapters: self._list(document)}

    def _list(self, document: Session, problem: str = "") -> views.View:
        return tuning_views.models(document.shelf, self.catalogue.adapters, document.method, problem)

    def _asked(
        self, document: Session, model: object, loras: object, values: Sequence[object]
    ) -> EditRequest:
        """What a run would be given, but for its regions."""
        base = document.opened.request
        return EditRequest(
            base.clip,
            None,
            (),
            document.source_prompt,
            method=document.method,
            params=given_params(self.catalogue, self.parts.controls, document, model, values),
            model=self.catalogue.model(model),
            size=base.size,
            loras=given_loras(document, loras),
            adapter=document.shelf.path,
        )

    def _estimated(self, asked: EditRequest) -> Estimate:
        """What its tuning takes; the model is timed only while nobody uses it."""
        usual = self.catalogue.values(asked.method, asked.model, asked.params)
        params: Any = METHODS[asked.method].Params.model_construct(**usual)  # checked already
        if self.estimate is None:
            return Estimate(params.tune_steps)
        with free_turn() as free:
            return self.estimate(asked, params, free)


def _problem(asked: EditRequest, document: Session) -> str:
    """Why the chosen model does not fit, as far as it is known; empty if it does."""
    try:
        check_known(asked)
    except EditingError as error:
        return error.message
    chosen = document.shelf.chosen
    tuned_on = chosen.facts.model if chosen and chosen.facts else asked.model
    if Path(tuned_on).stem != Path(asked.model).stem:
        models = f"It was tuned on {shorten(tuned_on)}, but the model is {shorten(asked.model)}."
        return f"{models} Use the first, or tune anew."
    return ""


def _key(event: gr.EventData) -> object:
    return told(event).get("key", "")
