"""Events about tuned models: chosen, renamed, downloaded, uploaded; what a run would
tune."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gradio import EventData, Request

from regrain.editing.errors import EditingError, RequestError, shorten
from regrain.editing.params.base import MethodParams
from regrain.editing.params.registry import METHODS
from regrain.editing.pipeline.beforehand import PlannedTuning, check_known
from regrain.editing.request.edit import Edit
from regrain.editing.request.edit_request import EditRequest
from regrain.ui.handlers.base import Handlers, event_data, explain, key_of, page_of
from regrain.ui.handlers.outputs import outputs
from regrain.ui.server.runs import Changes
from regrain.ui.session.build_request import build_box_request
from regrain.ui.session.session import Session
from regrain.ui.values.fields import Fields
from regrain.ui.views import model_views

PlanTuning = Callable[[EditRequest, MethodParams], PlannedTuning]


@dataclass(frozen=True)
class TuningHandlers(Handlers):
    """The list of tuned models, and the sentence beside Run; without `plan`, only the
    steps are said."""

    plan: PlanTuning | None = None

    @outputs("adapters")
    def choose(self, event: EventData, request: Request) -> Changes:
        """Choose the one that was picked."""
        server = self.catalogue.adapters
        return self._act(
            request, lambda session: session.adapters.choose(key_of(event), server)
        )

    @outputs("adapters")
    def rename(self, event: EventData, request: Request) -> Changes:
        """Give one another name."""
        given = (
            key_of(event),
            event_data(event).get("name", ""),
            self.media,
            page_of(request),
        )
        return self._act(request, lambda session: session.adapters.rename(*given))

    @outputs("adapters")
    def upload(self, request: Request, file: object) -> Changes:
        """Add a file of the user's own."""

        def add(session: Session) -> None:
            if not isinstance(file, str):
                raise RequestError("adapter", "No file has arrived. Add it again.")
            session.adapters.add_file(Path(file), self.media, page_of(request))

        return self._act(request, add)

    @outputs("adapters", "download")
    def export(self, event: EventData, request: Request) -> Changes:
        """Download one as a file."""

        def find(session: Session) -> Changes:
            entry = session.adapters.own(key_of(event))
            return self.download(entry.path, entry.file_name)

        return self._act(request, find)

    @outputs("adapters", "takes")
    def look(self, request: Request, *fields: object) -> Changes:
        """Say whether the chosen one fits, and what the run would tune, after anything
        that changes it."""
        try:
            session = self.session(request)
        except EditingError:
            return {"takes": None}
        problem, planned = "", None
        # Errors are said by the run; while things are chosen they would only disturb.
        with suppress(EditingError):
            asked = self._asked(session, Fields.of(*fields))
            problem = _problem(asked, session)
            if model_views.tunes(session.method) and not asked.adapter:
                planned = self._planned(asked)
        return {
            "adapters": self.tuned_models(session, problem),
            "takes": model_views.takes(planned),
        }

    def _act(
        self, request: Request, act: Callable[[Session], Changes | None]
    ) -> Changes:
        try:
            session = self.session(request)
        except EditingError:
            return {}
        session.adapters.note = ""
        shown = None
        try:
            shown = act(session)
        except Exception as error:
            session.adapters.note = explain(error, "a tuned model could not be used")
        return {"adapters": self.tuned_models(session)} | (shown or {})

    def _asked(self, session: Session, fields: Fields) -> EditRequest:
        """Return what a run would be given, as far as it tunes."""
        given = self.asked(session, fields)
        asked = Edit(
            source_prompt=session.source_prompt,
            method=given.method,
            params=given.params,
            model=given.model,
            loras=given.loras,
            adapter=session.adapters.path,
            size=given.size,
            focus=given.focus,
        )
        return build_box_request(session, asked)

    def _planned(self, asked: EditRequest) -> PlannedTuning:
        """Return what its tuning takes."""
        usual = self.values_of(asked)
        # checked already
        params = METHODS[asked.method].Params.model_construct(**usual)
        if self.plan is None:
            return PlannedTuning(params.tune_steps)
        return self.plan(asked, params)


def _problem(asked: EditRequest, session: Session) -> str:
    """Say why the chosen model does not fit, as far as it is known; empty if it
    does."""
    try:
        check_known(asked)
    except EditingError as error:
        return error.message
    chosen = session.adapters.chosen
    tuned_on = chosen.facts.model if chosen and chosen.facts else asked.model
    if Path(tuned_on).stem == Path(asked.model).stem:
        return ""
    models = (
        f"It was tuned on {shorten(tuned_on)}, but the model is {shorten(asked.model)}"
    )
    return f"{models}. Use the first, or tune anew."
