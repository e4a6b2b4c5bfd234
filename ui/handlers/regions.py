"""Clips, masks and words: each handler takes what the page sent and returns the parts it changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from regrain.editing.errors import EditingError
from regrain.editing.params.registry import METHODS, find_method
from regrain.ui.handlers.base import FieldValues, Handlers, event_data, explain, page_of, seed_field
from regrain.ui.handlers.cuts import find_cuts
from regrain.ui.handlers.masking import Masking
from regrain.ui.handlers.tracking import Tracking
from regrain.ui.session.build_request import whole_masks
from regrain.ui.session.clip_files import ClipFiles, uploaded
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.views import result_views, settings, views
from regrain.ui.views.catalogue import BUILT_IN_MODEL, moving

_NONSENSE = {"text": "Here the model draws nonsense.", "offers": True}
_USELESS = {
    "text": "The built-in model only draws picture-book scenes; here it draws nonsense. Masks work.",
    "offers": True,
}


@dataclass(frozen=True)
class MaskHandlers(Handlers):
    """Clips, masks, words."""

    masking: Masking
    tracking: Tracking
    files: ClipFiles

    def choose(self, event: gr.EventData, request: gr.Request, model: object) -> dict[Any, Any]:
        """An example was picked."""
        example = self.catalogue.example(event_data(event).get("name")).opened
        return self.opened(self.files.begin(page_of(request), example), "", model)

    def load(self, event: gr.EventData, request: gr.Request, model: object) -> dict[Any, Any]:
        """A clip of the user's own was uploaded."""
        try:
            session, note = self.files.upload(page_of(request), uploaded(event_data(event)))
        except Exception as error:
            failed = explain(error, "a clip could not be opened", with_field=True)
            return {self.parts.gallery: {"failed": failed, "time": time.time()}}
        return self.opened(session, note, model)

    def trim(self, event: gr.EventData, request: gr.Request, words: object) -> dict[Any, Any]:
        """Its range was changed; words, settings and masks of frames that are still used stay."""
        try:
            self.described(request, words)
            session, note = self.files.trim(page_of(request), event_data(event))
        except StaleEvent:
            return {self.parts.canvas: gr.skip()}
        except Exception as error:
            note = explain(error, "other frames could not be used", with_field=True)
            return {self.parts.canvas: views.lost(note)}
        return self._shown(session, note) | self._shared(session)

    def switch(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """Another method was chosen."""
        try:
            method = find_method(str(event_data(event).get("name"))).name
            session = self.session(request)
        except EditingError:
            return {self.parts.method: gr.skip()}
        with session.lock:
            session.method = method
        seed = gr.Number(**seed_field(method))
        return {
            self.parts.prompt: views.prompts(session),
            self.parts.seed: seed,
            **self.method(method),
        }

    def act(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """One thing done on the canvas or the cards: a click, a stroke, a region, undo."""
        shown, session = self.masking.act(page_of(request), event_data(event))
        return {self.parts.canvas: shown or gr.skip()} | (self.cards(session) if session else {})

    def track(self, event: gr.EventData, request: gr.Request) -> Iterator[Any]:
        """Masks, frame by frame, while they follow through the clip."""
        for shown in self.tracking.track(page_of(request), event_data(event)):
            yield shown or gr.skip()

    def scan(self, event: gr.EventData, request: gr.Request) -> Any:
        """Cuts, once the clip can be seen."""
        return find_cuts(self.visits, page_of(request), event_data(event)) or gr.skip()

    def discover(self, request: gr.Request, words: object, model: object) -> Iterator[Any]:
        """Regions found by the words alone."""
        try:
            session = self.described(request, words)
            chosen = self.catalogue.model(model)
        except StaleEvent:
            yield {self.parts.canvas: gr.skip()}
            return
        except EditingError as error:
            yield {self.parts.canvas: views.lost(views.sentence(error))}
            return
        for shown in self.tracking.discover(session, words["have"], chosen):  # type: ignore[index]
            yield {self.parts.canvas: shown or gr.skip()}
        yield self.cards(session)

    def describe(self, request: gr.Request, words: object) -> Any:
        """The composed prompt, while words are typed."""
        try:
            return views.prompts(self.described(request, words))
        except EditingError:
            return gr.skip()  # said when it is run; while typing it would only disturb

    def save(self, request: gr.Request, words: object, *fields: object) -> dict[Any, Any]:
        """The project as an archive."""
        try:
            session = self.described(request, words)
            with session.lock:
                asked = self.requested(session, FieldValues.of(fields))
                whole = whole_masks(session.state, asked)
            saved = self.files.save(session, asked, whole, page_of(request))
        except StaleEvent:
            return {self.parts.download: gr.skip()}
        except EditingError as error:
            return self.failed(error)
        return self.download(saved, "project.zip")

    def choose_model(self, request: gr.Request, model: object, added: object) -> Any:
        """Its recommendations, and whether it can edit this clip at all; another's motion is off."""
        kept = (
            [one for one in map(str, added) if moving(model, one)]
            if isinstance(added, list)
            else []
        )
        try:
            session = self.session(request)
            told = self._notice(session, model) | self._filled(session, model) | self.added(kept)
            return told | self.cards(session, model)
        except EditingError:
            return {self.parts.notice: gr.skip()}

    def choose_preset(self, method: str) -> Callable[[object, object], dict[Any, Any]]:
        """The handler that shows what a preset of a method sets."""

        def choose(preset: object, model: object) -> dict[Any, Any]:
            try:
                values = self.catalogue.values(
                    method, self.catalogue.model(model), {"preset": preset}
                )
            except EditingError as error:
                return self.failed(error)
            return self.parts.controls.fill(method, values)

        return choose

    def opened(self, session: Session, note: str, model: object) -> dict[Any, Any]:
        """All that shows a session from its beginning."""
        opened = session.opened
        motion = moving(model, opened.request.motion)
        return {
            self.parts.gallery: views.gallery(self.catalogue.examples, opened.name),
            **self._shown(session, note, model),
            **self.settings(replace(opened.request, method=session.method, motion=motion)),
            **self._notice(session, model),
            **self._filled(session, model),
            **self._shared(session),
        }

    def _shown(self, session: Session, note: str, model: object = None) -> dict[Any, Any]:
        """The clip, its masks and words, and no run."""
        p, opened = self.parts, session.opened
        return {
            p.canvas: views.canvas(session, -1, note),
            p.player: result_views.made_player(opened),
            p.result: result_views.made_result(opened),
            **dict.fromkeys((p.live, p.losses, p.progress)),
            **self.cards(session, model),
        }

    def _notice(self, session: Session, model: object) -> dict[Any, Any]:
        p, built_in = self.parts, model == BUILT_IN_MODEL
        said = _USELESS if built_in and not session.opened.drawn else None
        return {
            p.notice: said,
            p.useless: said and _NONSENSE,
            p.words: gr.Accordion(visible=built_in),
        }

    def _filled(self, session: Session, model: object) -> dict[Any, Any]:
        """All controls as the model and the project have them."""
        base = session.opened.request
        chosen = str(model) if model in self.catalogue.models else BUILT_IN_MODEL
        updates: dict[Any, Any] = {}
        for method in METHODS:
            given = base.params if method == base.method else {}
            updates |= self.parts.controls.fill(
                method, self.catalogue.values(method, chosen, given)
            )
        return updates

    def _shared(self, session: Session) -> dict[Any, Any]:
        """What all methods share, as the project has it."""
        request = session.opened.request
        given = {name: value for name, value in request.params.items() if name in settings.SHARED}
        values = self.catalogue.values(request.method, BUILT_IN_MODEL, given)
        return self.parts.controls.fill_shared(values)
