"""Writes `ui/js/views.d.ts`, the types of what the server sends to the page, from
`ui/views/shown.py`: `python -m tests.style.declare`."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from regrain.ui.page.components import EVENTS
from regrain.ui.views import shown

FILE = Path(__file__).parents[2] / "ui" / "js" / "views.d.ts"
_HEAD = (
    "// What the server sends to the page. Written from `ui/views/shown.py` by\n"
    "// `python -m tests.style.declare`; change that file, not this one.\n"
)
_PLAIN = {str: "string", bool: "boolean", int: "number", float: "number"}
# A field in a class, with the comment in the lines before it or at its end.
_FIELD = re.compile(r"((?:^    # .*\n)*)^    (\w+): .*?(?:  # (.*))?$", re.MULTILINE)


def declared() -> str:
    """Return the text of the file."""
    classes = [of for of in vars(shown).values() if inspect.isclass(of)]
    views = [of for of in classes if issubclass(of, shown.View) and fields(of)]
    texts = [_interface(of) for of in views]
    lines = ["/** The events of components to which the server listens. */"]
    lines.append("export interface EventNames {")
    for component, events in EVENTS.items():
        lines.append(f"  {component}: {' | '.join(map(json.dumps, events))};")
    return "\n".join([_HEAD, *texts, *lines, "}", ""])


def _interface(cls: type) -> str:
    types = get_type_hints(cls)
    said = _comments(cls)
    lines = [_comment(inspect.getdoc(cls) or ""), f"export interface {cls.__name__} {{"]
    for field in fields(cls):
        if field.name in said:
            lines.append(f"  {_comment(said[field.name])}")
        of = _type(types[field.name])
        if field.default is MISSING:
            lines.append(f"  {field.name}: {of};")
        else:  # left out while it has its default
            lines.append(f"  {field.name}?: {of.removesuffix(' | null')};")
    return "\n".join([*lines, "}", ""])


def _comments(cls: type) -> dict[str, str]:
    """Return what comments say of the fields of a class."""
    said = {}
    for before, name, after in _FIELD.findall(inspect.getsource(cls)):
        lines = [line.strip(" #") for line in before.splitlines()]
        if after or lines:
            said[name] = after or " ".join(lines)
    return said


def _comment(text: str) -> str:
    words = " ".join(text.split())
    return f"/** {words[:1].upper()}{words[1:]} */"


def _type(of: Any) -> str:
    """Return a type as TypeScript writes it."""
    if of in (None, NoneType):
        return "null"
    if of in _PLAIN:
        return _PLAIN[of]
    if get_origin(of) in (Union, UnionType):
        return " | ".join(map(_type, get_args(of)))
    if get_origin(of) is Literal:
        return " | ".join(map(json.dumps, get_args(of)))
    if get_origin(of) is list:
        (part,) = get_args(of)
        return f"{_type(part)}[]"
    if get_origin(of) is tuple:
        return f"[{', '.join(map(_type, get_args(of)))}]"
    if get_origin(of) is dict:
        key, part = get_args(of)
        return f"Record<{_type(key)}, {_type(part)}>"
    return of.__name__


if __name__ == "__main__":
    FILE.write_text(declared(), encoding="utf-8")
