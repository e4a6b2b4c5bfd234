"""What happens on the page's events: each takes what the page sent and returns the parts it changes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from editing.errors import EditingError, RequestError
from editing.events import Event, Preview, Progress, Stage
from editing.registry import METHODS
from editing.request import EditRequest
from ui import methods, settings, views
from ui.clips import Opened
from ui.masking import Followed, Masking
from ui.runs import BUILT_IN, Runs, Saved
from ui.session import Session
from ui.worker import in_thread

log = logging.getLogger(__name__)
_WAIT = 0.2  # seconds between looks at whether a tracking is over
_FAULT = ("This is a fault of Regrain", "it broke; the log says where")


@dataclass(frozen=True)
class Parts:
    """The components that events change."""

    gallery: gr.HTML
    upload: gr.UploadButton
    canvas: gr.HTML
    player: gr.HTML
    live: gr.HTML
    result: gr.HTML
    cards: gr.HTML
    prompt: gr.HTML
    notice: gr.HTML
    run: gr.Button
    stop: gr.Button
    progress: gr.HTML
    download: gr.HTML
    method: gr.HTML
    model: Component
    loras: Component
    seed: gr.Number
    controls: settings.Controls


@dataclass(frozen=True)
class MaskHandlers:
    """Clips, masks, words."""

    runs: Runs
    masking: Masking
    parts: Parts

    def choose(self, event: gr.EventData, request: gr.Request, model: object) -> dict[Any, Any]:
        """An example was picked."""
        name = getattr(event, "name", None)
        example = self.runs.example(name)
        session = self.masking.begin(page_of(request), example.opened)
        return self._opened(session, "", model, str(name))

    def load(self, request: gr.Request, file: str, model: object) -> dict[Any, Any]:
        """A clip of the user's own was uploaded."""
        return self._attempt(lambda: self.masking.upload(page_of(request), Path(file)), model)

    def trim(self, event: gr.EventData, request: gr.Request, model: object) -> dict[Any, Any]:
        """Its range was changed."""
        return self._attempt(lambda: self.masking.trim(page_of(request), event._data or {}), model)

    def switch(self, event: gr.EventData, request: gr.Request) -> Any:
        """Another method was chosen."""
        try:
            method = self.runs.method(getattr(event, "name", None))
            session = self.masking.sessions.get(page_of(request))
        except EditingError:
            return {self.parts.method: gr.skip()}
        with session.lock:
            session.method = method
        return {
            self.parts.prompt: composed(session),
            self.parts.seed: gr.Number(**seed_field(method)),
            **self._switched(method),
        }

    def act(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """One thing done on the canvas or the cards: a click, a stroke, a region, undo."""
        shown, session = self.masking.act(page_of(request), event._data or {})
        if session is None:
            return {self.parts.canvas: shown}
        return {
            self.parts.canvas: shown,
            self.parts.cards: views.cards(session),
            self.parts.prompt: composed(session),
        }

    def track(self, event: gr.EventData, request: gr.Request) -> Iterator[Any]:
        """Masks, frame by frame, while they follow through the clip."""
        for shown in self.masking.track(page_of(request), event._data or {}):
            yield shown or gr.skip()

    def discover(self, request: gr.Request, value: object, model: object) -> Iterator[Any]:
        """Regions found by the words alone."""
        try:
            session = _described(self.masking, page_of(request), value)
            chosen = self.runs.model(model)
        except EditingError as error:
            yield {self.parts.canvas: views.lost(f"{error.field}: {error.message}")}
            return
        for shown in self.masking.discover(session, value["have"], chosen):  # type: ignore[index]
            yield {self.parts.canvas: shown} if shown else {self.parts.canvas: gr.skip()}
        yield {self.parts.cards: views.cards(session), self.parts.prompt: composed(session)}

    def describe(self, request: gr.Request, value: object) -> Any:
        """The composed prompt, while words are typed."""
        try:
            return composed(_described(self.masking, page_of(request), value))
        except EditingError:
            return gr.skip()  # said when it is run; while typing it would only disturb

    def save(
        self, request: gr.Request, value: object, model: object, loras: object, seed: object, *values: object
    ) -> dict[Any, Any]:
        """The project as an archive."""
        try:
            session = _described(self.masking, page_of(request), value)
            with session.lock:
                asked = requested(self.runs, self.parts.controls, session, model, loras, seed, values)
                whole = session.overlapping(asked)
            saved = self.masking.save(session, asked, whole, page_of(request))
            return {self.parts.download: {"path": str(saved)}}
        except EditingError as error:
            return {self.parts.progress: views.failed(error.field, error.message)}

    def choose_model(self, request: gr.Request, model: object) -> Any:
        """Its recommendations, and whether it can edit this clip at all."""
        try:
            session = self.masking.sessions.get(page_of(request))
            notice = gr.HTML(visible=not session.opened.drawn and model == BUILT_IN)
            return {self.parts.notice: notice, **self._filled(session, model)}
        except EditingError:
            return {self.parts.notice: gr.skip()}

    def choose_preset(self, method: str) -> Callable[[object, object], dict[Any, Any]]:
        """The handler that shows what a preset of a method sets."""

        def choose(preset: object, model: object) -> dict[Any, Any]:
            try:
                values = self.runs.values(method, self.runs.model(model), {"preset": preset})
            except EditingError as error:
                return {self.parts.progress: views.failed(error.field, error.message)}
            return self.parts.controls.fill(method, values)

        return choose

    def _attempt(self, load: Callable[[], tuple[Session, str]], model: object) -> dict[Any, Any]:
        try:
            session, note = load()
        except EditingError as error:
            return {self.parts.canvas: views.lost(f"{error.field}: {error.message}")}
        except Exception:
            log.exception("a clip could not be opened")
            return {self.parts.canvas: views.lost(": ".join(_FAULT))}
        return self._opened(session, note, model)

    def _opened(self, session: Session, note: str, model: object, name: str | None = None) -> dict[Any, Any]:
        return {
            self.parts.gallery: views.gallery(self.runs.examples, name),
            self.parts.canvas: views.canvas(session, -1, note),
            self.parts.cards: views.cards(session),
            self.parts.prompt: composed(session),
            self.parts.player: None if session.opened.own else views.player(session.opened),
            self.parts.seed: gr.Number(value=session.opened.request.seed, **seed_field(session.method)),
            **self._switched(session.method),
            **self._filled(session, model),
            self.parts.notice: gr.HTML(visible=not session.opened.drawn and model == BUILT_IN),
            **dict.fromkeys((self.parts.live, self.parts.result, self.parts.progress)),
        }

    def _filled(self, session: Session, model: object) -> dict[Any, Any]:
        """All controls as the model and the project have them."""
        chosen, base = str(model) if model in self.runs.models else BUILT_IN, session.opened.request
        updates: dict[Any, Any] = {}
        for method in METHODS:
            given = base.params if method == base.method else {}
            updates |= self.parts.controls.fill(method, self.runs.values(method, chosen, given))
        return updates

    def _switched(self, method: str) -> dict[Any, Any]:
        return {self.parts.method: methods.choice(method), **self.parts.controls.show(method)}


@dataclass(frozen=True)
class RunHandlers:
    """What runs, shows and stops an edit."""

    runs: Runs
    masking: Masking
    parts: Parts

    def begin(self) -> dict[Any, Any]:
        """The page while a run waits for its turn."""
        return {
            self.parts.run: gr.Button(interactive=False),
            self.parts.stop: gr.Button(visible=True),
            self.parts.progress: views.waiting(),
            self.parts.live: None,
            self.parts.result: None,
        }

    def work(
        self, request: gr.Request, value: object, model: object, loras: object, seed: object, *values: object
    ) -> Iterator[Any]:
        """A run from first to last; what is not yet tracked is tracked before."""
        try:
            session, page = _described(self.masking, page_of(request), value), page_of(request)
            identity, opened = session.id, session.opened
            self.runs.model(model)
            if methods.uses(session.method).regions != "ignored":
                yield from self._complete(session, page, value["have"])  # type: ignore[index]
            with session.lock:
                if session.id != identity:
                    raise RequestError("clip", "another was opened before the run began; run again")
                asked = requested(self.runs, self.parts.controls, session, model, loras, seed, values)
            started = False
            with closing(in_thread(lambda: self.runs.run(asked, page, opened))) as items:
                for item in items:
                    if session.id != identity:  # another clip was opened: nobody waits for this one
                        return
                    self.masking.sessions.keep(page)
                    if item is not None and not started:
                        started = True
                        yield {self.parts.player: views.player(opened)}
                    yield self._show(item, asked, opened)
        except EditingError as error:
            yield {self.parts.progress: views.failed(error.field, error.message), self.parts.live: None}
        except Exception:
            log.exception("a run failed")
            yield {self.parts.progress: views.failed(*_FAULT), self.parts.live: None}

    def ready(self, request: gr.Request, value: object) -> dict[Any, Any]:
        """The page after a run, however it ended: its own tracking may have been stopped with it."""
        buttons = {self.parts.run: gr.Button(interactive=True), self.parts.stop: gr.Button(visible=False)}
        try:
            session = _described(self.masking, page_of(request), value)
        except EditingError:
            return buttons | {self.parts.canvas: gr.skip()}
        with session.lock:
            return buttons | {self.parts.canvas: views.canvas(session, value["have"])}  # type: ignore[index]

    def _complete(self, session: Session, page: str, since: int) -> Iterator[Any]:
        """Track the regions that were drawn and never followed to the end.

        Raises:
            RequestError: The tracking was stopped.
        """
        while session.tracking:  # begun by hand; the run waits for it
            self.masking.sessions.keep(page)
            yield {self.parts.progress: gr.skip()}
            time.sleep(_WAIT)
        with session.lock:
            labels, identity = session.to_track(only_untracked=True), session.id
        if not labels:
            return
        # Nothing is handed out while the lock is held: what comes back may come in another thread, or never.
        with closing(self.masking.follow(session, labels)) as steps:
            for step in steps:
                self.masking.sessions.keep(page)
                if isinstance(step, Followed) and (shown := self._look(session, identity, since)):
                    yield {self.parts.canvas: shown, self.parts.progress: views.tracking(*step)}
                else:
                    yield {self.parts.progress: gr.skip()}
        with session.lock:
            partial = session.id == identity and session.to_track(only_untracked=True)
        if partial:
            raise RequestError("regions", "not tracked to the end; track them, then run")
        if shown := self._look(session, identity, since):
            yield {self.parts.canvas: shown}

    def _look(self, session: Session, identity: str, since: int) -> views.View | None:
        with session.lock:
            return views.canvas(session, since) if session.id == identity else None

    def _show(self, item: Event | Saved | None, asked: EditRequest, opened: Opened) -> Any:
        match item:
            case Stage() | Progress():
                return {self.parts.progress: views.progress(item)}
            case Preview():
                return {self.parts.live: views.live(item, asked.regions)}
            case Saved(finished, files):
                return {
                    self.parts.player: views.player(
                        opened, views.edits(asked, files), files.get("reconstruction.mp4")
                    ),
                    self.parts.result: views.result(finished.result, finished.report, asked, files),
                    self.parts.progress: views.done(finished.report),
                    self.parts.live: None,
                }
        return {self.parts.progress: gr.skip()}


def page_of(request: gr.Request) -> str:
    """The page's own name."""
    return request.session_hash or ""


def composed(session: Session) -> views.View:
    """The composed prompt of a session."""
    return views.prompts(session.composed, session.state.regions.values())


def seed_field(method: str) -> dict[str, Any]:
    """How the seed's field looks for a method."""
    return {"info": methods.seed_words(method), "interactive": methods.uses(method).seed != "never"}


def requested(
    runs: Runs,
    controls: settings.Controls,
    session: Session,
    model: object,
    loras: object,
    seed: object,
    values: Sequence[object],
) -> EditRequest:
    """What a page asks for now, of the values of all its controls.

    Raises:
        EditingError: See `Session.request`; a model that is not offered, a bad parameter.
    """
    chosen, method, base = runs.model(model), session.method, session.opened.request
    own = base.params if method == base.method else {}
    params = controls.given(method, values, partial(runs.values, method, chosen), own)
    added = tuple(map(str, loras)) if isinstance(loras, list | tuple) else ()
    return session.request(params, method, chosen, seed, added or base.loras)


def _described(masking: Masking, page: str, value: object) -> Session:
    """The session of a page, with what its cards say."""
    words = value if isinstance(value, dict) else {}
    session = masking.sessions.get(page)
    with session.lock:
        session.check(words.get("id"), words.get("have"))
        session.describe(words.get("source_prompt"), words.get("regions"), words.get("prompt"))
    return session
