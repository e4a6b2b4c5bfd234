"""Models as the page shows them: those to fetch, LoRA files, control networks, tuned models
and their tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.hub import allowed
from regrain.editing.models.files.location import (
    BUILT_IN_MODEL,
    moving,
    parse_lora,
)
from regrain.editing.params.base import ModulatedParams
from regrain.editing.params.registry import CHANGES, METHODS
from regrain.editing.params.written import KINDS
from regrain.editing.pipeline.beforehand import PlannedTuning
from regrain.editing.storage.devices import choose_device, device_name
from regrain.editing.storage.memory import LEAST_WINDOW, free_memory, need_of
from regrain.ui.server import dropped_models
from regrain.ui.values.adapters import AdapterList, Entries, Entry
from regrain.ui.values.known_models import KNOWN, Known
from regrain.ui.values.method_choice import SHOWN_BY, uses
from regrain.ui.views.attention_views import spread
from regrain.ui.views.before_run import guess, length
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
    MethodsView,
    MethodView,
    NoticeView,
    Plot,
    Weighted,
)
from regrain.ui.work.catalogue import Catalogue
from regrain.ui.work.wording import size

# What a method does with regions.
_WHERE = {
    "needed": "",
    "taken": "One prompt for the whole frame; if there are regions, the edit stays inside them.",
    "bound": "Each region its own words; without regions, one prompt for the whole frame.",
    "ignored": "One prompt for the whole frame.",
}
_DOTS = 300  # most single losses in a plot
_POINTS = 150  # most points of its line
_SPAN = 10  # the line averages this share of a tuning: steps / span
_LEAST = 10  # steps that it averages at least


def hub_view(asked: str = "") -> HubView | None:
    """Show the models that may be fetched, first one that somebody asked for by its id;
    None where none may be."""
    ids = allowed()
    if ids == ():
        return None
    known = {one.id: one for one in KNOWN}
    named = [asked] if asked else []
    rows = {id: _listing(id, known.get(id)) for id in (*named, *(ids or known))}
    drop = dropped_models.ADDRESS if dropped_models.can_take() else ""
    state = "asked" if asked else "idle"
    said = f"{shorten(asked)} is not on this machine yet." if asked else ""
    return HubView(
        state, asked, said, models=[*rows.values()], drop=drop, here=_this_machine()
    )


def _this_machine() -> str:
    """Say what this machine is, and how far to trust what is said of models."""
    device = choose_device()
    free = size(free_memory(device))
    return (
        f"This machine: {device_name(device)}, {free} of memory free. The makers of Regrain have run "
        "none of these models: what is said of them is counted, not measured."
    )


def _listing(id: str, known: Known | None) -> ListingView:
    """Show a model of the hub, with what is known of it before it is fetched: whether it
    fits here, and how long it takes for a clip of 16 frames."""
    if known is None:
        return ListingView(id)
    fetched = size(known.size)
    need = need_of(known.family)
    assert need is not None, known.family
    # block by block in short windows, at the smallest side that it is used at
    least = need.on_gpu(LEAST_WINDOW, free=0)
    fits = need.fits()
    if fits != "does not fit":
        fits = f"{fits}; {length(guess(known.id, 16 * known.steps))} a clip"
    return ListingView(
        id,
        known.title,
        known.good,
        known.licence,
        size=f"at least {fetched}" if known.counted else fetched,
        memory=f"at least {size(least)}",
        here=fits,
    )


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
        binds = issubclass(method.Params, ModulatedParams)
        where = "bound" if binds and does.regions == "taken" else does.regions
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
            say=f"{method.does} {_WHERE[where]}".strip(),
            regions=does.regions,
            source_prompt=does.source_prompt,
            several=does.several,
            binds=binds,
            uses=[title for title, used in inputs.items() if used],
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
    own: AdapterList, server: Entries, method: str, problem: str = ""
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


def curve(losses: np.ndarray, total: int) -> LossesView | None:
    """Plot the losses so far, one per step; of `total` steps, as far as that is known."""
    done = len(losses)
    if not done:
        return None
    total = max(total, done)
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


def _places(values: np.ndarray, most: int) -> Plot:
    """Return some of the values of a plot, each with the number of its step."""
    return [[i + 1, round(float(values[i]), 5)] for i in spread(len(values), most)]


def _facts(entry: Entry, tuning: bool) -> str:
    """Say what an adapter was tuned on, in a sentence."""
    facts = entry.facts
    if facts is None:
        return ""
    frames = f"{facts.frames} frames of {facts.width} x {facts.height} pixels"
    words = shorten(facts.words)
    model = shorten(facts.model, 40)
    tuned_on = f"{facts.steps} steps on {words}, {frames}, model {model}."
    return f"{tuned_on} The run does not tune again." if tuning else tuned_on
