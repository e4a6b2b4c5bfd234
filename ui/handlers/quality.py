"""Draft, Standard, Best: how much work a run does, how long that takes here, and how much memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from regrain.editing.errors import EditingError
from regrain.editing.params.base import QUALITIES
from regrain.editing.params.registry import METHODS
from regrain.ui.forms.costs import Costs, planned
from regrain.ui.forms.run_views import duration
from regrain.ui.forms.views import View
from regrain.ui.handlers.base import FieldValues, Handlers, event_data

_HINTS = {
    "draft": "Few steps, to see where the edit goes",
    "standard": "The model's usual number of steps",
    "best": "Many steps, which can add detail",
}


def choices(
    method: str,
    usual: Mapping[str, object],
    now: Mapping[str, object],
    takes: Callable[[Mapping[str, int]], str],
) -> View:
    """The qualities of a method, and which one the settings are `now`.

    `usual` are the parameters of a run with nothing given, `takes` says how long one takes with some counts.
    """
    shown, chosen, params = [], "", METHODS[method].Params
    for name in QUALITIES:
        counts = params.scaled(usual, name)
        if all(now.get(key) == value for key, value in counts.items()):
            chosen = chosen or name
        detail = ", ".join(filter(None, (f"{counts['steps']} steps", takes(counts))))
        shown.append({"name": name, "title": name.capitalize(), "detail": detail, "hint": _HINTS[name]})
    return {"chosen": chosen, "qualities": shown}


@dataclass(frozen=True)
class QualityHandlers(Handlers):
    """The choice of a quality."""

    costs: Costs  # what earlier runs took

    def look(self, request: gr.Request, *fields: object) -> dict[Any, Any]:
        """Which quality the settings are and what a run takes, after anything that changes them."""
        p, given = self.parts, FieldValues.of(fields)
        try:
            session = self.session(request)
            model, method = self.catalogue.model(given.model), session.method
            now = self.catalogue.values(method, model, self.given_params(session, given))
            usual = self.catalogue.values(method, model, {})
            asked = planned(session, model, now)
        except EditingError:
            return {p.quality: gr.skip(), p.tries: None}  # the checks say what is wrong

        asks = session.asks(given), session.state.layers
        known = session.computed_of(*asks)
        again, left = (known.seconds, known.left or 1.0) if known else (0.0, 1.0)

        def takes(counts: Mapping[str, int]) -> str:
            same = now == {**now, **counts}
            if again and same:
                return f"about {duration(again)}"
            return self.costs.told(replace(asked, params={**now, **counts}), left if same else 1.0)

        shown = choices(method, usual, now, takes)
        return {p.quality: shown, p.tries: self.costs.view(asked, again, left) if "steps" in now else None}

    def choose(self, event: gr.EventData, request: gr.Request, model: object) -> Any:
        """One was picked: its counts go into the settings."""
        name = str(event_data(event).get("name"))
        if name not in QUALITIES:
            return gr.skip()
        try:
            session = self.session(request)
            usual = self.catalogue.values(session.method, self.catalogue.model(model), {})
        except EditingError:
            return gr.skip()
        counts = METHODS[session.method].Params.scaled(usual, name)
        return self.parts.controls.fill(session.method, counts)
