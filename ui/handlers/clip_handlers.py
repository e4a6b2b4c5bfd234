"""Clips, words and settings: each handler takes what the page sent and returns the parts
it changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import gradio as gr

from regrain.editing.errors import EditingError
from regrain.editing.models.files.location import BUILT_IN_MODEL, suits
from regrain.editing.params.registry import find_method
from regrain.editing.request.usual import for_method, for_model
from regrain.ui.handlers.base import (
    METHOD,
    PARAMETERS,
    SESSION,
    Handlers,
    event_data,
    explain,
    names_in,
    page_of,
    seed_field,
    told_if_full,
)
from regrain.ui.handlers.outputs import outputs
from regrain.ui.server.own_machine import duplicate
from regrain.ui.server.runs import Changes
from regrain.ui.session.build_request import whole_masks
from regrain.ui.session.clip_files import ClipFiles, uploaded
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.views import model_views, result_views, session_views, settings
from regrain.ui.views.shown import GalleryFailed, NoticeView

_USELESS = NoticeView(
    "The built-in model knows drawings only: of this clip it would make nonsense. Masks work."
)
_ALL = (*SESSION, "added", "seed", "prediction", PARAMETERS)


@dataclass(frozen=True)
class SettingHandlers(Handlers):
    """Words, and the choice of method, model and preset."""

    @outputs("prompt")
    def describe(self, request: gr.Request, words: object) -> Changes:
        """Show the composed prompt, while words are typed."""
        try:
            return {"prompt": session_views.prompts(self.described(request, words))}
        except EditingError:
            return {}  # said when it is run; while typing it would only disturb

    @outputs(*METHOD, "cards", "prompt", "seed", "added", "addons")
    def switch(
        self, added: object, model: object, event: gr.EventData, request: gr.Request
    ) -> Changes:
        """Change to another method, with what is usually added to the model for it."""
        try:
            method = find_method(str(event_data(event).get("name"))).name
            session = self.session(request)
            names = for_method(names_in(added), str(model), session.method, method)
            with session.lock:
                session.method = method
            shown = self.cards(session, model)
        except EditingError:
            return {}
        shown["seed"] = gr.Number(**seed_field(method))
        return shown | self.method(method) | self.added(names, model)

    @outputs(
        "useless",
        "hub",
        "words",
        *METHOD,
        "cards",
        "prompt",
        "added",
        "addons",
        "prediction",
        PARAMETERS,
    )
    def choose_model(
        self, request: gr.Request, model: object, added: object
    ) -> Changes:
        """Show a model's recommendations and its usual way, and whether it can edit
        this clip; offer one that is not here."""
        try:
            session = self.session(request)
            came = session.filled == str(model)  # with values of its own
            shown: Changes = {}
            if not came:
                if self.catalogue.lacks_files(model):
                    return {"hub": model_views.hub_view(str(model))}
                chosen = self.catalogue.model(model)
                shown |= self._change_model(session, names_in(added), chosen)
            shown |= self._notice(session, model)
            shown |= self.cards(session, model)
            shown["prediction"] = self.prediction(model, None if came else "")
            return shown
        except EditingError:
            return {}

    def _change_model(self, session: Session, added: list[str], model: str) -> Changes:
        """Take another model, and show the method, the additions, and the values."""
        with session.lock:
            before = session.filled or BUILT_IN_MODEL
            session.method, names = for_model(session.method, added, before, model)
            session.filled = model
        shown = self.method(session.method) | self._filled(session, model)
        return shown | self.added(names, model)

    def choose_preset(self, method: str) -> Callable[[object, object], Changes]:
        """Return the handler that shows the values a preset of a method sets."""

        @outputs(f"{method}.*", "progress")
        def choose(preset: object, model: object) -> Changes:
            try:
                values = self.catalogue.values(
                    method,
                    self.catalogue.model(model),
                    {"preset": preset},
                )
            except EditingError as error:
                return self.failed(error)
            return self.parts.controls.fill(method, values)

        return choose

    def _notice(self, session: Session, model: object) -> Changes:
        """Say how far a model is of use for the clip."""
        built_in = model == BUILT_IN_MODEL
        useless = built_in and not session.opened.drawn
        is_usable = self.catalogue.is_usable(model)
        lacks = self.catalogue.lacks(str(model)) if is_usable else None
        return {
            "useless": replace(_USELESS, duplicate=duplicate()) if useless else None,
            "words": gr.Accordion(visible=built_in),
            "method": model_views.choice(session.method, lacks),
        }

    def _filled(self, session: Session, model: object) -> Changes:
        """Fill all controls as the model and the project have them."""
        base = session.opened.request
        chosen = str(model) if self.catalogue.is_usable(model) else BUILT_IN_MODEL
        updates: Changes = {}
        for method, values in self.catalogue.usual(chosen, base).items():
            updates |= self.parts.controls.fill(method, values)
        return updates


@dataclass(frozen=True)
class ClipHandlers(SettingHandlers):
    """Clips that are opened, trimmed and saved."""

    files: ClipFiles

    @outputs(*_ALL)
    def choose(
        self, event: gr.EventData, request: gr.Request, model: object
    ) -> Changes:
        """Open the example that was picked."""
        example = self.catalogue.example(event_data(event).get("name"))
        return self.opened(
            self.files.begin(page_of(request), example.opened),
            "",
            model,
        )

    @outputs(*_ALL)
    def load(self, event: gr.EventData, request: gr.Request, model: object) -> Changes:
        """Open a clip of the user's own that was uploaded."""
        try:
            session, note = self.files.upload(
                page_of(request), uploaded(event_data(event))
            )
        except Exception as error:
            failed = explain(error, "a clip could not be opened", with_field=True)
            return {"gallery": GalleryFailed(failed, time.time())}
        return self.opened(session, note, model)

    @outputs(*_ALL)
    def trim(self, event: gr.EventData, request: gr.Request, words: object) -> Changes:
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
        return self._shown(session, note) | self._shared(session)

    @outputs("download", "progress")
    def save(self, request: gr.Request, words: object, *fields: object) -> Changes:
        """Save the project as an archive."""
        try:
            session = self.described(request, words)
            with told_if_full():
                with session.lock:
                    asked = self.requested(session, self.parts.named(fields))
                    whole = whole_masks(session.state, asked)
                saved = self.files.save(session, asked, whole, page_of(request))
        except StaleEvent:
            return {}
        except EditingError as error:
            return self.failed(error)
        return self.download(saved, "project.zip")

    def opened(self, session: Session, note: str, model: object) -> Changes:
        """Show a session from its beginning."""
        opened = session.opened
        asked = opened.request
        added = asked.added
        if session.filled:
            names = [name for name in added if suits(model, name)]
        else:
            with session.lock:
                session.method, names = for_model(
                    session.method,
                    added,
                    BUILT_IN_MODEL,
                    str(model or BUILT_IN_MODEL),
                )
        session.filled = str(model)
        asked = replace(asked, method=session.method)
        return {
            "gallery": session_views.gallery(self.catalogue.examples, opened.name),
            **self._shown(session, note, model),
            **self.settings(asked, model),
            **self.added(names, model),
            **self._notice(session, model),
            **self._filled(session, model),
            **self._shared(session),
        }

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

    def _shared(self, session: Session) -> Changes:
        """Fill the fields that all methods share as the project has them."""
        request = session.opened.request
        given = {
            name: value
            for name, value in request.params.items()
            if name in settings.SHARED
        }
        values = self.catalogue.values(request.method, BUILT_IN_MODEL, given)
        return self.parts.controls.fill_shared(values)
