"""Models as the page shows them: of the hub, LoRA files, control networks, tuned models
and their tuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.hub import Listing
from regrain.editing.models.files.location import (
    BUILT_IN_MODEL,
    moving,
    parse_lora,
)
from regrain.editing.params.base import ModulatedParams
from regrain.editing.params.registry import CHANGES, METHODS
from regrain.editing.params.written import KINDS
from regrain.editing.pipeline.beforehand import PlannedTuning
from regrain.editing.recipe.events import Losses, Progress, Tuned
from regrain.editing.storage.devices import on_gpu
from regrain.editing.storage.fetching import Fetched
from regrain.editing.storage.memory import need_of
from regrain.ui.server import dropped_models
from regrain.ui.values.adapters import AdapterList, Entry
from regrain.ui.values.method_choice import SHOWN_BY, uses
from regrain.ui.values.offered_models import WISHES, Offered
from regrain.ui.views.attention_views import spread
from regrain.ui.views.shown import (
    AdapterChoice,
    AdapterGroup,
    AdaptersView,
    AddonsView,
    ChangeView,
    ControlView,
    HubView,
    ListingView,
    LossesView,
    MethodInput,
    MethodsView,
    MethodView,
    NoticeView,
    OfferView,
    Weighted,
    WishView,
)
from regrain.ui.work.catalogue import Catalogue
from regrain.ui.work.offers import Considered, recommended

# What a method does with regions.
_WHERE = {
    "needed": "",
    "taken": "One prompt for the whole frame; if there are regions, the edit stays inside them.",
    "ignored": "One prompt for the whole frame.",
}
_DOTS = 300  # most single losses in a plot
_POINTS = 150  # most points of its line
_SPAN = 10  # the line averages this share of a tuning: steps / span
_LEAST = 10  # steps that it averages at least


class Hub(Protocol):
    """The source of models; see `editing.models.files.hub`."""

    def reachable(self) -> bool:
        """Tell within a few seconds whether the hub answers."""
        ...

    def describe(self, id: str) -> Listing:
        """Describe a model of the hub."""
        ...

    def search(self, words: str) -> list[Listing]:
        """List models to choose from."""
        ...

    def fetch(self, listing: Listing) -> Iterator[Fetched]:
        """Fetch a model, with progress."""
        ...

    def allowed(self) -> tuple[str, ...] | None:
        """Return the ids that may be fetched; None for all."""
        ...


def hub_view(hub: Hub) -> HubView | None:
    """Show how a real model is chosen; None where none may be."""
    allowed = hub.allowed()
    if allowed == ():
        return None
    drop = dropped_models.ADDRESS if dropped_models.can_take() else ""
    return HubView("idle", "", "", fixed=allowed is not None, drop=drop)


def listing_view(listing: Listing) -> ListingView:
    """Show a model of the hub in a line: family, size, how it fits into this machine's
    memory, licence."""
    facts = [listing.family, gigabytes(listing.size), _fits(listing.family)]
    facts.append(f"licence {listing.licence or 'unknown'}")
    if listing.gated:
        facts.append("gated: accept its terms on the hub first")
    return ListingView(listing.id, _line(facts))


def local_view(names: Sequence[str]) -> list[ListingView]:
    """Show the models of $REGRAIN_MODELS, each in a line."""
    shown = []
    for name in names:
        try:
            facts = facts_of(name)
            _ = facts.head  # of a file that is whole
            family = facts.family
            said = ["unknown or incomplete"]
            if family:
                said = [family.title, _fits(family.title)]
            said += facts.doubts
        except ModelError as error:
            said = [error.message]
        shown.append(ListingView(name, _line(said)))
    return shown


def offers_view(
    considered: Sequence[Considered], folder: str
) -> dict[str, list[OfferView] | list[WishView]]:
    """Show the published models, and which one is recommended for each wish; `folder`
    is where one that is fetched by hand goes."""
    offers = []
    for one in considered:
        offered = one.offered
        needed = f"{one.taken}; {gigabytes(one.free)} are free here"
        facts = {
            "Licence": offered.licence or "unknown",
            "To fetch": _to_fetch(offered),
            "Memory": needed,
            "Method": METHODS[offered.method].title,
        }
        shown = OfferView(
            id=offered.id,
            title=offered.title,
            good=offered.good,
            trouble=one.trouble,
            facts=facts,
            command=offered.command(folder),
        )
        offers.append(shown)
    first = "steady" if on_gpu() else "laptop"
    wishes = []
    for name, chosen in recommended(considered).items():
        title, (best, *_) = WISHES[name]
        better = ""
        if chosen.offered.id != best:
            one = next(one for one in considered if one.offered.id == best)
            better = f"{one.offered.title} would suit it more. {one.trouble}"
        id = chosen.offered.id
        wishes.append(WishView(name, title, id, better, name == first))
    return {"offers": offers, "wishes": wishes}


def _to_fetch(offered: Offered) -> str:
    size = gigabytes(offered.size)
    return f"at least {size} (counted)" if offered.counted else f"about {size}"


def _line(facts: Sequence[str]) -> str:
    return ", ".join(fact for fact in facts if fact)


def _fits(family: str) -> str:
    """Say how much of a family fits here, by the smallest side it is used at; empty if
    unknown."""
    need = need_of(family)
    return f"{need.fits()} into memory at {need.side} px (estimate)" if need else ""


def gigabytes(count: int) -> str:
    """Say a number of bytes in GB or MB."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{max(1, round(count / 1e6))} MB"


