"""Control networks as users write them: kind of input, model and weight."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

KINDS = ("canny", "depth", "pose")
_MAX_WEIGHT = 2.0
_MAX_TEXT = 2000
_WEIGHT = r"(?=\.?\d)\d{0,6}(?:\.\d{1,20})?"


class ControlSpec(NamedTuple):
    """One control network to use.

    Attributes:
        kind: Its input, a key of `KINDS`.
        model: Hub id, name in $REGRAIN_MODELS or folder.
        weight: Factor on its output, 0..2.
    """

    kind: str
    model: str
    weight: float = 1.0


def read_control(given: object) -> tuple[ControlSpec, ...]:
    """Read control networks: `KIND=MODEL@WEIGHT, ...`, where the weight may be left out, or JSON.

    Args:
        given: The text; or a list of such texts, of [kind, model, weight], or of objects with these names.

    Raises:
        ValueError: The form or the kind is unknown, or a weight is out of range.
    """
    if given is not None and not isinstance(given, str | list | tuple):
        raise ValueError(_EXPECTED)
    if isinstance(given, str) and len(given) > _MAX_TEXT:
        raise ValueError(f"expected at most {_MAX_TEXT} characters")
    parts = given.split(",") if isinstance(given, str) else given or ()
    return tuple(_read_spec(part) for part in parts if not isinstance(part, str) or part.strip())


def write_control(specs: Iterable[ControlSpec]) -> str:
    """Write control networks as the text that `read_control` reads."""
    return ",".join(f"{kind}={model}" + f"@{weight:g}" * (weight != 1) for kind, model, weight in specs)


def _read_spec(part: object) -> ControlSpec:
    if isinstance(part, str):
        kind, _, rest = part[:_MAX_TEXT].partition("=")
        model, at, weight = (piece.strip() for piece in rest.partition("@"))
        known = re.fullmatch(_WEIGHT, weight, re.ASCII) if at else True
        part = (kind.strip(), model, float(weight) if at else 1.0) if known else None
    elif isinstance(part, Mapping):
        part = tuple(part.values()) if tuple(part) == ControlSpec._fields[: len(part)] else None
    if not isinstance(part, list | tuple) or len(part) not in (2, 3):
        raise ValueError(_EXPECTED)
    kind, model, weight = (*part, 1.0)[:3]
    if kind not in KINDS or not isinstance(model, str) or not model.strip() or {",", "@"} & set(model):
        raise ValueError(_EXPECTED)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= _MAX_WEIGHT:
        raise ValueError(f"expected a weight from 0 to {_MAX_WEIGHT:g}")
    return ControlSpec(kind, model, float(weight))


_EXPECTED = "expected KIND=MODEL@WEIGHT with a kind of canny, depth or pose"
