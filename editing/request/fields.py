"""Declarations of the fields of an edit and of a region: see `edit.Edit` and
`region.Region`.

Each field is declared once, by `declare`. From the declarations come the checks of
values, the keys of project.json and their JSON schema, options of the command line,
arguments of programs, names on the page, and what reports and the page's history keep.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from regrain.editing.errors import RequestError, from_validation, shorten
from regrain.editing.params.written import Range
from regrain.editing.storage.texts import Json

M = TypeVar("M", bound=BaseModel)
_KEY = "declared"  # of the metadata of a dataclass's field
_LIMITS = ("min_length", "max_length", "pattern")


class Strict(BaseModel):
    """Values as JSON has them: nothing is converted, and unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False
    )


@dataclass(frozen=True)
class Option:
    """An option of the command line that replaces a project's value.

    Attributes:
        help: What `--help` says.
        flag: Name of the option; by default that of the field.
        metavar: What `--help` shows in place of the value.
        key: Name in `override`; by default that of the field.
        many: Whether it may be given several times, although the field has one value.
    """

    help: str
    flag: str = ""
    metavar: str | None = None
    key: str = ""
    many: bool = False


@dataclass(frozen=True)
class Declared:
    """One field, with everything that is said of it.

    Attributes:
        default: Its default; `...` if it must be given.
        description: One sentence, for the JSON schema of project.json and for the API.
        limits: Of its values, as pydantic's `Field` takes them.
        name: Name of the field.
        type: Its type in JSON: a list where the value is a tuple.
        kind: A "text" is typed by a person, and invisible characters are dropped. A
            "file" is a path, written into project.json by its name. "weights" are names
            of models or of what is added to one.
        expected: What a value should be, for errors; by default made from type and
            limits.
        title: What the page calls the field.
        option: How command line and batch replace it; None if they do not.
        programs: Whether the API takes it; a text is the API's description of it.
        omit_empty: Whether an empty value is left out of project.json and reports.
    """

    default: Any
    description: str
    limits: Mapping[str, Any]
    name: str = ""
    type: Any = None
    kind: Literal["", "text", "file", "weights"] = ""
    expected: str = ""
    title: str = ""
    option: Option | None = None
    programs: bool | str = True
    omit_empty: bool = False

    @property
    def key(self) -> str:
        """Name of what replaces the field, in `override`."""
        return (self.option and self.option.key) or self.name

    @property
    def info(self) -> Any:
        """The field of a pydantic model."""
        return Field(
            _as_json(self.default), description=self.description, **self.limits
        )


def declare(
    default: object,
    description: str,
    span: Range | None = None,
    **said: Any,
) -> Any:
    """Declare a field of a frozen dataclass.

    Args:
        span: Least and greatest number.
        said: What `Declared` has, and further limits, as pydantic's `Field` takes them.
    """
    limits = {key: said.pop(key) for key in _LIMITS if key in said}
    if span:
        limits |= {"ge": span[0], "le": span[1]}
    metadata = {_KEY: Declared(default, description, limits, **said)}
    if default is ...:
        return dataclasses.field(metadata=metadata)
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@cache
def declared(owner: type) -> Mapping[str, Declared]:
    """Return the declared fields of a dataclass by name."""
    hints = get_type_hints(owner, include_extras=True)
    found = {}
    for field in dataclasses.fields(owner):
        one: Declared = field.metadata[_KEY]
        kind: Any = hints[field.name]
        if get_origin(kind) is tuple:
            kind = list[get_args(kind)[0]]
        elif get_origin(kind) is Mapping:
            kind = dict[str, Any]
        found[field.name] = dataclasses.replace(one, name=field.name, type=kind)
    return found


def model_of(
    owner: type, name: str, fields: Iterable[str], base: type[M] = Strict
) -> type[M]:
    """Make a pydantic model with some of the declared fields of a dataclass, as JSON
    has them."""
    chosen: Json = {
        key: (declared(owner)[key].type, declared(owner)[key].info) for key in fields
    }
    return create_model(name, __base__=base, **chosen)


@cache
def _checking(owner: type) -> type[Strict]:
    return model_of(owner, owner.__name__, declared(owner))


def check_declared(value: Any, owner: type, prefix: str = "") -> None:
    """Refuse a value of a declared dataclass whose fields are not as declared.

    Raises:
        RequestError: About the first such field, whose name comes after `prefix`.
    """
    plain = {name: _as_json(getattr(value, name)) for name in declared(owner)}
    try:
        _checking(owner).model_validate(plain)
    except ValidationError as error:
        name = str(error.errors(include_url=False, include_context=False)[0]["loc"][0])
        expected = declared(owner)[name].expected
        if not expected:
            raise from_validation(error, _checking(owner), prefix) from None
        raise RequestError(
            prefix + name, f"Expected {expected}, got {shorten(getattr(value, name))}."
        ) from None


def _as_json(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return value


def to_json(value: Any, owner: type) -> Json:
    """Return the declared fields of a value as project.json has them: files by name, no
    empty ones."""
    content = {}
    for one in declared(owner).values():
        part = getattr(value, one.name)
        if one.kind == "file":
            part = PurePath(part).name
        is_empty = part is None or part in ("", ())
        if not (is_empty and one.omit_empty):
            content[one.name] = _as_json(part)
    return content


def from_json(content: BaseModel, owner: type) -> Json:
    """Return the declared fields that a model has, with the values that a dataclass
    takes."""
    values = {}
    for name in declared(owner):
        if name in type(content).model_fields:
            value = getattr(content, name)
            values[name] = tuple(value) if isinstance(value, list) else value
    return values
