"""The error tree: everything a user can cause, and nothing else. Bugs stay ordinary
exceptions."""

from __future__ import annotations

import textwrap
from difflib import get_close_matches
from typing import TYPE_CHECKING, get_args

from regrain.editing.removed import instead

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    "too_short": "a list that is not empty",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "string_too_short": "text that is not empty",
    "string_pattern_mismatch": "a colour as #rrggbb",  # colours alone have a pattern
}
_NUMBERS = (
    "int_type",
    "int_from_float",
    "float_type",
    "finite_number",
    "greater_than",
    "greater_than_equal",
    "less_than_equal",
)


class EditingError(Exception):
    """An error that a user can cause and fix; its text is one line fit to show a user.

    Attributes:
        field: What the error is about, as the user wrote it: `regions.0.strength`,
            `masks`, `--seed`.
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
    """Masks of the wrong frame count or size, of an unlisted label, or an empty
    region."""


class PromptError(RequestError):
    """A prompt beyond the token limit, or a word the built-in model does not know."""


class ModelError(EditingError):
    """Unknown model id, missing weights, an unsafe file format or a gated
    repository."""


class ResourceError(EditingError):
    """Out of memory or disk; the message names what did not fit and the setting to
    lower."""


class DoubtWarning(UserWarning):
    """A doubt about what was asked for, in a line for people."""


class DivergedError(EditingError):
    """NaN or Inf in the latents; the field is the layer, the message names the step."""


def _in_one_line(text: str, limit: int) -> str:
    """Return text fit to be shown: without what a terminal would act on, and with its
    middle cut if long."""
    line = " ".join(text.split())
    printable = "".join(c if c.isprintable() else "\ufffd" for c in line)
    if len(printable) <= limit:
        return printable
    tail = limit // 3
    head = limit - tail - 5
    return f"{printable[:head]} ... {printable[-tail:]}"


def suggest(word: str, allowed: Iterable[str]) -> str:
    """List the allowed names, after the nearest one: `Did you mean 'a'? Choose from a,
    b.`"""
    names = list(allowed)
    near = get_close_matches(word[:_LISTED], names, n=1)
    listed = textwrap.shorten(", ".join(names), _LISTED, placeholder=" ...")
    choice = f"Choose from {listed.removesuffix('.')}."
    if not near:
        return choice
    return f"Did you mean {near[0]!r}? {choice}"


def from_validation(
    error: ValidationError, model: type[BaseModel], prefix: str = ""
) -> RequestError:
    """Turn pydantic's first complaint into a RequestError that names the field by its
    dotted path.

    The model that was validated knows the allowed names and ranges; the prefix, such as
    `params.`, is put before the path.
    """
    first = error.errors(include_url=False)[0]
    here: type[BaseModel] | None = model
    parent = model  # of the last field
    field = None
    place: list[str] = []
    for key in first["loc"]:
        if isinstance(key, str):
            # pydantic's own words for types, such as `constrained-str`, are left out
            if here is None:
                continue
            parent = here
            fields = here.model_fields.items()
            named = (info for name, info in fields if key == (info.alias or name))
            field = next(named, None)
            here = _model_in(field.annotation) if field else None
        # A colon ends the field in an error line, so keys that have one are shown
        # without it.
        place.append(str(key).replace(":", "\ufffd"))
    path = prefix + ".".join(place)
    said = _explain(first, field, parent)
    if first["type"] == "extra_forbidden":
        said = instead(path) or said
    return RequestError(path.strip(".") or "project.json", said)


def _explain(
    detail: ErrorDetails, field: FieldInfo | None, model: type[BaseModel]
) -> str:
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f"Unknown key. {suggest(str(detail['loc'][-1]), model.model_fields)}"
    if kind == "missing":
        return "This key is required. Add it."
    if kind == "too_long":
        most = context["max_length"]
        got = context["actual_length"]
        return f"At most {most} entries are allowed, got {got}."
    if kind == "string_too_long":
        most = context["max_length"]
        return f"{len(detail['input'])} characters are too many. Shorten it to {most}."
    if kind == "value_error":
        reason = str(context.get("error"))
        if not reason.startswith("expected "):
            return f"{reason[:1].upper()}{reason[1:].removesuffix('.')}."
        expected = reason.removeprefix("expected ")
    elif kind == "literal_error":
        expected = context["expected"]
    elif kind in _NUMBERS:
        expected = _number(field)
    else:
        expected = _NOUNS.get(kind, "another value")
    return f"Expected {expected}, got {shorten(detail['input'])}."


def _number(field: FieldInfo | None) -> str:
    """Say which number a field, or an entry of its list, should have been: `a whole
    number from 0 to 9`."""
    if field is None:
        return "a number"
    # `list[Annotated[int, Field(ge=0)]] | None` carries limits in its arguments.
    kinds = [field.annotation]
    for kind in kinds:
        kinds += get_args(kind)
    limits = list(field.metadata)
    for kind in kinds:
        for info in getattr(kind, "__metadata__", ()):
            limits += getattr(info, "metadata", ())
    whole = any(int in (kind, getattr(kind, "__origin__", None)) for kind in kinds)
    noun = "a whole number" if whole else "a number"
    low = [limit.ge for limit in limits if hasattr(limit, "ge")]
    high = [limit.le for limit in limits if hasattr(limit, "le")]
    above = [limit.gt for limit in limits if hasattr(limit, "gt")]
    if above and high:
        return f"{noun} above {above[0]}, at most {high[0]}"
    if not low:
        return noun
    return (
        f"{noun} from {low[0]} to {high[0]}" if high else f"{noun} of at least {low[0]}"
    )


def shorten(value: object, limit: int = 60) -> str:
    """Show a value in an error message: its repr, cut to `limit` characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or lists nested as deep
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Find the model in an annotation, such as that of a list of models."""
    from pydantic import BaseModel  # slow to import, and needed for errors alone

    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None
