"""The error tree: everything a user can cause, and nothing else.

```
EditingError                     base; str(e) is one line fit to show a user
├─ RequestError (ValueError)     a value of the request, the project folder or the command line
│  ├─ ClipError                  unreadable, too short, too large
│  ├─ MaskError                  wrong frame count or size, empty region
│  └─ PromptError                beyond the token limit, word unknown to the built-in model
├─ ModelError                    unknown id, missing weights, unsafe file format, gated repository
├─ ResourceError                 out of memory or disk
└─ DivergedError                 NaN or Inf in latents
```

Bugs stay ordinary exceptions.
"""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeGuard, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails


class EditingError(Exception):
    """What a user can cause and mend.

    Attributes:
        field: What the error is about, as the user wrote it: `regions.0.strength`, `masks`, `--seed`.
        message: What was given, what is allowed, what to do; one line.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = " ".join(field.split())
        self.message = " ".join(message.split())

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
    """Out of memory or disk; the message states frames x size and the next setting to lower."""


class DivergedError(EditingError):
    """NaN or Inf in the latents; the field is the site, the message states the step."""


def suggest(word: str, allowed: Iterable[str]) -> str:
    """State the allowed names, the nearest one first asked about: `allowed: a, b; did you mean 'a'?`."""
    names = list(allowed)
    near = get_close_matches(word, names, n=1)
    return f"allowed: {', '.join(names)}" + (f"; did you mean '{near[0]}'?" if near else "")


def from_validation(error: ValidationError, model: type[BaseModel], prefix: str = "") -> RequestError:
    """Turn the first complaint of pydantic into a RequestError that names the field by its dotted path.

    Args:
        error: What `model.model_validate` raised.
        model: The model that was validated; lists the allowed names where a key is unknown.
        prefix: Put before the path, for example `params.`.
    """
    first = error.errors(include_url=False)[0]
    path = prefix + ".".join(str(part) for part in first["loc"])
    return RequestError(path or "project.json", _explain(first, model))


def _explain(detail: ErrorDetails, model: type[BaseModel]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            *parents, key = detail["loc"]
            allowed = suggest(str(key), _model_at(model, parents).model_fields)
            return f"unknown key; {allowed}; rename or remove it"
        case "missing":
            return "missing; this key is required, add it"
        case "value_error":
            reason = str(detail.get("ctx", {}).get("error"))
        case _:
            reason = detail["msg"][:1].lower() + detail["msg"][1:]
    return f"{shorten(detail['input'])} was given; {reason}; change the value"


def shorten(value: object, limit: int = 60) -> str:
    """Show a value in an error message: its repr, cut to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel]:
    for key in path:
        if isinstance(key, str):
            annotation = model.model_fields[key].annotation
            model = next(part for part in (annotation, *get_args(annotation)) if _is_model(part))
    return model


def _is_model(annotation: object) -> TypeGuard[type[BaseModel]]:
    return inspect.isclass(annotation) and hasattr(annotation, "model_fields")
