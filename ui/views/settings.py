"""Fields for a method's parameters, made from their one declaration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from annotated_types import Ge, Le
from gradio.components import Component
from pydantic.fields import FieldInfo

from regrain.editing.models.files.recommended import of_folder
from regrain.editing.params.registry import METHODS, resolve_params
from regrain.editing.params.written import is_text
from regrain.ui.views.components import view

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
_OF_CLIP = ("keyframes", "cuts")
_OF_PICTURES = ("picture_from", "picture_until", "picture_blocks", "picture_colors")
SHARED = (*_OF_CLIP, *_OF_PICTURES)  # one field for all methods
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
_HELPERS = ("heat_pixel", "control")  # texts that a script of this name helps to write
_HIDDEN = ("preview_every",)
_STEPS = (0.5, 0.05, 0.01, 0.001)  # of sliders
# by method, the parameters of a run with nothing given
Usual = Mapping[str, Mapping[str, Any]]


def values(
    method: str,
    model_folder: Path,
    given: Mapping[str, object],
    loras: Sequence[str] = (),
) -> dict[str, Any]:
    """Return parameters as a run would use them on a folder's model with these LoRA
    files; an EditingError if one is wrong."""
    usual = of_folder(model_folder, model_folder.name, loras)
    return resolve_params(method, given, usual.get(method, {}))[0].model_dump()


@dataclass(frozen=True)
class ParameterFields:
    """Input fields of all methods, of which one's are shown."""

    # what is shown and hidden as a whole, with its method
    columns: Sequence[tuple[str, gr.Column]]
    # By method and parameter; those of `SHARED` are the same for all methods
    fields: Mapping[str, Mapping[str, Component]]
    # What helps to write a text, with the name of its parameter
    helpers: Sequence[tuple[str, gr.HTML]] = ()

    def __or__(self, others: ParameterFields) -> ParameterFields:
        """Return these and the fields of the same methods in other places of the
        page."""
        fields = {}
        for method in dict.fromkeys((*self.fields, *others.fields)):
            fields[method] = {
                **self.fields.get(method, {}),
                **others.fields.get(method, {}),
            }
        helpers = (*self.helpers, *others.helpers)
        return ParameterFields((*self.columns, *others.columns), fields, helpers)

    def _name(self, method: str, parameter: str) -> str:
        """Name a field; one of `SHARED` after the first method alone."""
        if parameter in SHARED:
            method = next(iter(self.fields))
        return f"{method}.{parameter}"

    @property
    def named(self) -> dict[str, Component]:
        """Every field once, by name."""
        return {
            self._name(method, parameter): field
            for method, fields in self.fields.items()
            for parameter, field in fields.items()
        }

    @property
    def all(self) -> list[Component]:
        """Every field once."""
        return list(self.named.values())

    @property
    def shared(self) -> dict[str, Component]:
        """The fields of `SHARED`."""
        fields = next(iter(self.fields.values()), {})
        return {name: fields[name] for name in SHARED if name in fields}

    @property
    def counts(self) -> list[Component]:
        """The fields of the counts that a quality sets, of all methods."""
        found = []
        for fields in self.fields.values():
            found += [
                fields[name] for name in ("steps", "tune_steps") if name in fields
            ]
        return found

    def own(self, method: str) -> dict[str, Component]:
        """Return the fields of one method alone."""
        return {
            name: control
            for name, control in self.fields[method].items()
            if name not in SHARED
        }

    def show(self, method: str) -> dict[Any, Any]:
        """Return updates that show one method's."""
        return {
            column: gr.Column(visible=name == method) for name, column in self.columns
        }

    def fill(self, method: str, values: Mapping[str, Any]) -> dict[Any, Any]:
        """Return updates that set one method's own fields."""
        return _filled(self.own(method), values)

    def fill_shared(self, values: Mapping[str, Any]) -> dict[Any, Any]:
        """Return updates that set what all methods share."""
        return _filled(self.shared, values)

    def given(
        self,
        method: str,
        values: Mapping[str, object],
        usual: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        project: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the parameters of a method whose fields differ from those of a run
        with nothing given.

        Args:
            values: Of all fields by name; a browser may send 20.0.
            usual: From what is given, at most a preset, to what a run would use.
            project: What the project says; counts where there is no field.
        """
        shown = {name: values[self._name(method, name)] for name in self.fields[method]}
        fields = METHODS[method].Params.model_fields
        chosen = {name: _read(fields[name], value) for name, value in shown.items()}
        kept = {name: value for name, value in project.items() if name not in chosen}
        preset = {}
        if "preset" in chosen:
            recommended = usual({})["preset"]
            # Where nobody chose it, what the model recommends counts.
            if "preset" in project or chosen["preset"] != recommended:
                preset["preset"] = chosen["preset"]
        base = usual(preset)
        changed = {}
        for name, value in chosen.items():
            is_usual = name in base and value == base[name]
            looks_usual = shown[name] == _as_text(base.get(name))
            if not is_usual and not looks_usual:
                changed[name] = value
        return kept | preset | changed


def make_fields(
    usual: Usual, shown: str, help: Mapping[str, Any] = MappingProxyType({})
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
        clips = share(_OF_CLIP) | make_some(usual, shown, _LONG)
    with gr.Accordion(
        "Pictures", open=False, elem_id="of-pictures", elem_classes="rg-more"
    ):
        clips |= share(_OF_PICTURES)
    with gr.Accordion(
        "For experiments", open=False, elem_id="experiments", elem_classes="rg-more"
    ):
        return clips | _make_experiments(usual, shown, help)


def _make_experiments(
    usual: Usual, shown: str, help: Mapping[str, Any]
) -> ParameterFields:
    helpers: list[tuple[str, gr.HTML]] = []

    def make(method: str, values: Mapping[str, Any]) -> dict[str, Component]:
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
        has_choice = len(_choices(field)) != 1
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
    make: Callable[[str, Mapping[str, Any]], dict[str, Component]],
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

    def make(method: str, values: Mapping[str, Any]) -> dict[str, Component]:
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
    choices = _choices(field)
    if choices:
        return gr.Radio(list(choices), value=value, **texts)
    if field.annotation not in (int, float):  # words, lists: as in a project file
        return gr.Textbox(_as_text(value), placeholder=_HINTS.get(name), **texts)
    low, high = _limits(field)
    if low is None or high is None or high > _MAX_SLIDER:
        return gr.Number(value, **texts)  # what is out of range is said by the checks
    top = max(_REACH.get(name, high), value)
    step = 1 if field.annotation is int else slider_step(high, value)
    return gr.Slider(low, top, value=value, step=step, **texts)


def _limits(field: FieldInfo) -> tuple[Any, Any]:
    """Return the least and the greatest value; None where there is no such limit."""
    low = high = None
    for limit in field.metadata:
        if isinstance(limit, Ge):
            low = limit.ge
        elif isinstance(limit, Le):
            high = limit.le
    return low, high


def slider_step(high: float, value: float) -> float:
    """Return a slider's step: as coarse as its range allows where two of them or more
    make up its value."""
    steps = [step for step in _STEPS if high > 1 or step <= 0.05]
    for step in steps:
        is_multiple = round(abs(value) / step, 6) % 1 == 0
        if is_multiple and not 0 < abs(value) < 2 * step:
            return step
    return steps[-1]


def _filled(
    fields: Mapping[str, Component], values: Mapping[str, Any]
) -> dict[Any, Any]:
    return {
        control: _update(control, values[name])
        for name, control in fields.items()
        if name in values
    }


def _update(control: Component, value: Any) -> dict[str, Any]:
    if isinstance(control, gr.Textbox):
        return gr.update(value=_as_text(value))
    # a value beyond its end would be refused with every event
    if isinstance(control, gr.Slider):
        return gr.update(value=value, maximum=max(control.maximum, value))
    return gr.update(value=value)


def _choices(field: FieldInfo) -> tuple[Any, ...]:
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def _read(field: FieldInfo, value: Any) -> Any:
    """Return the value of a field as the parameter wants it; what cannot be read is
    left to the checks."""
    if isinstance(value, float) and value.is_integer() and field.annotation is int:
        return int(value)
    if isinstance(value, str) and not is_text(field) and not _choices(field):
        if not value.strip():
            return None if field.default is None else ""
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return tuple(read) if isinstance(read, list) else read
    return value


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, default=str)
