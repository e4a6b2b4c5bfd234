"""What the page shows of models: those of the hub, LoRA files, control networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from regrain.editing.errors import ModelError
from regrain.editing.models.loading.hub import Listing
from regrain.editing.models.loading.location import parse_lora
from regrain.editing.params.written import KINDS
from regrain.editing.storage.fetching import Fetched
from regrain.ui.forms.views import View


class Hub(Protocol):
    """Where models come from; see `editing.models.loading.hub`."""

    def describe(self, id: str) -> Listing:
        """What the hub says of a model."""
        ...

    def fetch(self, listing: Listing) -> Iterator[Fetched]:
        """Fetch it."""
        ...

    def allowed(self) -> tuple[str, ...] | None:
        """The ids that may be fetched; None for all."""
        ...


def hub_view(hub: Hub) -> View | None:
    """How a model of the hub is chosen; None where none may be."""
    known = hub.allowed()
    if known == ():
        return None
    return {"allowed": None if known is None else [*known], "state": "idle", "id": "", "text": ""}


def lora_view(known: Sequence[str], chosen: Sequence[str]) -> View:
    """The LoRA files to choose from, and the chosen ones with their weights."""
    specs = []
    for text in chosen:
        try:
            spec = parse_lora(text)
        except ModelError:  # the run says so
            continue
        specs.append({"name": spec.model, "weight": spec.weight})
    return {"known": [*known], "chosen": specs}


def control_view(models: Sequence[str], text: str = "", picture: str = "") -> View:
    """The kinds and models of control networks, and what was last shown."""
    return {"kinds": [*KINDS], "models": [*models], "text": text, "picture": picture}
