"""What is said beside Run: how long the run takes, and how much memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency

from editing.errors import EditingError
from editing.registry import METHODS
from ui.catalogue import Catalogue
from ui.costs import Costs, planned, said
from ui.handlers import Parts, given_params, page_of
from ui.visits import Visits


@dataclass(frozen=True)
class CostHandlers:
    """The sentence about time and memory.

    Attributes:
        catalogue: What may be chosen.
        visits: The documents of all open pages.
        parts: The components.
        costs: What earlier runs took.
    """

    catalogue: Catalogue
    visits: Visits
    parts: Parts
    costs: Costs

    def look(self, request: gr.Request, model: object, *values: object) -> dict[Any, Any]:
        """What a run takes now, after anything that changes it."""
        try:
            document = self.visits.get(page_of(request))
            chosen, method = self.catalogue.model(model), document.method
            given = given_params(self.catalogue, self.parts.controls, document, model, values)
            steps = self.catalogue.values(method, chosen, given).get("steps")
            asked = planned(document, chosen)
        except EditingError:
            return {self.parts.tries: None}  # the run says what is wrong
        shown = said(self.costs, asked, int(steps), document.opened) if steps else None
        return {self.parts.tries: shown}

    def wire(self, page: gr.Blocks, changes: Sequence[Dependency], quiet: dict[str, Any]) -> None:
        """Say it anew when the page opens and after whatever may change it."""
        p = self.parts
        listeners: list[Any] = [page.load, *(change.then for change in changes)]
        fields = (p.controls.fields[method].get("steps") for method in METHODS)
        listeners += [field.change for field in fields if field]  # type: ignore[attr-defined]
        for listen in listeners:
            listen(self.look, [p.model, *p.controls.all], p.tries, concurrency_limit=None, **quiet)
