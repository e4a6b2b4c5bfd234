"""Fields for a method's parameters, made from their one declaration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import gradio as gr
from annotated_types import Ge, Le
from gradio.components import Component
from pydantic.fields import FieldInfo

from regrain.editing.params.registry import METHODS
from regrain.ui.page.components import view
from regrain.ui.views.settings import (
    OF_CLIP,
    OF_PICTURES,
    SHARED,
    ParameterFields,
    as_text,
    choices,
)

# Where a slider ends; what is allowed beyond is for project files and the command line.
_REACH = {
    "steps": 100,
    "guidance_scale": 15,
    "window": 64,
    "tune_steps": 1000,
    "keep_every": 1000,
    "tune_preview_every": 1000,
}
_MAX_SLIDER = 10_000  # larger ranges are typed into
AT_HAND = ("strength",)  # shown beside Run, without opening the settings
# shown there too, among what matters to long clips
_LONG = ("window", "frames_at_once")
FIRST = ("tune_steps", "steps", "guidance_scale")  # that the settings begin with
_HINTS = {
    "keyframes": "all, every 4, auto, or frames from 0 like 0, 8, 15",
    "cuts": "auto, none, or frames from 1 like 24, 60",
}
# What the page says of a field in place of its description.
_INFO = {
    "keyframes": "Frames to edit: all, every N, auto, or a list. The others follow the motion of the clip, "
    "which is faster. Marks below the film strip show them.",
    "cuts": "Where shots begin: auto looks for cuts, none takes the clip as one shot, or a list. Each shot "
    "is edited on its own. Marks below the film strip show them.",
    "window": "Frames that are edited together. A longer clip is edited in windows of this size, which share "
    "frames. 0 takes 32, or fewer if memory is short.",
    "frames_at_once": "Frames that are edited together. A longer clip is edited in batches of this size, "
    "which share frames. Memory grows with it.",
}
_HELPERS = ("control",)  # texts that a script of this name helps to write
_HIDDEN = ("preview_every",)
_STEPS = (0.5, 0.05, 0.01, 0.001)  # of sliders
# by method, the parameters of a run with nothing given
Usual = Mapping[str, Mapping[str, object]]


def make_fields(
    usual: Usual, shown: str, help: Mapping[str, object] = MappingProxyType({})
) -> ParameterFields:
    """Make the other fields of every method, folded; see `make_some`.

    `help` holds, by parameter, the value of the script that helps to write it.
    """
    fields = METHODS[shown].Params.model_fields
    values = usual[shown]

    def share(names: Sequence[str]) -> ParameterFields:
        made = {name: _make_field(name, fields[name], values[name]) for name in names}
        return ParameterFields((), dict.fromkeys(usual, made))

    with gr.Accordion(
        "Long clips", open=False, elem_id="long-clips", elem_classes="rg-more"
    ):
        clips = share(OF_CLIP) | make_some(usual, shown, _LONG)
    with gr.Accordion(
        "Pictures", open=False, elem_id="of-pictures", elem_classes="rg-more"
    ):
        clips |= share(OF_PICTURES)
    with gr.Accordion(
        "For experiments", open=False, elem_id="experiments", elem_classes="rg-more"
    ):
        return clips | _make_experiments(usual, shown, help)


def _make_experiments(
    usual: Usual, shown: str, help: Mapping[str, object]
) -> ParameterFields:
    helpers: list[tuple[str, gr.HTML]] = []

    def make(method: str, values: Mapping[str, object]) -> dict[str, Component]:
        fields = METHODS[method].Params.model_fields
        controls = {}
        for title, names in _experiments(method).items():
            with gr.Accordion(title, open=False, elem_classes="rg-more"):
                for name in names:
                    controls[name] = _make_field(name, fields[name], values[name])
                    if name in _HELPERS:
                        helpers.append((name, view(name, help.get(name))))
        return controls

    return replace(_make_columns(usual, shown, make), helpers=helpers)


def _experiments(method: str) -> dict[str, list[str]]:
    """Return the parameters of a method that have no other place on the page, by
    group."""
    params = METHODS[method].Params
    elsewhere = {*_HIDDEN, *AT_HAND, *_LONG, *SHARED, *FIRST}
    names = []
    for name, field in params.model_fields.items():
        has_choice = len(choices(field)) != 1
        if name not in elsewhere and has_choice:
            names.append(name)
    groups = {}
    for title, group in params.GROUPS.items():
        groups[title] = [name for name in group if name in names]
    grouped = {name for group in params.GROUPS.values() for name in group}
    groups["More"] = [name for name in names if name not in grouped]
    return groups


def _make_columns(
    usual: Usual,
    shown: str,
    make: Callable[[str, Mapping[str, object]], dict[str, Component]],
) -> ParameterFields:
    columns = []
    fields = {}
    for method, values in usual.items():
        with gr.Column(visible=method == shown, min_width=0) as column:
            fields[method] = make(method, values)
        columns.append((method, column))
    return ParameterFields(columns, fields)


def make_some(usual: Usual, shown: str, names: Sequence[str]) -> ParameterFields:
    """Make fields of these names for the methods that have them; must run inside a
    layout.

    Those of the method `shown` are seen first.
    """

    def make(method: str, values: Mapping[str, object]) -> dict[str, Component]:
        fields = METHODS[method].Params.model_fields
        return {
            name: _make_field(name, fields[name], values[name])
            for name in names
            if name in fields
        }

    having = {
        method: values
        for method, values in usual.items()
        if not values.keys().isdisjoint(names)
    }
    return _make_columns(having, shown, make)


def _make_field(name: str, field: FieldInfo, value: Any) -> Component:
    texts: dict[str, Any] = {
        "label": field.title or name.replace("_", " ").capitalize(),
        "info": _INFO.get(name, field.description),
        "elem_classes": f"rg-param-{name}",
    }
    if field.annotation is bool:
        return gr.Checkbox(value, **texts)
    offered = choices(field)
    if offered:
        return gr.Radio(list(offered), value=value, **texts)
    if field.annotation not in (int, float):  # words, lists: as in a project file
        return gr.Textbox(as_text(value), placeholder=_HINTS.get(name), **texts)
    low = high = None
    for limit in field.metadata:
        if isinstance(limit, Ge):
            low = limit.ge
        elif isinstance(limit, Le):
            high = limit.le
    if low is None or high is None or high > _MAX_SLIDER:
        return gr.Number(value, **texts)  # what is out of range is said by the checks
    top = max(_REACH.get(name, high), value)
    step = 1 if field.annotation is int else slider_step(high, value)
    return gr.Slider(low, top, value=value, step=step, **texts)


def slider_step(high: float, value: float) -> float:
    """Return a slider's step: as coarse as its range allows where two of them or more
    make up its value."""
    steps = [step for step in _STEPS if high > 1 or step <= 0.05]
    for step in steps:
        is_multiple = round(abs(value) / step, 6) % 1 == 0
        if is_multiple and not 0 < abs(value) < 2 * step:
            return step
    return steps[-1]
