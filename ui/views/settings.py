"""The parameters of a method: shown as fields, and read as they were typed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from types import MappingProxyType
from typing import Any, cast

from pydantic.fields import FieldInfo

from regrain.editing.params.registry import METHODS
from regrain.editing.request.edit import Edit
from regrain.ui.values import method_choice
from regrain.ui.values.fields import Fields, Values
from regrain.ui.views.shown import Parameter, SettingsView
from regrain.ui.work.catalogue import Catalogue

NOTHING: Values = MappingProxyType({})


@cache
def parameters(method: str) -> Mapping[str, Parameter]:
    """Return the parameters of a method that the page shows, by name."""
    shown = {}
    for name, said in METHODS[method].Params.model_json_schema()["properties"].items():
        group = said.get("group", "More")
        if group and "const" not in said:  # with something to choose
            told = {
                field.name: said[field.name]
                for field in fields(Parameter)
                if field.name in said
            }
            shown[name] = Parameter(**told | {"group": group})
    return MappingProxyType(shown)


def fields_of(
    catalogue: Catalogue, asked: Edit, model: str, added: Sequence[str]
) -> Fields:
    """Return the fields that ask for an edit by a model, with what is added to it.

    Raises:
        EditingError: A value is wrong.
    """
    loras = catalogue.loras_of(added)
    values = catalogue.values(asked.method, model, asked.params, loras)
    given = {name: values[name] for name in asked.params if name in values}
    return Fields(
        model, [*added], asked.seed, asked.prediction, given={asked.method: given}
    )


def view(catalogue: Catalogue, method: str, fields: Fields) -> SettingsView:
    """Show the settings of a method, with what a page says of them.

    Raises:
        EditingError: The model is not offered, or the preset is none.
    """
    preset = _preset(fields.given.get(method, {}))
    given_by_method = {
        name: _typed(name, values)
        for name, values in fields.given.items()
        if name in METHODS
    }
    seeded = method_choice.uses(method).seed != "never"
    several = isinstance(fields.variants, int) and seeded
    return SettingsView(
        method,
        dict(parameters(method)),
        _typed(method, usual(catalogue, method, fields, preset)),
        given_by_method,
        cast("float | str", fields.seed),
        method_choice.seed_words(method),
        seeded,
        str(fields.prediction),
        catalogue.is_silent(fields.model),
        cast(int, fields.variants) if several else 1,
        fields.turn if isinstance(fields.turn, int) else None,
        time.time(),
    )


def usual(
    catalogue: Catalogue, method: str, fields: Fields, given: Values = NOTHING
) -> dict[str, Any]:
    """Return every parameter of a run of a page's model with what is added to it, of
    which some are given; raises as `Catalogue.model` and `values` do."""
    loras = catalogue.loras_of(fields.names)
    return catalogue.values(method, catalogue.model(fields.model), given, loras)


def _preset(given: Values) -> dict[str, object]:
    return {"preset": given["preset"]} if "preset" in given else {}


def _typed(method: str, values: Values) -> dict[str, Any]:
    """Return values of a method's parameters as they stand in the fields."""
    shown = parameters(method)
    return {
        name: as_text(value) if shown[name].type == "string" else value
        for name, value in values.items()
        if name in shown
    }


def given(
    catalogue: Catalogue, method: str, fields: Fields, project: Values
) -> dict[str, object]:
    """Return the parameters of a method that a page gives: those that differ from a
    run with nothing given.

    Args:
        project: What its project gives; counts where there is no field.

    Raises:
        EditingError: The model is not offered, or the preset is none.
    """
    shown = parameters(method)
    kept = {name: value for name, value in project.items() if name not in shown}
    types = METHODS[method].Params.model_fields
    chosen = {
        name: _read(types[name], value)
        for name, value in fields.given.get(method, {}).items()
        if name in shown
    }
    preset = _preset(chosen)
    base = usual(catalogue, method, fields, preset)
    changed = {name: value for name, value in chosen.items() if value != base[name]}
    return kept | preset | changed


def _read(field: FieldInfo, value: object) -> object:
    """Return the value of a field as the parameter wants it; what cannot be read is
    left to the checks."""
    if isinstance(value, float) and value.is_integer() and field.annotation is int:
        return int(value)
    if isinstance(value, str) and field.annotation in (int, float):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def as_text(value: object) -> str:
    """Return a value as it is typed into a field."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, default=str)
