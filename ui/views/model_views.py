"""What the page shows of models: of the hub, LoRA files, control networks, tuned models and their tuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.hub import Listing
from regrain.editing.models.files.location import find, parse_lora
from regrain.editing.models.files.offers import family_of
from regrain.editing.params.registry import METHODS
from regrain.editing.params.written import KINDS
from regrain.editing.pipeline.estimate import Estimate
from regrain.editing.recipe.events import Losses, Progress, Tuned
from regrain.editing.storage.fetching import Fetched
from regrain.editing.storage.memory import NEEDS
from regrain.ui.session.adapters import AdapterList, Entry
from regrain.ui.views.attention_views import spread
from regrain.ui.views.catalogue import Catalogue
from regrain.ui.views.run_views import duration
from regrain.ui.views.views import View

_DOTS, _POINTS = 300, 150  # most single losses and places of the line that a plot has
_SPAN = 10  # the line averages this share of a tuning: steps / span
_LEAST = 10  # steps that it averages at least


class Hub(Protocol):
    """Where models come from; see `editing.models.files.hub`."""

    def describe(self, id: str) -> Listing:
        """What the hub says of a model."""
        ...

    def search(self, words: str) -> list[Listing]:
        """Models to choose from."""
        ...

    def fetch(self, listing: Listing) -> Iterator[Fetched]:
        """Fetch it."""
        ...

    def allowed(self) -> tuple[str, ...] | None:
        """The ids that may be fetched; None for all."""
        ...


def hub_view(hub: Hub) -> View | None:
    """How a real model is chosen; None where none may be."""
    if hub.allowed() == ():
        return None
    return {"state": "idle", "id": "", "text": "", "fixed": hub.allowed() is not None}


def listing_view(listing: Listing) -> View:
    """A model of the hub in a line: family, size, what fits into this machine's memory, licence."""
    facts = [listing.family, gigabytes(listing.size), _fits(listing.family)]
    facts.append(f"licence {listing.licence}" if listing.licence else "no licence is given")
    facts.append("gated: accept its terms on the hub first" if listing.gated else "")
    return {"id": listing.id, "facts": ", ".join(filter(None, facts))}


def shelf_view(names: Sequence[str]) -> list[View]:
    """The models of $REGRAIN_MODELS, each in a line."""
    families = {name: family_of(find(name)) for name in names}
    lines = {
        name: [family.title, _fits(family.title)] if family else []
        for name, family in families.items()
    }
    return [{"id": name, "facts": ", ".join(filter(None, line))} for name, line in lines.items()]


def _fits(family: str) -> str:
    """How much of a family fits here, by the smallest side it is used at."""
    need = next((need for need in NEEDS if need.family == family), None)
    return f"{need.fits()} into memory at {need.side} px (estimate)" if need else ""


def gigabytes(count: int) -> str:
    """Bytes in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


def addons_view(known: Catalogue, chosen: Sequence[str]) -> View:
    """LoRA files and motion adapters to choose from, and the chosen ones with their weights."""
    specs = []
    for text in chosen:
        with suppress(ModelError):  # the run says so
            spec = parse_lora(text)
            specs.append({"name": spec.model, "weight": spec.weight})
    return {kind: [*getattr(known, kind)] for kind in ("loras", "motions", "pictures")} | {
        "chosen": specs
    }


def control_view(models: Sequence[str], text: str = "", picture: str = "") -> View:
    """The kinds and models of control networks, and what was last shown."""
    return {"kinds": [*KINDS], "models": [*models], "text": text, "picture": picture}


def tunes(method: str) -> bool:
    """Whether a method tunes the model, unless it is given an adapter."""
    return "tuning" in METHODS[method].stages


def tuned_models(
    shelf: AdapterList, server: Mapping[str, Entry], method: str, problem: str = ""
) -> View:
    """The page's and the server's tuned models to choose from; `problem`: why the chosen one does not fit."""
    groups: dict[str, list[View]] = {}
    for entry in [*shelf.entries.values(), *server.values()]:
        groups.setdefault(entry.group, []).append(
            {"key": entry.key, "name": entry.name, "own": entry.own}
        )
    chosen = shelf.chosen
    return {
        "chosen": chosen.key if chosen else "",
        "none": "None: tune on this clip first" if tunes(method) else "None",
        "groups": [{"title": title, "entries": entries} for title, entries in groups.items()],
        "detail": _facts(chosen, tunes(method)) if chosen else "",
        "problem": shelf.note or problem,
    }


def takes(estimate: Estimate | None) -> View | None:
    """What a tuning takes, in a sentence; None where nothing is to be said."""
    if estimate is None or not estimate.steps:
        return None
    count = f"{estimate.steps} {'more ' if estimate.taken else ''}step{'s' if estimate.steps > 1 else ''}"
    time = f"about {duration(estimate.seconds)}" if estimate.seconds else ""
    memory = f"{max(0.1, estimate.memory / 1e9):.1f} GB" if estimate.memory else ""
    cost = " and ".join(filter(None, (time, memory)))
    begins = "Goes on tuning the model on this clip"
    begins = begins if estimate.taken else "Tunes the model on this clip first"
    return {"text": f"{begins}: {count}" + (f", {cost} here." if cost else ".")}


class LossCurve:
    """How the loss of a tuning falls, from the events of a run."""

    def __init__(self) -> None:
        self._total = 0

    def take(self, event: Progress | Losses | Tuned) -> View | None:
        """The plot after an event, if it is about the loss."""
        if isinstance(event, Progress):
            self._total = event.total if event.stage == "tuning" else self._total
            return None
        return curve(event.losses, max(self._total, len(event.losses)))


def curve(losses: np.ndarray, total: int) -> View | None:
    """The plot of the losses so far, one per step; of `total` steps."""
    if not len(losses):
        return None
    span = max(_LEAST, total // _SPAN)
    line, done = _trailing_mean(losses, span), len(losses)
    begun = (
        f", from {line[span - 1]:.2g}" if done > span else ""
    )  # once as many steps had been averaged
    return {
        "total": total,
        "text": f"Loss after {done} of {total} steps: {line[-1]:.2g}{begun}.",
        "dots": [[i + 1, round(float(losses[i]), 5)] for i in spread(done, _DOTS)],
        "line": [[i + 1, round(float(line[i]), 5)] for i in spread(done, _POINTS)],
    }


def _trailing_mean(losses: np.ndarray, span: int) -> np.ndarray:
    """The mean of each loss and those before it, `span` in all, or as many as there are."""
    sums = np.concatenate([[0.0], np.cumsum(losses, dtype=np.float64)])
    stops = np.arange(1, len(losses) + 1)
    starts = np.maximum(0, stops - span)
    return (sums[stops] - sums[starts]) / (stops - starts)


def _facts(entry: Entry, tuning: bool) -> str:
    """What an adapter was tuned on, in a sentence."""
    facts = entry.facts
    if facts is None:
        return ""
    tuned_on = f"{facts.steps} steps on {shorten(facts.words, 60)}, {facts.frames} frames of"
    tuned_on += f" {facts.width} x {facts.height} pixels, model {shorten(facts.model, 40)}."
    return tuned_on + (" The run does not tune again." if tuning else "")
