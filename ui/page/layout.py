"""Layout of the page: all its components, in the order in which they are seen, and the work behind them."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from regrain.editing.models.files import hub as hugging_face
from regrain.editing.params.registry import METHODS
from regrain.ui.handlers.base import Components, seed_field
from regrain.ui.handlers.check_handlers import choices
from regrain.ui.handlers.mask_files import ACCEPTED as MASK_FILES
from regrain.ui.handlers.model_handlers import offer
from regrain.ui.handlers.tracking import Discover, Propagate
from regrain.ui.handlers.tuning_handlers import Estimator
from regrain.ui.session import method_choice
from regrain.ui.session.adapters import AdapterList
from regrain.ui.session.mask_edits import Segment
from regrain.ui.session.session import Session
from regrain.ui.views import settings, views
from regrain.ui.views.catalogue import BUILT_IN_MODEL, Catalogue
from regrain.ui.views.components import view
from regrain.ui.views.costs import Edit
from regrain.ui.views.model_views import Hub, addons_view, control_view, hub_view, tuned_models
from regrain.ui.views.result_views import made_player, made_result


@dataclass(frozen=True)
class Tools:
    """The heavy work behind the page."""

    edit: Edit  # runs a request
    segment: Segment  # as `masks.segment`; fast when called again for the same frame
    propagate: Propagate  # see `Tracking`
    discover: Discover | None = (
        None  # see `Tracking`; None where nothing can be found without masks
    )
    # What a user should know about how clicks are answered; None where SAM answers them
    remark: str | None = None
    estimate: Estimator | None = None  # see `TuningHandlers`
    hub: Hub = hugging_face  # where models come from


def lay_out(catalogue: Catalogue, start: Session | None, tools: Tools) -> Components:
    """All components, showing the session a new page begins with."""
    gallery = views.gallery(catalogue.examples, next(iter(catalogue.examples), None))
    shown: dict[str, Any] = {"gallery": view("gallery", gallery, elem_id="examples")}
    with gr.Row(elem_classes="rg-columns"):
        with gr.Column(scale=8, min_width=340):
            shown |= _clip_column(start, tools)
        with gr.Column(scale=5, min_width=320):
            shown |= _words_column(catalogue, start, tools.hub)
    return Components(**shown, download=view("download", elem_id="download"))


def _clip_column(start: Session | None, tools: Tools) -> dict[str, Any]:
    view("tabs", elem_id="tabs")
    files = {"file_count": "multiple", "file_types": MASK_FILES, "visible": "hidden"}
    shown = {
        "canvas": view("canvas", views.canvas(start) if start else None, elem_id="canvas"),
        "fetch": view("fetch", offer(), elem_id="fetch"),
        "mask_file": gr.UploadButton("Masks", elem_id="mask-file", **files),
    }
    if tools.remark:
        gr.HTML(f"<p class='rg-remark'>{html.escape(tools.remark)}</p>", apply_default_css=False)
    return shown | {
        "player": view("player", made_player(start.opened) if start else None, elem_id="player"),
        "history": view("history", elem_id="history"),
        "live": view("live", elem_id="live"),
        "result": view("result", made_result(start.opened) if start else None, elem_id="result"),
        "losses": view("losses", elem_id="losses"),
    }


def _words_column(catalogue: Catalogue, start: Session | None, hub: Hub) -> dict[str, Any]:
    chosen = start.method if start else next(iter(METHODS))
    given = {chosen: start.opened.request.params} if start else {}
    usual = {name: catalogue.values(name, BUILT_IN_MODEL, given.get(name, {})) for name in METHODS}
    quality = choices(chosen, usual[chosen], usual[chosen], lambda counts: "")
    cards = views.cards(start, catalogue.blind(BUILT_IN_MODEL)) if start else None
    files = {"file_types": [".safetensors"], "visible": "hidden"}
    shown: dict[str, Any] = {
        "notice": view("notice", elem_id="notice"),
        "cards": view("cards", cards, elem_id="cards"),
    }
    with gr.Row(elem_classes="rg-choices"):
        models = {"choices": catalogue.model_choices, "value": BUILT_IN_MODEL}
        shown |= {
            "method": view("method", method_choice.choice(chosen), elem_id="method"),
            "model": gr.Dropdown(**models, label="Model", elem_id="model"),
            "hub": view("hub_model", hub_view(hub), elem_id="hub"),
        }
    shown |= {
        "adapter_file": gr.UploadButton("Add", elem_id="adapter-file", **files),
        "quality": view("quality", quality, elem_id="quality"),
    }
    with gr.Column(elem_id="at-hand", min_width=0):
        at_hand = settings.make_some(usual, chosen, settings.AT_HAND)
    shown |= {
        "prompt": view("prompt", views.prompts(start) if start else None, elem_id="prompt"),
        "checks": view("checks", elem_id="checks"),
    }
    settled = _add_settings(catalogue, usual, chosen, start)
    shown |= settled | {"controls": at_hand | settled["controls"]}
    shown["words"] = _add_words(catalogue.groups)
    # The last of its column, so that it is in sight wherever the page is scrolled to.
    with gr.Column(elem_classes="rg-run", min_width=0):
        with gr.Row():
            shown["run"] = gr.Button("Run", elem_id="run", variant="primary", scale=3)
            shown["stop"] = gr.Button("Stop", elem_id="stop", scale=1, visible=False, min_width=90)
        shown["useless"] = view("notice", elem_id="useless")
        shown |= {
            name: view(name, elem_id=name) for name in ("tries", "takes", "progress", "queue")
        }
    return shown


def _add_settings(
    catalogue: Catalogue, usual: settings.Usual, chosen: str, start: Session | None
) -> dict[str, Any]:
    asked = start.opened.request if start else None
    added = [*asked.loras, *filter(None, [asked.motion, asked.picture_adapter])] if asked else []
    seed = asked.seed if asked else 0
    help, shelf = (
        {"control": control_view(catalogue.controls)},
        start.shelf if start else AdapterList(),
    )
    with gr.Accordion("Settings", open=False, elem_id="settings", elem_classes="rg-fold"):
        shown = {
            "added": gr.State(added),
            "addons": view("addons", addons_view(catalogue, added), elem_id="addons"),
            "adapters": view(
                "adapters", tuned_models(shelf, catalogue.adapters, chosen), elem_id="adapters"
            ),
            "controls": settings.make_some(usual, chosen, settings.FIRST),
            "seed": gr.Number(seed, label="Seed", elem_id="seed", **seed_field(chosen)),
            "variants": view("variants", {"count": 1}, elem_id="variants"),
        }
        return shown | {"controls": shown["controls"] | settings.make_fields(usual, chosen, help)}


def _add_words(groups: Mapping[str, Sequence[str]]) -> gr.Accordion:
    count = len(
        {word for phrases in groups.values() for phrase in phrases for word in phrase.split()}
    )
    note = (
        "The built-in model is small and draws a picture-book world. It knows only "
        f"{f'{count} words' if count else 'the words of its own small world'} and rejects all "
        "others. Real footage needs a real checkpoint; see the README. Files of this page are deleted two "
        "minutes after you close it, or after an hour without use. Cached inversions stay on the server."
    )
    value = {
        "note": note,
        "groups": [{"title": title, "words": [*words]} for title, words in groups.items()],
    }
    title, how = "What the built-in model knows", {"open": False, "elem_classes": "rg-fold"}
    with gr.Accordion(title, elem_id="words", **how) as words:
        view("vocabulary", value)
    return words
