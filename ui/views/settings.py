"""The fields of all methods' parameters: shown, filled and read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from gradio.components import Component
from pydantic.fields import FieldInfo

from regrain.editing.params.registry import METHODS
from regrain.editing.params.written import is_text

OF_CLIP = ("keyframes", "cuts")
OF_PICTURES = ("picture_colors",)
SHARED = (*OF_CLIP, *OF_PICTURES)  # one field for all methods


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

    @property
    def column_names(self) -> dict[str, gr.Column]:
        """The columns by name."""
        return {
            f"column {number}": column
            for number, (_, column) in enumerate(self.columns)
        }

    def show(self, method: str) -> dict[str, object]:
        """Return updates that show one method's, by name."""
        return {
            f"column {number}": gr.Column(visible=name == method)
            for number, (name, _) in enumerate(self.columns)
        }

    def fill(self, method: str, values: Mapping[str, object]) -> dict[str, object]:
        """Return updates that set one method's own fields, by name."""
        return {
            self._name(method, name): _update(control, values[name])
            for name, control in self.own(method).items()
            if name in values
        }

    def fill_shared(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return updates that set what all methods share, by name."""
        return {
            self._name("", name): _update(control, values[name])
            for name, control in self.shared.items()
            if name in values
        }

    def given(
        self,
        method: str,
        values: Mapping[str, object],
        usual: Callable[[Mapping[str, object]], Mapping[str, object]],
        project: Mapping[str, object],
    ) -> dict[str, object]:
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
            looks_usual = shown[name] == as_text(base.get(name))
            if not is_usual and not looks_usual:
                changed[name] = value
        return kept | preset | changed


def _update(control: Component, value: Any) -> dict[str, object]:
    if isinstance(control, gr.Textbox):
        return gr.update(value=as_text(value))
    # a value beyond its end would be refused with every event
    if isinstance(control, gr.Slider):
        return gr.update(value=value, maximum=max(control.maximum, value))
    return gr.update(value=value)


def choices(field: FieldInfo) -> tuple[object, ...]:
    """Return what may be chosen for a parameter; empty where it is no choice."""
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def _read(field: FieldInfo, value: object) -> object:
    """Return the value of a field as the parameter wants it; what cannot be read is
    left to the checks."""
    if isinstance(value, float) and value.is_integer() and field.annotation is int:
        return int(value)
    if isinstance(value, str) and not is_text(field) and not choices(field):
        if not value.strip():
            return None if field.default is None else ""
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return tuple(read) if isinstance(read, list) else read
    return value


def as_text(value: object) -> str:
    """Return a value as it is typed into a field."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, default=str)
