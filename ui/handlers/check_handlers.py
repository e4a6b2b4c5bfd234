"""Remarks on words and settings: what is wrong, which quality they are, how large a run
is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import gradio as gr
from gradio import EventData, Request

from regrain.editing.errors import EditingError
from regrain.editing.params.base import QUALITIES
from regrain.editing.params.registry import METHODS
from regrain.ui.handlers.base import Handlers, event_data
from regrain.ui.handlers.outputs import outputs
from regrain.ui.server.runs import Changes
from regrain.ui.session.build_request import planned
from regrain.ui.session.session import Session
from regrain.ui.values.fields import Fields, Values
from regrain.ui.views import checks, run_views
from regrain.ui.views.before_run import before_run
from regrain.ui.views.focus_view import focus_view
from regrain.ui.views.shown import ChecksView, QualityChoice, QualityView
from regrain.ui.work.last_runs import LastRuns

_pressed = count(1)
_HINTS = {
    "draft": "Few steps, to see where the edit goes",
    "standard": "The model's usual number of steps",
    "best": "Many steps, which can add detail",
}


def choices(method: str, usual: Values, now: Values) -> QualityView:
    """Return the qualities of a method, and which one the settings are `now`.

    `usual` are the parameters of a run with nothing given.
    """
    shown = []
    chosen = ""
    for name in QUALITIES:
        counts = METHODS[method].Params.scaled(usual, name)
        if not chosen and all(now.get(key) == value for key, value in counts.items()):
            chosen = name
        detail = f"{counts['steps']} steps"
        shown.append(QualityChoice(name, name.capitalize(), detail, _HINTS[name]))
    return QualityView(chosen, shown)


@dataclass(frozen=True)
class CheckHandlers(Handlers):
    """Errors at the fields; Draft, Standard or Best, and how large a run is."""

    last_runs: LastRuns  # how long they took
    load_ahead: Callable[[str], None] | None = None  # see `Tools`

    @outputs("checks", "progress", "quality", "tries", "focus", "head")
    def look(self, request: Request, words: object, *fields: object) -> Changes:
        """Return all remarks while they change; none on what is only missing.

        The values of the fields are kept: they are the page's last.
        """
        shown: Changes = {}
        with suppress(EditingError):  # of a clip that the page has left
            session, remarks = self._check(request, words, fields)
            session.fields = Fields.of(*fields)
            shown |= self.told(session)
            shown["checks"] = self._view(remarks)
            if session.refused and checks.first_wrong(remarks) is None:
                session.refused = False
                shown["progress"] = None
            if self.load_ahead:
                self.load_ahead(self.catalogue.model(session.fields.model))
        return shown | self.weigh(request, *fields)

    @outputs("progress", "checks")
    def permit(
        self, request: Request, words: object, *fields: object
    ) -> Iterator[Changes]:
        """Let a run begin, or say beside Run and at the field why it cannot.

        Raises:
            gr.Error: It cannot; the page shows nothing of this, but does not go on.
        """
        try:
            session, remarks = self._check(request, words, fields)
        except EditingError:  # the run says it
            yield {}
            return
        wrong = checks.first_wrong(remarks)
        session.refused = wrong is not None
        if wrong is None:
            yield {"checks": self._view(remarks)}
            return
        yield {
            "progress": run_views.failed(wrong.field, wrong.text),
            "checks": self._view(remarks, next(_pressed)),
        }
        raise gr.Error(wrong.text, visible=False, print_exception=False)

    def _check(
        self, request: Request, words: object, values: tuple[object, ...]
    ) -> tuple[Session, list[checks.Diagnostic]]:
        """The session, and what `checks.check` says of it; raises as `described`
        does."""
        session = self.described(request, words)
        fields = Fields.of(*values)
        with session.lock:
            try:
                asked = self.asked(session, fields)
                reader = self.catalogue.reader(asked.model)
                guesses = self.catalogue.guesses(asked)
                return session, checks.check(session, reader, asked, guesses)
            except EditingError as error:  # a model or a preset that is not offered
                return session, [checks.Diagnostic(error.field, error.message)]

    def _view(
        self, remarks: Sequence[checks.Diagnostic], pressed: int = 0
    ) -> ChecksView:
        return checks.view(remarks, pressed, self.catalogue.groups.get("Kinds", ()))

    def weigh(self, request: Request, *fields: object) -> Changes:
        """Return which quality the settings are, how large a run is and where it works,
        after anything that changes them."""
        given = Fields.of(*fields)
        try:
            session = self.session(request)
            model = self.catalogue.model(given.model)
            params = self.given_params(session, given)
            now = self.usual(session.method, given, params)
            added = self._added(session, model, given.added)
            asked = planned(session, model, now, added)
            usual = self.usual(session.method, given)
            return {
                "focus": focus_view(session, asked),
                "quality": choices(session.method, usual, now),
                "tries": before_run(asked, self.last_runs.seconds(asked)),
            }
        except EditingError:
            return {"tries": None}  # the checks say what is wrong

    @outputs("settings")
    def choose(self, event: EventData, request: Request, *fields: object) -> Changes:
        """Put the counts of the quality that was picked into the settings."""
        name = str(event_data(event).get("name"))
        if name not in QUALITIES:
            return {}
        said = Fields.of(*fields)
        try:
            method = self.session(request).method
            counts = METHODS[method].Params.scaled(self.usual(method, said), name)
            given = {**said.given.get(method, {}), **counts}
            return {"settings": self.settings(method, said.giving(method, given))}
        except EditingError:
            return {}
