"""Endpoints for programs, each made of a declaration of its arguments and a
function."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

import gradio as gr
from gradio import routes
from gradio.context import get_blocks_context
from gradio.events import api
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from regrain.editing.errors import EditingError, from_validation
from regrain.editing.removed import INSTEAD
from regrain.ui.api.program_schema import Arguments
from regrain.ui.handlers.base import address_of

Schema = Mapping[str, Any]
A = TypeVar("A", bound=Arguments)
_list_programs = routes.generate_code_snippets


class Refused(gr.Error):
    """One line for whoever called; MCP is shown `str` of it, in which gradio quotes the
    message."""

    def __init__(self, message: str) -> None:
        super().__init__(message, print_exception=False)

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Caller:
    """The caller of an endpoint."""

    session: str  # Gradio's name of the connection; empty where there is none
    address: str  # network address

    @classmethod
    def of(cls, request: gr.Request | None) -> Caller:
        """Return the caller who sent a request; both are empty where nobody did."""
        # Gradio's request of an MCP call has no such attribute.
        session = getattr(request, "session_hash", None)
        return cls(session or "", address_of(request))


def offer(
    arguments: type[A], work: Callable[[A, Caller], object], *, queue: bool = True
) -> None:
    """Offer a function to programs, by its own name; must run inside a layout.

    Gradio documents it from the declaration, for clients and for MCP: types, defaults,
    descriptions.

    Args:
        work: Its docstring says what it does and returns; its return annotation is
            documented.
        queue: Whether calls wait in gradio's queue, as all that takes long should.
    """
    fields = _ordered_fields(arguments)

    def endpoint(*values: Any) -> object:
        *given, request = values
        try:
            return work(
                arguments.model_validate(dict(zip(fields, given, strict=True))),
                Caller.of(request),
            )
        except ValidationError as error:
            raise Refused(str(from_validation(error, arguments))) from None
        except EditingError as error:
            raise Refused(str(error)) from None

    _describe(endpoint, work, fields)
    made = api(endpoint, api_name=work.__name__, concurrency_limit=None, queue=queue)
    root: Any = get_blocks_context()
    components = root.fns[made["id"]].inputs
    told = schemas(arguments)
    for component, name in zip(components, fields, strict=True):
        _show_schema(component, told[name])


def refuse_removed() -> None:
    """Answer programs that call an endpoint that left with what to use instead; must
    run inside a layout."""
    for name, said in INSTEAD.items():
        if name.startswith("/"):
            api(
                _refuser(said),
                api_name=name[1:],
                api_visibility="undocumented",
                queue=False,
            )


def _refuser(said: str) -> Callable[[], None]:
    def endpoint() -> None:
        raise Refused(said)

    return endpoint


def _ordered_fields(arguments: type[Arguments]) -> dict[str, FieldInfo]:
    """Return the fields of a declaration, required ones first, then its own."""
    declared = arguments.model_fields
    needed = [name for name, field in declared.items() if field.is_required()]
    order = dict.fromkeys([*needed, *arguments.__annotations__, *declared])
    return {name: declared[name] for name in order}


def _show_schema(component: Any, schema: Schema) -> None:
    """Give the component of an argument its JSON schema: gradio knows no types but
    Python's."""
    component._api_info = schema
    if "examples" in schema:  # for the program that gradio's page about the API lists
        component.example_payload = lambda: schema["examples"][0]


def _with_examples(
    name: str, told: Schema, *where: object, **more: object
) -> dict[str, str]:
    """The programs on gradio's page about the API: examples, where a default alone
    would be refused."""
    parts = []
    for part in told["parameters"]:
        has_example = "examples" in part["type"]
        parts.append(part | {"parameter_has_default": not has_example})
    return _list_programs(name, {**told, "parameters": parts}, *where, **more)


routes.generate_code_snippets = _with_examples


def schemas(arguments: type[Arguments]) -> dict[str, Schema]:
    """Return the JSON schema of each argument as gradio reads it: without
    references."""
    whole = arguments.model_json_schema()
    text = json.dumps(whole["properties"])
    # In this order, in which those that hold others come first.
    for name, model in whole.get("$defs", {}).items():
        reference = json.dumps({"$ref": f"#/$defs/{name}"})
        text = text.replace(reference, json.dumps(model))
    return json.loads(text)


def _describe(
    endpoint: Any, work: Callable[..., object], fields: Mapping[str, FieldInfo]
) -> None:
    """Give an endpoint the name, the signature and the docstring that gradio reads."""
    defaults: dict[str, object] = {}
    for name, field in fields.items():
        needed = field.is_required()
        defaults[name] = inspect.Parameter.empty if needed else field.default
    defaults["request"] = None
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        inspect.Parameter(name, kind, default=default)
        for name, default in defaults.items()
    ]
    returned = get_type_hints(work)["return"]
    endpoint.__name__ = work.__name__
    endpoint.__signature__ = inspect.Signature(parameters, return_annotation=returned)
    endpoint.__annotations__ = {
        **dict.fromkeys(fields, Any),
        "request": gr.Request | None,
        "return": returned,
    }
    summary, _, returns = (inspect.getdoc(work) or "").partition("\n\nReturns:\n")
    listed = "\n".join(
        f"    {name}: {field.description}" for name, field in fields.items()
    )
    # On one line: gradio puts commas between lines.
    endpoint.__doc__ = (
        f"{summary}\n\nArgs:\n{listed}\n\nReturns:\n    {' '.join(returns.split())}"
    )
