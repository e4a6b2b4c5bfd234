"""The error tree: everything a user can cause, and nothing else. Bugs stay ordinary exceptions."""

from __future__ import annotations

import itertools
import textwrap
from difflib import get_close_matches
from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

_LISTED = 120  # characters of names that a message lists
_LONGEST = 220  # characters of a message; with its field, a line has at most 300
_LONGEST_FIELD = 60
_NOUNS = {
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "valid Unicode text",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "string_too_short": "text that is not empty",
    "string_pattern_mismatch": "a colour as #rrggbb",  # colours alone have a pattern
}
_NUMBERS = (
    *("int_type", "int_from_float", "float_type"),
    *("finite_number", "greater_than_equal", "less_than_equal"),
)


class EditingError(Exception):
    """An error that a user can cause and fix; its text is one line fit to show a user.

    Attributes:
        field: What the error is about, as the user wrote it: `regions.0.strength`, `masks`, `--seed`.
        message: What is wrong, then what to do: one or two short sentences in one line.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = _in_one_line(field, _LONGEST_FIELD)
        self.message = _in_one_line(message, _LONGEST)

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class RequestError(EditingError, ValueError):
    """A value of the request, the project folder or the command line is not allowed."""


class ClipError(RequestError):
    """The clip is unreadable, too short or too large."""


class MaskError(RequestError):
    """Masks of the wrong frame count or size, of an unlisted label, or an empty region."""


class PromptError(RequestError):
    """A prompt beyond the token limit, or a word the built-in model does not know."""


class ModelError(EditingError):
    """Unknown model id, missing weights, an unsafe file format or a gated repository."""


class ResourceError(EditingError):
    """Out of memory or disk; the message names what did not fit and the setting to lower."""


class DivergedError(EditingError):
    """NaN or Inf in the latents; the field is the layer, the message names the step."""


def _in_one_line(text: str, limit: int) -> str:
    """The text fit to be shown: nothing that a terminal would act on, and cut in its middle if it is long."""
    printable = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    if len(printable) <= limit:
        return printable
    tail = limit // 3
    return f"{printable[: limit - tail - 5]} ... {printable[-tail:]}"


def suggest(word: str, allowed: Iterable[str]) -> str:
    """List the allowed names, after the nearest one: `Did you mean 'a'? Choose from a, b.`"""
    names = list(allowed)
    near = get_close_matches(word[:_LISTED], names, n=1)
    listed = textwrap.shorten(", ".join(names), _LISTED, placeholder=" ...")
    return (
        f"Did you mean {near[0]!r}? " if near else ""
    ) + f"Choose from {listed.removesuffix('.')}."


def from_validation(
    error: ValidationError, model: type[BaseModel], prefix: str = ""
) -> RequestError:
    """Turn pydantic's first complaint into a RequestError that names the field by its dotted path.

    The model that was validated knows the allowed names and ranges; the prefix, such as `params.`, is put
    before the path.
    """
    first = error.errors(include_url=False)[0]
    place = _follow(model, first["loc"])[0]
    # A colon ends the field; keys of strangers may have one.
    path = prefix + ".".join(str(part).replace(":", "\ufffd") for part in place)
    return RequestError(path.strip(".") or "project.json", _explain(first, model))


def _explain(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        *parents, key = detail["loc"]
        return f"Unknown key. {suggest(str(key), _follow(model, parents)[2].model_fields)}"
    if kind == "missing":
        return "This key is required. Add it."
    if kind == "too_long":
        return (
            f"At most {context['max_length']} entries are allowed, got {context['actual_length']}."
        )
    if kind == "string_too_long":
        most = context["max_length"]
        return f"{len(detail['input'])} characters are too many. Shorten it to {most}."
    if kind == "value_error":
        reason = str(context.get("error"))
        if not reason.startswith("expected "):
            return f"{reason[:1].upper()}{reason[1:].removesuffix('.')}."
        expected = reason.removeprefix("expected ")
    elif kind in _NUMBERS:
        expected = _number(detail, model)
    else:
        expected = (
            context["expected"] if kind == "literal_error" else _NOUNS.get(kind, "another value")
        )
    return f"Expected {expected}, got {shorten(detail['input'])}."


def _number(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """The number that a field, or an entry of its list, should have been: `a whole number from 0 to 9`."""
    field = _follow(model, detail["loc"])[1]
    if field is None:
        return "a number"
    kinds = (
        field.annotation,
        *get_args(field.annotation),
    )  # a kind that may be missing has limits of its own
    whole = any(int in (kind, getattr(kind, "__origin__", None)) for kind in kinds)
    own = [
        getattr(info, "metadata", ())
        for kind in kinds
        for info in getattr(kind, "__metadata__", ())
    ]
    limits = [*field.metadata, *itertools.chain(*own)]
    low, high = (
        next((getattr(part, bound) for part in limits if hasattr(part, bound)), None)
        for bound in ("ge", "le")
    )
    noun = "a whole number" if whole else "a number"
    if low is None:
        return noun
    return f"{noun} from {low} to {high}" if high is not None else f"{noun} of at least {low}"


def shorten(value: object, limit: int = 60) -> str:
    """Show a value in an error message: its repr, cut to `limit` characters."""
    try:
        text = repr(value)
    except (
        ValueError,
        RecursionError,
    ):  # a number of thousands of digits, or lists that are nested as deep
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _follow(
    model: type[BaseModel], path: Sequence[str | int]
) -> tuple[list[str | int], FieldInfo | None, type[BaseModel]]:
    """Follow a path: without pydantic's own words for a type, with its last field and its last model."""
    at: type[BaseModel] | None = model
    place: list[str | int] = []
    field = None
    for key in path:
        if isinstance(key, int):
            place.append(key)
        elif at is not None:
            place.append(key)
            fields = {info.alias or name: info for name, info in at.model_fields.items()}
            field = fields.get(key)
            at = _model_of(field.annotation) if field else None
            model = at or model
    return place, field, model


def _model_of(annotation: object) -> type[BaseModel] | None:
    """The model in an annotation, such as a list of it."""
    from pydantic import BaseModel  # slow to import, and needed for errors alone

    parts = (part for part in (annotation, *get_args(annotation)) if isinstance(part, type))
    return next((part for part in parts if issubclass(part, BaseModel)), None)
