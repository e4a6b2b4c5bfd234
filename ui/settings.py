"""Controls for a method's parameters, made from their one declaration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from annotated_types import Ge, Le
from gradio.components import Component
from pydantic.fields import FieldInfo

from editing.methods import METHODS, resolve_params

# Where a slider ends; what is allowed beyond is for project files and the command line.
_REACH = {"steps": 100, "guidance_scale": 15}
_FIRST = ("steps", "guidance_scale", "cross_strength", "self_strength")
_HIDDEN = ("preview_every",)
_TITLES = {
    "guidance_scale": "Guidance scale",
    "cross_strength": "Bind regions to their words",
    "self_strength": "Keep regions apart",
    "modulate_until": "Modulate until",
    "schedule_power": "Fade of modulation",
    "size_term": "More for small regions",
    "guidance_half": "Half whose self-attention is modulated",
    "levels": "Layers",
    "blend": "Blend latents outside",
    "feather": "Feather (pixels)",
}


def read_json(path: Path, default: Any) -> Any:
    """Content of a JSON file; `default` where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else default


def defaults(method: str, model_folder: Path) -> dict[str, Any]:
    """Parameters as a run with nothing given would use them on the built-in model."""
    recommended = read_json(model_folder / "defaults.json", {}).get(method, {})
    return resolve_params(method, {}, recommended)[0].model_dump()


def make_controls(method: str, values: Mapping[str, Any]) -> dict[str, Component]:
    """Make a control per parameter, the important ones first; must run inside a layout."""
    fields = METHODS[method].Params.model_fields
    names = [name for name in fields if name not in _HIDDEN and len(_choices(fields[name])) != 1]
    first = [name for name in _FIRST if name in names]
    controls = {name: _control(name, fields[name], values[name]) for name in first}
    with gr.Accordion("More", open=False, elem_classes="rg-more"):
        controls |= {name: _control(name, fields[name], values[name]) for name in names if name not in first}
    return controls


def given(
    method: str, names: Sequence[str], values: Sequence[Any], usual: Mapping[str, Any]
) -> dict[str, Any]:
    """Parameters whose controls are not where a run with nothing given has them; a browser may send 20.0."""
    fields = METHODS[method].Params.model_fields
    chosen = {
        name: _whole(value) if fields[name].annotation is int else value
        for name, value in zip(names, values, strict=True)
    }
    return {name: value for name, value in chosen.items() if name not in usual or value != usual[name]}


def _control(name: str, field: FieldInfo, value: Any) -> Component:
    title = _TITLES.get(name, name.replace("_", " ").capitalize())
    if field.annotation is bool:
        return gr.Checkbox(value, label=title, info=field.description)
    if field.annotation is str:
        return gr.Textbox(value, label=title, info=field.description)
    if choices := _choices(field):
        return gr.Radio(list(choices), value=value, label=title, info=field.description)
    low: Any = next(limit.ge for limit in field.metadata if isinstance(limit, Ge))
    high: Any = next(limit.le for limit in field.metadata if isinstance(limit, Le))
    top = max(_REACH.get(name, high), value)
    step = 1 if field.annotation is int else 0.5 if high > 1 else 0.05
    return gr.Slider(low, top, value=value, step=step, label=title, info=field.description)


def _choices(field: FieldInfo) -> tuple[Any, ...]:
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
