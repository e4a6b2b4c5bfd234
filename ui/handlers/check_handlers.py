"""Checks of words and settings: while they change, and when a run is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import gradio as gr

from regrain.editing.errors import EditingError
from regrain.ui.forms import checks, run_views
from regrain.ui.handlers.base import FieldValues, Handlers
from regrain.ui.session.session import Session

_pressed = count(1)


@dataclass(frozen=True)
class CheckHandlers(Handlers):
    """What is wrong, said at the fields."""

    def look(self, request: gr.Request, words: object, *fields: object) -> dict[Any, Any]:
        """What is wrong now; nothing is said of what is only missing."""
        try:
            session, remarks = self._check(request, words, fields)
        except EditingError:
            return {self.parts.checks: gr.skip()}  # said by the run
        shown = {self.parts.checks: checks.view(remarks)}
        if session.refused and checks.first_wrong(remarks) is None:
            session.refused = False
            shown |= {self.parts.progress: None}
        return shown

    def permit(self, request: gr.Request, words: object, *fields: object) -> Iterator[Any]:
        """Let a run begin, or say beside Run and at the field why it cannot.

        Raises:
            gr.Error: It cannot; the page shows nothing of this, but does not go on.
        """
        try:
            session, remarks = self._check(request, words, fields)
        except EditingError:  # the run says it
            yield {self.parts.checks: gr.skip()}
            return
        wrong = checks.first_wrong(remarks)
        session.refused = wrong is not None
        if wrong is None:
            yield {self.parts.checks: checks.view(remarks)}
            return
        yield {
            self.parts.progress: run_views.failed(wrong.field, wrong.text),
            self.parts.checks: checks.view(remarks, next(_pressed)),
        }
        raise gr.Error(wrong.text, visible=False, print_exception=False)

    def _check(
        self, request: gr.Request, words: object, values: tuple[object, ...]
    ) -> tuple[Session, list[checks.Diagnostic]]:
        """The session, and what `checks.check` says of it; raises as `described` does."""
        session, fields = self.described(request, words), FieldValues.of(values)
        with session.lock:
            try:
                model = self.catalogue.model(fields.model)
                params, added = self.given_params(session, fields), self.given_added(session, fields)
                reader = self.catalogue.reader(model)
                return session, checks.check(session, reader, model, params, fields.seed, added)
            except EditingError as error:  # a model or a preset that is not offered
                return session, [checks.Diagnostic(error.field, error.message)]
