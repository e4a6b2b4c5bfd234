"""Layout of the page: all its components, in the order in which they are seen, and the
work behind them."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from regrain.editing.models.files import hub
from regrain.editing.models.files.location import BUILT_IN_MODEL
from regrain.editing.params.registry import METHODS
from regrain.editing.request.edit import Edit
from regrain.editing.storage.fetching import Fetched
from regrain.ui.handlers.base import Components
from regrain.ui.handlers.check_handlers import choices
from regrain.ui.handlers.mask_files import ACCEPTED as MASK_FILES
from regrain.ui.handlers.model_handlers import offer
from regrain.ui.handlers.tracking import Propagate
from regrain.ui.handlers.tuning_handlers import PlanTuning
from regrain.ui.page.components import HEADER, view
from regrain.ui.session.mask_edits import Segment
from regrain.ui.session.projects import Projects
from regrain.ui.session.session import Session
from regrain.ui.values.adapters import AdapterList
from regrain.ui.views import session_views, settings
from regrain.ui.views.model_views import (
    addons_view,
    choice,
    control_view,
    hub_view,
    tuned_models,
)
from regrain.ui.views.result_views import made_player, made_result
from regrain.ui.views.shown import VocabularyView, WordGroup
from regrain.ui.work.catalogue import Catalogue
from regrain.ui.work.jobs import RunEdit

Parts = dict[str, Any]  # components by name
_KEPT = "Your clips, masks, words and results stay until you delete them."
# words that are typed, not chosen
_LITTLE = {"a", "an", "and", "another", "at", "in", "is", "of", "on", "the", "with"}
_REMOVED = "Files of this page are deleted two minutes after you close it, or after an hour without use."


@dataclass(frozen=True)
class Tools:
    """The heavy work behind the page."""

    edit: RunEdit  # runs a request
    segment: Segment  # as `masks.segment`; fast when called again for the same frame
    propagate: Propagate  # see `Tracking`
    remark: str | None = None  # tells users who answers clicks; None where SAM does
    plan_tuning: PlanTuning | None = None  # see `TuningHandlers`
    fetch: Callable[[str], Iterator[Fetched]] = hub.fetch  # of models, by id
    # Begins to load what a quick try of a model takes, while its words are written
    load_ahead: Callable[[str], None] | None = None


def lay_out(
    catalogue: Catalogue,
    start: Session | None,
    tools: Tools,
    projects: Projects,
) -> Components:
    """Make all components, showing the session a new page begins with: the header, and
    those that events change."""
    gallery = session_views.gallery(
        catalogue.examples, next(iter(catalogue.examples), None)
    )
    # Their pictures come once the menu is open.
    recent = replace(session_views.recent(projects), items=[])
    shown: Parts = {}
    with gr.Row(elem_classes="rg-top"):
        # Its script asks for the work of its page.
        shown["head"] = view("header", template=HEADER, elem_id="head")
        # The projects of this machine; the gallery takes it into its menu.
        shown["recent"] = view("recent", recent)
        shown["gallery"] = view("gallery", gallery, elem_id="examples")
        view("tabs")
    with gr.Row(elem_classes="rg-columns"):
        with gr.Column(scale=8, min_width=340, elem_classes="rg-left"):
            shown |= _stage_column(start, tools)
        with gr.Column(scale=3, elem_classes="rg-right"):
            shown |= _words_column(catalogue, start, kept=projects.root is not None)
    return Components(**shown, download=view("download"))


def _stage_column(start: Session | None, tools: Tools) -> Parts:
    """Make the picture, with its masks or edits, and what belongs right to it."""
    canvas, player = None, None
    if start:
        canvas = session_views.canvas(start)
        player = made_player(start.opened)
    shown: Parts = {
        "canvas": view("canvas", canvas),
        "player": view("player", player),
        "focus": view("focus"),  # the box that is edited, on the picture
        "fetch": view("fetch", offer()),
        "mask_file": gr.UploadButton(
            "Masks",
            elem_id="mask-file",
            file_count="multiple",
            file_types=MASK_FILES,
            visible="hidden",
        ),
        "history": view("history"),
    }
    if tools.remark:
        gr.HTML(
            f"<p class='rg-remark'>{html.escape(tools.remark)}</p>",
            apply_default_css=False,
        )
    return shown


def _words_column(catalogue: Catalogue, start: Session | None, kept: bool) -> Parts:
    method = start.method if start else next(iter(METHODS))
    asked = start.opened.request.asked if start else Edit(method=method)
    cards, prompts = None, None
    if start:
        cards = session_views.cards(
            start,
            catalogue.blind(BUILT_IN_MODEL, method),
            drawn=catalogue.drawn(BUILT_IN_MODEL),
        )
        prompts = session_views.prompts(start)
    shown: Parts = {
        "cards": view("cards", cards),
        "prompt": view("prompt", prompts),
        "checks": view("checks"),
    }
    view("how")
    # No accordion: Gradio makes what is in one when it is opened, but the page needs
    # the method from the beginning.
    with gr.Column(elem_id="how-body", min_width=0):
        shown |= _add_choices(catalogue, method)
        shown |= _add_weights(catalogue, method, asked, start)
        shown |= _add_settings(catalogue, method, asked)
        # what the built-in model knows
        shown["words"] = _add_words(catalogue.groups, kept)
    result = made_result(start.opened) if start else None
    for name in ("live", "losses"):
        shown[name] = view(name)
    shown["result"] = view("result", result)
    # The last of its column, so that it is in sight wherever the page is scrolled to.
    with gr.Column(elem_classes="rg-run", min_width=0):
        shown |= _add_run()
    return shown


def _add_choices(catalogue: Catalogue, method: str) -> Parts:
    """Make the choice of method and model."""
    shown: Parts = {}
    with gr.Row(elem_classes="rg-choices"):
        lacks = catalogue.lacks(BUILT_IN_MODEL)
        shown["method"] = view("method", choice(method, lacks))
        shown["model"] = gr.Dropdown(
            choices=catalogue.model_choices,
            value=BUILT_IN_MODEL,
            label="Model",
            elem_id="model",
            allow_custom_value=True,
        )
        shown["hub"] = view("hub_model", hub_view(), elem_id="hub")
    return shown


def _add_weights(
    catalogue: Catalogue, method: str, asked: Edit, start: Session | None
) -> Parts:
    """Make the choice of what is added to the model, and of what it was tuned to."""
    own = start.adapters if start else AdapterList()
    added = [*asked.added]
    return {
        "added": gr.State(added),
        "addons": view("addons", addons_view(catalogue, added)),
        "adapters": view(
            "adapters",
            tuned_models(own, catalogue.adapters, method),
        ),
        "adapter_file": gr.UploadButton(
            "Add", elem_id="adapter-file", file_types=[".safetensors"], visible="hidden"
        ),
    }


def _add_settings(catalogue: Catalogue, method: str, asked: Edit) -> Parts:
    """Make quality and settings."""
    fields = settings.fields_of(catalogue, asked, BUILT_IN_MODEL, asked.added)
    shown = settings.view(catalogue, method, fields)
    qualities = choices(method, shown.usual, shown.usual | shown.given[method])
    return {
        "quality": view("quality", qualities),
        "settings": view("settings", shown),  # with seed and number of variants
        # It helps to write a parameter; the settings take it beside its field.
        "control": view(
            "control", control_view(catalogue.controls), elem_id="control-networks"
        ),
    }


def _add_run() -> Parts:
    with gr.Row():
        shown: Parts = {
            "run": gr.Button("Run", elem_id="run", variant="primary", scale=3),
            "stop": gr.Button(
                "Stop", elem_id="stop", scale=1, visible=False, min_width=90
            ),
        }
    # in place of Run
    shown["useless"] = view("notice", elem_id="useless")
    for name in ("tries", "takes", "progress", "queue"):
        shown[name] = view(name)
    return shown


def _add_words(groups: Mapping[str, Sequence[str]], kept: bool) -> gr.HTML:
    known = {
        word
        for phrases in groups.values()
        for phrase in phrases
        for word in phrase.split()
    }
    vocabulary = f"{len(known)} words" if known else "the words of its own small world"
    note = (
        "The built-in model is small and draws a picture-book world. It knows only "
        f"{vocabulary} and rejects all others. Real footage needs a real checkpoint; see the README. "
        f"{_KEPT if kept else _REMOVED} "
        "Cached inversions stay on the server."
    )
    listed = []
    for title, words in groups.items():
        offered = [word for word in words if word not in _LITTLE]
        if offered:
            listed.append(WordGroup(title, offered))
    return view("vocabulary", VocabularyView(note, listed), elem_id="words")
