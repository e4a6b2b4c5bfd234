"""Events about models: fetched from the hub, or a published SAM; what is added, what a
control sees."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from itertools import count, takewhile
from pathlib import Path

import gradio as gr

from regrain.editing.errors import EditingError, ModelError, shorten
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.hub import MOTION, PICTURES, READER
from regrain.editing.models.loading.load import local_models
from regrain.editing.models.unet.control_maps import CONTROL_MAPS
from regrain.editing.params.written import KINDS, split_weight
from regrain.editing.request.project import is_name
from regrain.editing.storage.fetching import Fetched, unreachable
from regrain.editing.storage.local_models import MODELS_VARIABLE, models_folder
from regrain.masks.models.checkpoints import title_of
from regrain.masks.models.fetch import SUGGESTED, fetch, why_not
from regrain.masks.models.finders import finders
from regrain.ui.handlers.base import (
    PARAMETERS,
    Handlers,
    event_data,
    explain,
    names_in,
    page_of,
)
from regrain.ui.handlers.outputs import outputs
from regrain.ui.server import dropped_models
from regrain.ui.server.media import data_url
from regrain.ui.server.own_machine import is_own_machine
from regrain.ui.server.run_queue import RunQueue
from regrain.ui.server.runs import Changes
from regrain.ui.server.worker import in_thread
from regrain.ui.session.session import Session
from regrain.ui.values.offered_models import OFFERED
from regrain.ui.views import session_views
from regrain.ui.views.model_views import (
    Hub,
    control_view,
    gigabytes,
    hub_view,
    listing_view,
    local_view,
    offers_view,
)
from regrain.ui.views.shown import ControlView, FetchView, HubView, ListingView
from regrain.ui.work.offers import Considered, consider
from regrain.ui.work.wording import capital

_WIDE, _QUALITY = 320, 80  # of the picture of a control map
_turns = count()  # an answer like the one before is an answer, too
_TITLE = title_of(SUGGESTED.name)
_NO_FOLDER = (
    f"For better masks on real clips: start with {MODELS_VARIABLE}=/your/folder, then fetch {_TITLE} here "
    f"({SUGGESTED.size / 1e6:.0f} MB)."
)
_NOT_AT = (
    "No model is at that path, or paths of this machine are not taken from here. "
    "Name a diffusers folder or a .safetensors file."
)
_AWAY = "The hub cannot be reached. By hand: the command at each model fetches it."
_fetching = RunQueue()  # one at a time in the process, whoever asked


@dataclass(frozen=True)
class FetchHandlers(Handlers):
    """Downloads that pages begin, and may stop."""

    _stopped: dict[str, threading.Event] = field(default_factory=dict, kw_only=True)

    def stop(self, request: gr.Request) -> None:
        """Stop what this page fetches; what has come stays."""
        if stop := self._stopped.get(page_of(request)):
            stop.set()


@dataclass(frozen=True)
class ModelHandlers(FetchHandlers):
    """Models, and what is added to them."""

    hub: Hub  # where models come from

    @outputs("hub")
    def ask(self, event: gr.EventData, request: gr.Request) -> Iterator[Changes]:
        """List published models with what they take, those of $REGRAIN_MODELS, one at a
        path of one's own machine, then those of the hub by words or an id; nothing is
        fetched."""
        words = str(event_data(event).get("id", "")).strip()
        names = [name for name in local_models() if is_name(name)]
        place = _place()
        offers = offers_view(self._offered(request), place["folder"] or "models")
        here = {"asked": words, "local": local_view(names), **offers, **place}
        path = os.path.expanduser(words)
        if os.path.isabs(path):
            found = _at(path)
            here["local"] = [*found, *local_view(names)]
            state, said = ("listed", "") if found else ("error", _NOT_AT)
            yield {"hub": self._hub(state, said, hits=[], **here)}
            return
        yield {"hub": self._hub("listed", "Asking the hub.", **here)}
        if not self.hub.reachable():
            yield {"hub": self._hub("error", _AWAY, hits=[], online=False, **here)}
            return
        here["online"] = True
        try:
            found = self.hub.search(words)
        except Exception as error:
            text = explain(error, "the hub could not be asked")
            if "/" not in words or isinstance(error.__cause__, unreachable()):
                text = _AWAY
            yield {"hub": self._hub("error", text, **here)}
            return
        text = "" if found else "The hub has none of that name that can be used here."
        hits = [listing_view(one) for one in found]
        yield {"hub": self._hub("listed", text, hits=hits, **here)}

    def _offered(self, request: gr.Request) -> list[Considered]:
        """Return the published models, with what they take for the open clip."""
        asked = None
        with suppress(EditingError):  # no clip is open
            asked = self.session(request).opened.request
        return [consider(one, asked) for one in OFFERED.values()]

    @outputs("hub", "model", "added", "addons", "cards", "prompt")
    def fetch(
        self, added: object, model: object, event: gr.EventData, request: gr.Request
    ) -> Iterator[Changes]:
        """Fetch a model, an adapter or a CLIP model, with progress; then it is chosen,
        or added."""
        id = str(event_data(event).get("id", "")).strip()
        page = page_of(request)
        stop = self._stopped[page] = threading.Event()
        text = ""
        try:
            listing = self.hub.describe(id)
            with closing(self.hub.fetch(listing)) as steps:  # type: ignore[type-var]
                for done, total in takewhile(lambda _: not stop.is_set(), steps):
                    self.visits.keep(page)
                    text = f"{gigabytes(done)} of {gigabytes(total)}"
                    share = done / max(total, 1)
                    yield {"hub": self._hub("fetching", text, id=id, share=share)}
        except Exception as error:
            said = explain(error, "a model could not be fetched")
            yield {"hub": self._hub("error", said)}
            return
        finally:
            self._stopped.pop(page, None)
        if stop.is_set():
            text = f"Stopped at {text}. Files that were complete are kept."
            yield {"hub": self._hub("stopped", text)}
        elif listing.family == MOTION:
            self.catalogue.add("motions", id)
            yield self._add(id, added, self.catalogue.motions)
        elif listing.family == READER:
            self.catalogue.add("readers", id)
            yield self._add(id, added, self.catalogue.readers)
        elif listing.family.startswith(PICTURES):
            self.catalogue.add("pictures", id)
            shown = self._add(id, added, self.catalogue.pictures)
            yield shown | self.cards(self.session(request), model)
        else:
            yield self._choose(id, "Fetched and chosen.")

    @outputs(
        "hub",
        "model",
        "added",
        "addons",
        "cards",
        "prompt",
        "adapters",
        "canvas",
        "fetch",
    )
    def use(
        self, added: object, model: object, event: gr.EventData, request: gr.Request
    ) -> Changes:
        """Choose a model of $REGRAIN_MODELS, or add what belongs to one, which may have
        been put there since the page was started; a SAM answers the next click."""
        name = str(event_data(event).get("id", ""))
        try:
            name = dropped_models.linked(Path(name)) or name
        except ModelError as error:
            return {"hub": self._hub("error", error.message)}
        if sam := finders().get(name.partition("/")[0]):
            found = {"hub": self._hub("done", "It masks from now on.", id=sam.title)}
            return found | shown_again(self.visits.find(page_of(request)))
        lists = self.catalogue
        weights = name.removesuffix(".safetensors")
        is_local = name in local_models() and is_name(name)
        if is_local or _is_model_at(name):
            return self._choose(name, "Chosen.")
        if weights in lists.loras:
            return self._add(weights, added, [weights])
        if weights in lists.motions:
            return self._add(weights, added, lists.motions)
        try:
            session = self.session(request)
            if weights in lists.pictures:
                shown = self._add(weights, added, lists.pictures)
                return shown | self.cards(session, model)
            session.adapters.choose(f"server-{weights}", lists.adapters)
        except EditingError:
            return {
                "hub": self._hub("error", f"{shorten(name)} is not there any more.")
            }
        done = self._hub("done", "The tuned model is chosen.")
        return {"hub": done, "adapters": self.tuned_models(session)}

    def _choose(self, id: str, text: str) -> Changes:
        self.catalogue.add("models", id)
        chosen = gr.Dropdown(
            choices=self.catalogue.model_choices, value=id, visible=True
        )
        return {
            "hub": self._hub("done", text, id=id),
            "model": chosen,
        }

    def _add(self, id: str, added: object, alike: list[str]) -> Changes:
        """Add an adapter, in place of another like it."""
        kept = [one for one in names_in(added) if split_weight(one)[0] not in alike]
        done = {"hub": self._hub("done", "Added.", id=id)}
        return done | self.added([*kept, f"{id}@1"])

    @outputs("added", PARAMETERS, "progress")
    def add(
        self, before: object, model: object, event: gr.EventData, request: gr.Request
    ) -> Changes:
        """Keep LoRA files and adapters with their weights, as a request has them, and
        show the settings that suit the model with them."""
        given = event_data(event).get("added")
        listed = given if isinstance(given, list) else []
        added = [
            f"{one.get('name')}@{one.get('weight')}"
            for one in listed
            if isinstance(one, dict)
        ]
        try:
            session = self.session(request)
            chosen = self.catalogue.model(model)
            method = session.method
            usual, suited = (
                self.catalogue.values(
                    method, chosen, {}, self.catalogue.loras_of(names)
                )
                for names in (names_in(before), added)
            )
        except EditingError as error:  # a damaged file
            return {"added": added} | self.failed(error)
        changed = {
            name: value for name, value in suited.items() if value != usual[name]
        }
        return {"added": added} | self.parts.controls.fill(method, changed)

    def see_control(
        self, event: gr.EventData, request: gr.Request
    ) -> ControlView | Changes:
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

    def _hub(self, state: str, text: str, **more: object) -> HubView | None:
        view = hub_view(self.hub)
        if view is None:
            return None
        return replace(view, state=state, text=text, turn=next(_turns), **more)


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
    def start(self, request: gr.Request) -> Iterator[Changes]:
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
        found = finders().get(SUGGESTED.name)
        note = f"It takes {found.cost()}." if found else ""
        shown: Changes = {"fetch": FetchView("done", _TITLE, note)}
        return shown_again(self.visits.find(page)) | shown


def shown_again(session: Session | None) -> Changes:
    """Show the mask models on a page to which one has come."""
    shown: Changes = {"fetch": offer()}
    if session:
        with session.lock:
            shown["canvas"] = session_views.canvas(session, session.rev, None)
    return shown


def _is_model_at(path: str) -> bool:
    """Tell whether a model that is understood lies at a whole path of one's own
    machine."""
    if not is_own_machine() or not os.path.isabs(path):
        return False
    with suppress(ModelError):
        is_whole = not dropped_models.place_at(Path(path))
        return is_whole and facts_of(path).family is not None
    return False


def _at(path: str) -> list[ListingView]:
    """List what lies at a path of one's own machine, if it is of use."""
    if _is_model_at(path):
        return local_view([path])
    place = dropped_models.place_at(Path(path))
    folder = place.partition("/")[0]
    return [ListingView(path, f"goes to {folder}/, and is used")] if place else []


def _place() -> dict[str, str]:
    """Say where models lie on one's own machine; on a Space, that is nobody's
    business."""
    folder = models_folder()
    if folder is None or os.environ.get("SPACE_ID"):
        place = f"into ${MODELS_VARIABLE}"  # whose path is nobody's business
        if folder is None:
            place = f"into a folder, and start with {MODELS_VARIABLE}=/that/folder"
        by_hand = f"Put a diffusers folder or a .safetensors file {place}. Then open this again."
        return {"folder": "", "byHand": by_hand}
    text = (
        "Or put a diffusers folder or a .safetensors file here, then open this again:"
    )
    return {
        "folder": str(folder.resolve()),
        "byHand": text,
    }
