"""Draft, Standard, Best: how much work a run does, how long that takes here, and how much memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from regrain.editing.errors import EditingError
from regrain.editing.params.base import QUALITIES
from regrain.editing.params.registry import METHODS
from regrain.ui.forms.catalogue import Catalogue
from regrain.ui.forms.costs import Costs, planned, said
from regrain.ui.forms.run_views import duration
from regrain.ui.forms.views import View
from regrain.ui.handlers.regions import Components, given_params, page_of, told
from regrain.ui.session.session_store import SessionStore

_SAY = {
    "draft": "Few steps, to see where the edit goes",
    "standard": "The model's usual number of steps",
    "best": "Many steps, which can add detail",
}


def choices(
    method: str,
    usual: Mapping[str, object],
    now: Mapping[str, object],
    seconds: Callable[[int], float | None],
) -> View:
    """The qualities of a method, and which one the settings are.

    Args:
        method: Its name.
        usual: Parameters of a run with nothing given.
        now: As the settings are.
        seconds: About how long so many steps take.
    """
    shown, chosen, params = [], "", METHODS[method].Params
    for name in QUALITIES:
        counts = params.scaled(usual, name)
        if all(now.get(key) == value for key, value in counts.items()):
            chosen = chosen or name
        about = seconds(counts["steps"])
        said = f"{counts['steps']} steps" + (f", about {duration(about)}" if about else "")
        shown.append({"name": name, "title": name.capitalize(), "detail": said, "hint": _SAY[name]})
    return {"chosen": chosen, "qualities": shown}


@dataclass(frozen=True)
class QualityHandlers:
    """The choice of a quality.

    Attributes:
        catalogue: What may be chosen.
        visits: The documents of all open pages.
        parts: The components.
        costs: What earlier runs took.
    """

    catalogue: Catalogue
    visits: SessionStore
    parts: Components
    costs: Costs

    def look(self, request: gr.Request, model: object, *values: object) -> dict[Any, Any]:
        """Which quality the settings are and what a run takes, after anything that changes them."""
        p = self.parts
        try:
            document = self.visits.get(page_of(request))
            chosen, method = self.catalogue.model(model), document.method
            given = given_params(self.catalogue, p.controls, document, model, values)
            now = self.catalogue.values(method, chosen, given)
            usual = self.catalogue.values(method, chosen, {})
            asked = planned(document, chosen)
        except EditingError:
            return {p.quality: gr.skip(), p.tries: None}  # the checks say what is wrong
        seconds, steps = partial(self.costs.seconds, asked), now.get("steps")
        takes = said(self.costs, asked, int(steps), document.opened) if steps else None
        return {p.quality: choices(method, usual, now, seconds), p.tries: takes}

    def choose(self, event: gr.EventData, request: gr.Request, model: object) -> Any:
        """One was picked: its counts go into the settings."""
        name = str(told(event).get("name"))
        if name not in QUALITIES:
            return gr.skip()
        try:
            document = self.visits.get(page_of(request))
            usual = self.catalogue.values(document.method, self.catalogue.model(model), {})
        except EditingError:
            return gr.skip()
        counts = METHODS[document.method].Params.scaled(usual, name)
        return self.parts.controls.fill(document.method, counts)
