"""Clips, words and settings: each handler takes what the page sent and returns the parts
it changes."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace

import gradio as gr
from gradio import EventData, Request

from regrain.editing.errors import EditingError
from regrain.editing.models.files.location import BUILT_IN_MODEL
from regrain.editing.params.registry import find_method
from regrain.editing.request.usual import for_method, for_model
from regrain.ui.handlers.base import (
    FIELDS,
    METHOD,
    SESSION,
    Handlers,
    beside_run,
    event_data,
    explain,
    page_of,
    told_if_full,
)
from regrain.ui.handlers.outputs import outputs
from regrain.ui.server.own_machine import duplicate
from regrain.ui.server.runs import Changes
from regrain.ui.session.build_request import build_request, whole_masks
from regrain.ui.session.clip_files import ClipFiles, uploaded
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.values.fields import Fields
from regrain.ui.views import model_views, result_views, session_views, settings
from regrain.ui.views.shown import GalleryFailed, NoticeView

_USELESS = NoticeView(
    "The built-in model knows drawings only: of this clip it would make nonsense. Masks work."
)
_ALL = (*SESSION, *FIELDS)


@dataclass(frozen=True)
class ClipHandlers(Handlers):
    """Words, the choice of method, model and preset; clips that are opened, trimmed and
    saved."""

    files: ClipFiles

    @outputs("prompt")
    def describe(self, request: Request, words: object) -> Changes:
        """Show the composed prompt, while words are typed."""
        try:
            return {"prompt": session_views.prompts(self.described(request, words))}
        except EditingError:
            return {}  # said when it is run; while typing it would only disturb

    @outputs(*METHOD, "cards", "prompt", "added", "addons")
    def switch(self, event: EventData, request: Request, *fields: object) -> Changes:
        """Change to another method, with what is usually added to the model for it."""
        said = Fields.of(*fields)
        try:
            data = event_data(event)
            method = find_method(str(data.get("name"))).name
            session = self.session(request)
            # of what the fields say: another may have been chosen just before
            of_fields = find_method(str(data.get("before", session.method))).name
            names = for_method(said.names, str(said.model), of_fields, method)
            before = said.given.get(of_fields, {})
            fields_then = replace(said.on_clip(method, before), added=names)
            shown = self.method(method, fields_then)
            with session.lock:
                session.method = method
        except EditingError:
            return {}
        shown |= self.cards(session, said.model)
        return shown | self.added(names, said.model)

    @outputs(
        "useless",
        "hub",
        "words",
        *METHOD,
        "cards",
        "prompt",
        "added",
        "addons",
    )
    def choose_model(self, request: Request, *fields: object) -> Changes:
        """Show a model's recommendations and its usual way, and whether it can edit
        this clip; offer one that is not here."""
        said = Fields.of(*fields)
        try:
            session = self.session(request)
            if self.catalogue.lacks_files(said.model):
                return {"hub": model_views.hub_view(str(said.model))}
            shown: Changes = {}
            if session.filled != str(said.model):  # else it came with values of its own
                shown |= self._change_model(session, said)
            shown |= self._notice(session, said.model)
            return shown | self.cards(session, said.model)
        except EditingError:
            return {}

    def _change_model(self, session: Session, said: Fields) -> Changes:
        """Take another model, and show the method, the additions, and the values."""
        model = self.catalogue.model(said.model)
        with session.lock:
            before = session.filled or BUILT_IN_MODEL
            session.method, names = for_model(session.method, said.names, before, model)
            session.filled = model
            session.chosen_model = model
        asked = session.opened.request.asked
        asked = replace(asked, prediction="")
        fields = settings.fields_of(self.catalogue, asked, model, names)
        fields = replace(fields, seed=said.seed, variants=said.variants, turn=said.turn)
        shown = self.method(session.method, fields)
        return shown | self.added(names, model)

    @outputs("settings", "progress")
    @beside_run
    def choose_preset(
        self, event: EventData, request: Request, *fields: object
    ) -> Changes:
        """Show the values that a preset sets."""
        said = Fields.of(*fields)
        method = self.session(request).method
        before = said.given.get(method, {})
        given = {"preset": event_data(event).get("preset")}
        fields_then = said.giving(method, given).on_clip(method, before)
        return {"settings": self.settings(method, fields_then)}

    def _notice(self, session: Session, model: object) -> Changes:
        """Say how far a model is of use for the clip."""
        built_in = model == BUILT_IN_MODEL
        useless = built_in and not session.opened.drawn
        is_usable = self.catalogue.is_usable(model)
        lacks = self.catalogue.lacks(str(model)) if is_usable else None
        return {
            "useless": replace(_USELESS, duplicate=duplicate()) if useless else None,
            "words": gr.HTML(visible=built_in),
            "method": model_views.choice(session.method, lacks),
        }

    @outputs(*_ALL)
    def choose(self, event: EventData, request: Request) -> Changes:
        """Open the example that was picked."""
        example = self.catalogue.example(event_data(event).get("name"))
        return self.opened(self.files.begin(page_of(request), example.opened), "")

    @outputs(*_ALL)
    def load(self, event: EventData, request: Request) -> Changes:
        """Open a clip of the user's own that was uploaded."""
        try:
            session, note = self.files.upload(
                page_of(request), uploaded(event_data(event))
            )
        except Exception as error:
            failed = explain(error, "a clip could not be opened", with_field=True)
            return {"gallery": GalleryFailed(failed, time.time())}
        return self.opened(session, note)

    @outputs(*_ALL)
    def trim(
        self,
        event: EventData,
        request: Request,
        words: object,
        *fields: object,
    ) -> Changes:
        """Use another part of the clip; words, settings and masks of frames that are
        still used stay."""
        try:
            self.described(request, words)
            session, note = self.files.trim(page_of(request), event_data(event))
        except StaleEvent:
            return {}
        except Exception as error:
            note = explain(error, "other frames could not be used", with_field=True)
            return {"canvas": session_views.lost(note)}
        shown = self._shown(session, note)
        said = Fields.of(*fields)
        said = said.on_clip(session.method, session.opened.request.params)
        with suppress(EditingError):  # the model is not offered; the checks say so
            shown["settings"] = self.settings(session.method, said)
        return shown

    @outputs("download", "progress")
    def save(self, request: Request, words: object, *fields: object) -> Changes:
        """Save the project as an archive."""
        try:
            session = self.described(request, words)
            with told_if_full():
                with session.lock:
                    asked = self.asked(session, Fields.of(*fields))
                    wanted = build_request(session, asked)
                    whole = whole_masks(session, wanted)
                saved = self.files.save(session, wanted, whole, page_of(request))
        except StaleEvent:
            return {}
        except EditingError as error:
            return self.failed(error)
        return self.download(saved, "project.zip")

    def opened(self, session: Session, note: str) -> Changes:
        """Show a session from its beginning, with the model of its clip."""
        opened = session.opened
        with session.lock:
            model, names = self._model_of(session)
            session.filled = model
        known = model if self.catalogue.is_usable(model) else BUILT_IN_MODEL
        fields = session.fields
        if fields is None:
            asked = opened.request.asked
            fields = settings.fields_of(self.catalogue, asked, known, names)
        return {
            "gallery": session_views.gallery(self.catalogue.examples, opened.name),
            **self._shown(session, note, model),
            **self.method(session.method, replace(fields, model=known)),
            "model": model,
            **self.added(names, model),
            **self._notice(session, model),
        }

    def _model_of(self, session: Session) -> tuple[str, list[str]]:
        """Return the model of a session's clip, and what is added to it.

        A video of which nothing is said has the one that was chosen last, which it is
        edited by in its usual way.
        """
        asked = session.opened.request
        if session.fields:
            return str(session.fields.model), session.fields.names
        if session.opened.file is None:
            return asked.model, asked.added
        model = session.chosen_model
        if not self.catalogue.is_usable(model):  # its file has gone
            model = BUILT_IN_MODEL
        session.method, names = for_model(
            session.method, asked.added, BUILT_IN_MODEL, model
        )
        return model, names

    def _shown(self, session: Session, note: str, model: object = None) -> Changes:
        """Show the clip, its masks and words, and no run."""
        return {
            "canvas": session_views.canvas(session, -1, note),
            "player": result_views.made_player(session.opened),
            "result": result_views.made_result(session.opened),
            "live": None,
            "losses": None,
            "progress": None,
            "adapters": self.tuned_models(session),
            "history": result_views.history_view(session.history, session.id),
            **self.cards(session, model),
        }
