"""What command lines share: how settings are written, and how a command ends: exit code, line of error."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from typing import Any

import typer

from editing.errors import EditingError, RequestError, shorten

# Typer brings its own copy of click in some versions and not in others; this is ClickException in all.
_UsageError: Any = typer.BadParameter.__mro__[2]


def call(app: typer.Typer, name: str, arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        app: The commands.
        name: The program's, for the help.
        arguments: Without the program's name; None takes those of the process.

    Returns:
        Exit code: 0, 2 for an error that the user can fix, 130 when stopped.
    """
    try:
        return app(arguments, prog_name=name, standalone_mode=False) or 0
    except EditingError as error:
        typer.echo(f"error: {error}", err=True)
    except _UsageError as error:
        typer.echo(f"error: {_explain(error)}", err=True)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        typer.echo(f"error: {shorten(str(error.filename))}: the name is too long; choose a shorter", err=True)
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("stopped", err=True)
        return 130
    return 2


def parse_settings(settings: Sequence[str]) -> dict[str, object]:
    """Values by key of `KEY=VALUE` each; a value is JSON, or else text.

    Raises:
        RequestError: Another form.
    """
    result: dict[str, object] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise RequestError("--set", f"invalid setting {shorten(setting)}: expected KEY=VALUE.")
        try:
            result[key.strip()] = json.loads(value)
        except ValueError:
            result[key.strip()] = value
    return result


def _explain(error: Any) -> str:
    parameter = getattr(error, "param", None)
    names = [*getattr(parameter, "opts", ()), getattr(error, "option_name", None), "usage"]
    field = next(name for name in names if name)
    return f"{field}: {' '.join(error.format_message().split()).rstrip('.')}; see --help"
