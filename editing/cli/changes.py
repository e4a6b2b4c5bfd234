"""Changes of a project's values: options of commands, made from the `Option` with
which a field of `Edit` is declared. They go to `override` by its key."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from types import EllipsisType
from typing import Annotated, Any, get_origin, get_type_hints

import typer

from regrain.editing.cli.commands import parse_settings
from regrain.editing.request.edit import Edit
from regrain.editing.request.fields import Declared, declared
from regrain.editing.storage.texts import Json

REPLACED: Mapping[str, Declared] = {
    one.key: one for one in declared(Edit).values() if one.option is not None
}
"""The fields that can be replaced, by the keys of `override`."""
_PARAMETER = "changes"  # of a command: what was given, by key


def edit_options(
    *keys: str | EllipsisType,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a decorator that gives a command options for these keys of `REPLACED`, in
    this order.

    `...` stands for all others. The command gets what was given as its argument
    `changes`.
    """
    others = [key for key in REPLACED if key not in keys]
    chosen: list[str] = []
    for key in keys:
        chosen += [key] if isinstance(key, str) else others

    def give(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def called(**arguments: Any) -> None:
            given = {key: arguments.pop(key) for key in chosen}
            command(**arguments, **{_PARAMETER: _changes(given)})

        hints = get_type_hints(command, include_extras=True)
        parameters = []  # with an option for each key in place of `changes`
        for name, parameter in inspect.signature(command).parameters.items():
            if name == _PARAMETER:
                parameters += [_parameter(key) for key in chosen]
            else:
                parameters.append(parameter.replace(annotation=hints[name]))
        signature = inspect.Signature(parameters)
        called.__signature__ = signature  # type: ignore[attr-defined]
        called.__annotations__ = {}  # the signature has them all
        return called

    return give


def _parameter(key: str) -> inspect.Parameter:
    one = REPLACED[key]
    option: Any = one.option
    shown = typer.Option(
        option.flag or f"--{one.name.replace('_', '-')}",
        metavar=option.metavar,
        help=option.help,
    )
    is_list = option.many or get_origin(one.type) in (list, dict)
    value = list[str] if is_list else one.type
    return inspect.Parameter(
        key,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[value | None, shown],
    )


def _changes(given: Mapping[str, Any]) -> Json:
    """Return what was given, settings `KEY=VALUE` as parameters."""
    changes = {key: value for key, value in given.items() if value not in (None, [])}
    for key, value in changes.items():
        if get_origin(REPLACED[key].type) is dict:
            changes[key] = parse_settings(value)
    return changes
