"""Checks of words and settings: while they change, and when a run is wanted."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import gradio as gr

from regrain.editing.errors import EditingError
from regrain.ui.forms import checks, run_views
from regrain.ui.forms.catalogue import Catalogue
from regrain.ui.handlers.regions import Components, described, given_loras, given_params, page_of
from regrain.ui.session.session import Session
from regrain.ui.session.session_store import SessionStore

log = logging.getLogger(__name__)
_pressed = count(1)


@dataclass(frozen=True)
class CheckHandlers:
    """What is wrong, said at the fields.

    Attributes:
        catalogue: What may be chosen.
        visits: The documents of all open pages.
        parts: The components.
    """

    catalogue: Catalogue
    visits: SessionStore
    parts: Components

    def look(
        self, request: gr.Request, value: object, model: object, loras: object, seed: object, *values: object
    ) -> Any:
        """What is wrong now; nothing is said of what is only missing."""
        try:
            document = described(self.visits, page_of(request), value)
            with document.lock:
                remarks = self._check(document, model, loras, seed, values)
        except EditingError:
            return {self.parts.checks: gr.skip()}  # said by the run
        shown = {self.parts.checks: checks.view(remarks)}
        if document.refused and checks.first_wrong(remarks) is None:
            document.refused = False
            shown |= {self.parts.progress: None}
        return shown

    def permit(
        self, request: gr.Request, value: object, model: object, loras: object, seed: object, *values: object
    ) -> Iterator[Any]:
        """Let a run begin, or say beside Run and at the field why it cannot.

        Raises:
            gr.Error: It cannot; the page shows nothing of this, but does not go on.
        """
        try:
            document = described(self.visits, page_of(request), value)
            with document.lock:
                remarks = self._check(document, model, loras, seed, values)
        except EditingError:  # the run says it
            yield {self.parts.checks: gr.skip()}
            return
        wrong = checks.first_wrong(remarks)
        document.refused = wrong is not None
        if wrong is None:
            yield {self.parts.checks: checks.view(remarks)}
            return
        yield {
            self.parts.progress: run_views.failed(wrong.field, wrong.text),
            self.parts.checks: checks.view(remarks, next(_pressed)),
        }
        raise gr.Error(wrong.text, visible=False, print_exception=False)

    def _check(
        self, document: Session, model: object, loras: object, seed: object, values: Sequence[object]
    ) -> list[checks.Diagnostic]:
        """See `checks.check`."""
        try:
            chosen = self.catalogue.model(model)
            params = given_params(self.catalogue, self.parts.controls, document, model, values)
            asked = checks.CheckForm(chosen, params, seed, given_loras(document, loras))
            return checks.check(document, asked, self.catalogue.reader(chosen))
        except EditingError as error:  # a model or a preset that is not offered
            return [checks.Diagnostic(error.field, error.message)]