def addons_view(
    known: Catalogue, chosen: Sequence[str], model: object = BUILT_IN_MODEL
) -> AddonsView:
    """Show LoRA files, adapters and readers to choose from for a model, and the chosen
    ones with their weights."""
    specs = []
    for text in chosen:
        with suppress(ModelError):  # the run says so
            spec = parse_lora(text)
            specs.append(Weighted(spec.model, spec.weight))
    motions = [name for name in known.motions if moving(model, name)]
    return AddonsView(known.loras, motions, known.pictures, known.readers, specs)


def control_view(
    models: Sequence[str], text: str = "", picture: str = ""
) -> ControlView:
    """Show the kinds and models of control networks, and the picture that was last
    asked for."""
    return ControlView([*KINDS], [*models], text, picture)


def choice(chosen: str, lacks: Mapping[str, str] | None = None) -> MethodsView:
    """Show the methods, what each does and uses, and which one is chosen.

    `lacks` says of methods why the chosen model cannot be used with them; None leaves
    what the page knows.
    """
    shown = []
    for name, method in METHODS.items():
        does = uses(name)
        inputs = {
            "regions": does.regions != "ignored",
            "clip description": does.source_prompt,
            "several prompts": does.several,
            "seed": does.seed != "never",
        }
        described = MethodView(
            name=name,
            title=method.title,
            paper=method.paper,
            say=f"{method.does} {_WHERE[does.regions]}".strip(),
            regions=does.regions,
            source_prompt=does.source_prompt,
            several=does.several,
            binds=issubclass(method.Params, ModulatedParams),
            uses=[MethodInput(*each) for each in inputs.items()],
            changes=[*method.changes],
        )
        shown.append(described)
    told = None if lacks is None else {**lacks}
    changes = [ChangeView(*pair, SHOWN_BY[pair[0]]) for pair in CHANGES.items()]
    return MethodsView(chosen, shown, told, changes)


def tunes(method: str) -> bool:
    """Return whether a method tunes the model, unless it is given an adapter."""
    return "tuning" in METHODS[method].stages


def tuned_models(
    own: AdapterList, server: Mapping[str, Entry], method: str, problem: str = ""
) -> AdaptersView:
    """Show the page's and the server's tuned models; `problem` says why the chosen one
    does not fit."""
    groups: dict[str, AdapterGroup] = {}
    for entry in [*own.entries.values(), *server.values()]:
        group = groups.setdefault(entry.group, AdapterGroup(entry.group, []))
        group.entries.append(AdapterChoice(entry.key, entry.name, entry.own))
    chosen = own.chosen
    tuning = tunes(method)
    return AdaptersView(
        chosen=chosen.key if chosen else "",
        none="None: tune on this clip first" if tuning else "None",
        groups=[*groups.values()],
        detail=_facts(chosen, tuning) if chosen else "",
        problem=own.note or problem,
    )


def takes(planned: PlannedTuning | None) -> NoticeView | None:
    """Say what a tuning takes, in a sentence; None where nothing is to be said."""
    if planned is None or not planned.steps:
        return None
    steps = "step" if planned.steps == 1 else "steps"
    if planned.taken:
        text = f"Goes on tuning the model on this clip: {planned.steps} more {steps}"
    else:
        text = f"Tunes the model on this clip first: {planned.steps} {steps}"
    if planned.memory:
        text += f", {max(0.1, planned.memory / 1e9):.1f} GB here"
    return NoticeView(f"{text}.")


class LossCurve:
    """The falling loss of a tuning, from the events of a run."""

    def __init__(self) -> None:
        self._total = 0

    def take(self, event: Progress | Losses | Tuned) -> LossesView | None:
        """Return the plot after an event, if it is about the loss."""
        if isinstance(event, Progress):
            if event.stage == "tuning":
                self._total = event.total
            return None
        return curve(event.losses, max(self._total, len(event.losses)))


def curve(losses: np.ndarray, total: int) -> LossesView | None:
    """Plot the losses so far, one per step; of `total` steps."""
    done = len(losses)
    if not done:
        return None
    span = max(_LEAST, total // _SPAN)
    # The mean of each loss and those before it, `span` in all, or as many as there are.
    sums = np.concatenate([[0.0], np.cumsum(losses, dtype=np.float64)])
    stops = np.arange(1, done + 1)
    starts = np.maximum(0, stops - span)
    line = (sums[stops] - sums[starts]) / (stops - starts)
    # From the first place where as many steps are averaged
    begun = f", from {line[span - 1]:.2g}" if done > span else ""
    text = f"Loss after {done} of {total} steps: {line[-1]:.2g}{begun}."
    return LossesView(total, text, _places(losses, _DOTS), _places(line, _POINTS))


def _places(values: np.ndarray, most: int) -> list[list[float]]:
    """Return some of the values of a plot, each with the number of its step."""
    return [[i + 1, round(float(values[i]), 5)] for i in spread(len(values), most)]


def _facts(entry: Entry, tuning: bool) -> str:
    """Say what an adapter was tuned on, in a sentence."""
    facts = entry.facts
    if facts is None:
        return ""
    size = f"{facts.frames} frames of {facts.width} x {facts.height} pixels"
    words = shorten(facts.words, 60)
    model = shorten(facts.model, 40)
    tuned_on = f"{facts.steps} steps on {words}, {size}, model {model}."
    return f"{tuned_on} The run does not tune again." if tuning else tuned_on
