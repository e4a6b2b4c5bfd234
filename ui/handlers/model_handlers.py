"""Events about models: fetching one from the hub, LoRA files with weights, what a control network sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from regrain.editing.models.control_maps import CONTROL_MAPS
from regrain.editing.params.written import KINDS
from regrain.ui.forms.views import View, capital
from regrain.ui.handlers.base import Handlers, event_data, explain
from regrain.ui.results.model_views import Hub, control_view, hub_view
from regrain.ui.server.media import data_url

_WIDE, _QUALITY = 320, 80  # of the picture of a control map


@dataclass(frozen=True)
class ModelHandlers(Handlers):
    """Models, and what is added to them."""

    hub: Hub  # where models come from

    def ask(self, event: gr.EventData) -> Any:
        """What the hub says of a model: its size and licence, before anything is fetched."""
        id = str(event_data(event).get("id", "")).strip()
        try:
            found = self.hub.describe(id)
        except Exception as error:
            return self._hub("error", id, explain(error, "the hub could not be asked"))
        licence = f"licence {found.licence}" if found.licence else "no licence is given"
        return self._hub("known", id, f"{_size(found.size)}, {licence}.")

    def fetch(self, event: gr.EventData) -> Iterator[Any]:
        """Fetch a model, with progress; then it can be chosen, and is."""
        id = str(event_data(event).get("id", "")).strip()
        try:
            with closing(self.hub.fetch(self.hub.describe(id))) as steps:  # type: ignore[type-var]
                for done, total in steps:
                    share = f"{_size(done)} of {_size(total)}"
                    yield {self.parts.hub: self._hub("fetching", id, share, done / max(total, 1))}
        except Exception as error:
            yield {self.parts.hub: self._hub("error", id, explain(error, "a model could not be fetched"))}
            return
        self.catalogue.add_model(id)
        chosen = gr.Dropdown(choices=self.catalogue.model_choices, value=id, visible=True)
        yield {self.parts.hub: self._hub("done", id, "Fetched and chosen."), self.parts.model: chosen}

    def choose_loras(self, event: gr.EventData) -> list[str]:
        """LoRA files and their weights, as a request has them."""
        given = event_data(event).get("loras")
        entries = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
        return [f"{one.get('name')}@{one.get('weight')}" for one in entries]

    def see_control(self, event: gr.EventData, request: gr.Request) -> Any:
        """What a control network would see of a frame."""
        kind, frame = str(event_data(event).get("kind")), event_data(event).get("frame")
        try:
            frames = self.session(request).opened.frames
            if kind not in KINDS or not isinstance(frame, int) or not 0 <= frame < len(frames):
                return gr.skip()
            picture = CONTROL_MAPS[kind](frames[frame : frame + 1])[0]
        except Exception as error:
            return control_view(self.catalogue.controls, explain(error, "a control map could not be made"))
        title = f"{capital(kind)} of frame {frame + 1}"
        return control_view(self.catalogue.controls, title, data_url(picture, _WIDE, _QUALITY))

    def _hub(self, state: str, id: str, text: str, share: float = 0.0) -> View | None:
        view = hub_view(self.hub)
        return view and view | {"state": state, "id": id, "text": text, "share": round(share, 3)}


def _size(count: int) -> str:
    """Bytes in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
