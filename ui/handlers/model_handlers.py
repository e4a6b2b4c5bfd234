"""Events about models: fetching one from the hub, LoRA files with weights, what a control network sees."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from regrain.editing.errors import EditingError
from regrain.editing.models.control_maps import CONTROL_MAPS
from regrain.editing.params.written import KINDS
from regrain.ui.forms.catalogue import Catalogue
from regrain.ui.forms.views import View, capital
from regrain.ui.handlers.masking import BROKEN
from regrain.ui.handlers.regions import Components, page_of, told
from regrain.ui.results.model_views import Hub, control_view, hub_view
from regrain.ui.server.thumbnails import data_url
from regrain.ui.session.session_store import SessionStore

log = logging.getLogger(__name__)
_WIDE, _QUALITY = 320, 80  # of the picture of a control map


@dataclass(frozen=True)
class ModelHandlers:
    """Models, and what is added to them.

    Attributes:
        catalogue: What may be chosen.
        visits: The documents of all open pages.
        parts: The components.
        hub: Where models come from.
    """

    catalogue: Catalogue
    visits: SessionStore
    parts: Components
    hub: Hub

    def ask(self, event: gr.EventData) -> Any:
        """What the hub says of a model: its size and licence, before anything is fetched."""
        id = str(told(event).get("id", "")).strip()
        try:
            found = self.hub.describe(id)
        except EditingError as error:
            return self._hub("error", id, error.message)
        except Exception:
            log.exception("the hub could not be asked")
            return self._hub("error", id, BROKEN)
        licence = f"licence {found.licence}" if found.licence else "no licence is given"
        return self._hub("known", id, f"{_size(found.size)}, {licence}.")

    def fetch(self, event: gr.EventData) -> Iterator[Any]:
        """Fetch a model, with progress; then it can be chosen, and is."""
        id = str(told(event).get("id", "")).strip()
        try:
            with closing(self.hub.fetch(self.hub.describe(id))) as steps:  # type: ignore[type-var]
                for done, total in steps:
                    said = f"{_size(done)} of {_size(total)}"
                    yield {self.parts.hub: self._hub("fetching", id, said, done / max(total, 1))}
        except EditingError as error:
            yield {self.parts.hub: self._hub("error", id, error.message)}
            return
        except Exception:
            log.exception("a model could not be fetched")
            yield {self.parts.hub: self._hub("error", id, BROKEN)}
            return
        self.catalogue.add_model(id)
        chosen = gr.Dropdown(choices=self.catalogue.models, value=id, visible=True)
        yield {self.parts.hub: self._hub("done", id, "Fetched and chosen."), self.parts.model: chosen}

    def choose_loras(self, event: gr.EventData) -> list[str]:
        """LoRA files and their weights, as a request has them."""
        given = told(event).get("loras")
        entries = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
        return [f"{one.get('name')}@{one.get('weight')}" for one in entries]

    def see_control(self, event: gr.EventData, request: gr.Request) -> Any:
        """What a control network would see of a frame."""
        kind, frame = str(told(event).get("kind")), told(event).get("frame")
        try:
            document = self.visits.get(page_of(request))
            count = len(document.opened.frames)
            if kind not in KINDS or not isinstance(frame, int) or not 0 <= frame < count:
                return gr.skip()
            picture = CONTROL_MAPS[kind](document.opened.frames[frame : frame + 1])[0]
        except EditingError as error:
            return control_view(self.catalogue.controls, error.message)
        except Exception:
            log.exception("a control map could not be made")
            return control_view(self.catalogue.controls, BROKEN)
        said = f"{capital(kind)} of frame {frame + 1}"
        return control_view(self.catalogue.controls, said, data_url(picture, _WIDE, _QUALITY))

    def _hub(self, state: str, id: str, text: str, share: float = 0.0) -> View | None:
        view = hub_view(self.hub)
        return view and view | {"state": state, "id": id, "text": text, "share": round(share, 3)}

    def wire(self, quiet: dict[str, Any]) -> list[Any]:
        """Connect the events; returns those that change what a run would be given."""
        p = self.parts
        p.hub.ask(self.ask, None, p.hub, concurrency_limit=4, **quiet)
        fetched = p.hub.fetch(self.fetch, None, [p.hub, p.model], concurrency_limit=1, **quiet)
        for name, helper in p.controls.helpers:
            if name == "control":
                helper.look(self.see_control, None, helper, concurrency_limit=2, **quiet)  # type: ignore[attr-defined]
        return [fetched, p.lora_picker.choose(self.choose_loras, None, p.loras, **quiet)]


def _size(count: int) -> str:
    """Bytes in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
