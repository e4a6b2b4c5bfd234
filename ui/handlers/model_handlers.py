"""Events about models: fetched from the hub, or a published SAM; what is added, what a
control sees."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count, takewhile
from typing import Literal

import gradio as gr
from gradio import EventData, Request

from regrain.editing.errors import EditingError, shorten
from regrain.editing.models.unet.control_maps import CONTROL_MAPS
from regrain.editing.params.written import KINDS, split_weight
from regrain.editing.storage.fetching import Fetched
from regrain.editing.storage.local_models import MODELS_VARIABLE, models_folder
from regrain.masks.models.checkpoints import title_of
from regrain.masks.models.fetch import SUGGESTED, fetch, why_not
from regrain.masks.models.finders import finders
from regrain.ui.handlers.base import (
    Handlers,
    event_data,
    explain,
    page_of,
)
from regrain.ui.handlers.outputs import outputs
from regrain.ui.server.media import data_url
from regrain.ui.server.run_queue import RunQueue
from regrain.ui.server.runs import Changes
from regrain.ui.server.worker import in_thread
from regrain.ui.values.fields import Fields
from regrain.ui.views import session_views
from regrain.ui.views.model_views import control_view
from regrain.ui.views.shown import ControlView, FetchView, HubView
from regrain.ui.work.wording import capital, size

_WIDE, _QUALITY = 320, 80  # of the picture of a control map
_turns = count()  # an answer like the one before is an answer, too
_TITLE = title_of(SUGGESTED.name)
_NO_FOLDER = (
    f"For better masks on real clips: start with {MODELS_VARIABLE}=/your/folder, then fetch {_TITLE} here "
    f"({SUGGESTED.size / 1e6:.0f} MB)."
)
_fetching = RunQueue()  # one at a time in the process, whoever asked


@dataclass(frozen=True)
class FetchHandlers(Handlers):
    """Downloads that pages begin, and may stop."""

    _stopped: dict[str, threading.Event] = field(default_factory=dict, kw_only=True)

    def stop(self, request: Request) -> None:
        """Stop what this page fetches; what has come stays."""
        if stop := self._stopped.get(page_of(request)):
            stop.set()


@dataclass(frozen=True)
class ModelHandlers(FetchHandlers):
    """Models, and what is added to them."""

    get: Callable[[str], Iterator[Fetched]]  # as `editing.models.files.hub.fetch`

    @outputs("hub", "model")
    def fetch(self, event: EventData, request: Request) -> Iterator[Changes]:
        """Fetch a model, with progress; then it is chosen."""
        id = str(event_data(event).get("id", "")).strip()
        page = page_of(request)
        stop = self._stopped[page] = threading.Event()
        text = "the beginning"
        yield _hub("fetching", "Asking the hub.", id)
        try:
            with closing(self.get(id)) as steps:  # type: ignore[type-var]
                for done, total in takewhile(lambda _: not stop.is_set(), steps):
                    self.visits.keep(page)
                    text = f"{size(done)} of {size(total)}"
                    yield _hub("fetching", text, id, share=done / max(total, 1))
        except Exception as error:
            yield _hub("error", explain(error, "a model could not be fetched"))
            return
        finally:
            self._stopped.pop(page, None)
        if stop.is_set():
            yield _hub("stopped", f"Stopped at {text}. Complete files are kept.")
        else:
            yield self._choose(id, "Fetched and chosen.")

    @outputs("hub", "model", "added", "addons", "adapters")
    def use(self, event: EventData, request: Request, *fields: object) -> Changes:
        """Use what was put into the folder of models: choose a model or a tuned one,
        add a LoRA file."""
        name = str(event_data(event).get("id", ""))
        weights = name.removesuffix(".safetensors")
        if name in self.catalogue.models:
            return self._choose(name, "Chosen.")
        if weights in self.catalogue.loras:
            said = Fields.of(*fields)
            try:
                self.catalogue.check_lora(weights, self.catalogue.model(said.model))
            except EditingError as error:
                return _hub("error", error.message)
            others = (one for one in said.names if split_weight(one)[0] != weights)
            done = _hub("done", "Added.", weights)
            return done | self.added([*others, f"{weights}@1"])
        return self._choose_tuned(weights, request)

    def _choose_tuned(self, name: str, request: Request) -> Changes:
        try:
            session = self.session(request)
            session.adapters.choose(f"server-{name}", self.catalogue.adapters)
        except EditingError:
            return _hub("error", f"{shorten(name)} is not there any more.")
        done = _hub("done", "The tuned model is chosen.")
        return {**done, "adapters": self.tuned_models(session)}

    def _choose(self, id: str, text: str) -> Changes:
        chosen = gr.update(choices=self.catalogue.model_choices, value=id)
        return {**_hub("done", text, id), "model": chosen}

    @outputs("added", "addons", "settings", "progress")
    def add(self, event: EventData, request: Request, *fields: object) -> Changes:
        """Keep LoRA files and adapters with their weights, as a request has them, and
        show the settings that suit the model with them."""
        given = event_data(event).get("added")
        listed = given if isinstance(given, list) else []
        added = [
            f"{one.get('name')}@{one.get('weight')}"
            for one in listed
            if isinstance(one, dict)
        ]
        said = Fields.of(*fields)
        try:
            method = self.session(request).method
            chosen = self.catalogue.model(said.model)
            new = [text for text in added if text not in said.names]
            for lora in self.catalogue.loras_of(new):
                self.catalogue.check_lora(split_weight(lora)[0], chosen)
            fields_then = replace(said, added=added)
            usual = self.usual(method, said)
            suited = self.usual(method, fields_then)
            given = {
                name: value
                for name, value in said.given.get(method, {}).items()
                if suited.get(name) == usual.get(name)
            }
            settings = self.settings(method, fields_then.giving(method, given))
        except EditingError as error:  # a damaged file, or another model's
            return self.added(said.names, said.model) | self.failed(error)
        return {"added": added, "settings": settings}

    def see_control(self, event: EventData, request: Request) -> ControlView | Changes:
        """Show a frame as a control network would see it."""
        said = event_data(event)
        kind = str(said.get("kind"))
        frame = said.get("frame")
        controls = self.catalogue.controls
        try:
            frames = self.session(request).opened.frames
            if (
                kind not in KINDS
                or not isinstance(frame, int)
                or not 0 <= frame < len(frames)
            ):
                return gr.skip()
            picture = CONTROL_MAPS[kind](frames[frame : frame + 1])[0]
        except Exception as error:
            return control_view(
                controls, explain(error, "a control map could not be made")
            )
        return control_view(
            controls,
            f"{capital(kind)} of frame {frame + 1}",
            data_url(picture, _WIDE, _QUALITY),
        )


def _hub(
    state: Literal["fetching", "stopped", "error", "done"],
    text: str,
    id: str = "",
    share: float | None = None,
) -> Changes:
    """Show how a fetch goes, or what became of a file."""
    return {"hub": HubView(state, id, text, share, turn=next(_turns))}


def offer() -> FetchView | None:
    """Return the offer of the SAM that can be fetched; None if it is here, or nothing
    can be fetched."""
    shown = FetchView("offer", _TITLE, note="", size=SUGGESTED.size)
    if os.environ.get("SPACE_ID") or SUGGESTED.name in finders():
        return None
    if models_folder() is None:
        return replace(shown, note=_NO_FOLDER)
    return None if why_not() else shown


@dataclass(frozen=True)
class MaskModelHandlers(FetchHandlers):
    """The line below the canvas that fetches a published SAM."""

    fetch: Callable[[], Iterator[Fetched]] = fetch  # as `masks.models.fetch.fetch`

    @outputs("fetch", "canvas")
    def start(self, request: Request) -> Iterator[Changes]:
        """Fetch it; the canvas offers it as soon as it is here."""
        page = page_of(request)
        stop = self._stopped[page] = threading.Event()
        try:
            with (
                _fetching.enter_first() as turn,
                closing(in_thread(lambda: iter(self.fetch()), turn)) as steps,
            ):
                for step in takewhile(lambda _: not stop.is_set(), steps):
                    self.visits.keep(page)
                    busy = step and FetchView(
                        "busy", _TITLE, done=step.done, total=step.total
                    )
                    yield {"fetch": busy} if busy else {}
            shown = {"fetch": offer()} if stop.is_set() else self._done(page)
        except Exception as error:
            note = explain(error, "a model could not be fetched")
            offered = offer() or FetchView("offer", _TITLE)
            shown = {"fetch": replace(offered, state="failed", note=note)}
        finally:
            self._stopped.pop(page, None)
        yield shown

    def _done(self, page: str) -> Changes:
        """Say that it is here; the canvas offers it."""
        found = finders().get(SUGGESTED.name)
        note = f"It takes {found.cost()}." if found else ""
        shown: Changes = {"fetch": FetchView("done", _TITLE, note)}
        session = self.visits.find(page)
        if session:
            with session.lock:
                shown["canvas"] = session_views.canvas(session, session.rev, None)
        return shown
