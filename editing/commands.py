"""How a command line ends: an exit code, and one line about what went wrong."""

from __future__ import annotations

from typing import Any

import typer

from editing.errors import EditingError

# Typer brings its own copy of click in some versions and not in others; this is ClickException in all.
_UsageError: Any = typer.BadParameter.__mro__[2]


def call(app: typer.Typer, name: str, arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        app: The commands.
        name: The program's, for the help.
        arguments: Without the program's name; None takes those of the process.

    Returns:
        Exit code: 0, 2 for what the user can mend, 130 when stopped.
    """
    try:
        return app(arguments, prog_name=name, standalone_mode=False) or 0
    except EditingError as error:
        typer.echo(f"error: {error}", err=True)
    except _UsageError as error:
        typer.echo(f"error: {_explain(error)}", err=True)
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("stopped", err=True)
        return 130
    return 2


def _explain(error: Any) -> str:
    parameter = getattr(error, "param", None)
    names = [*getattr(parameter, "opts", ()), getattr(error, "option_name", None), "usage"]
    field = next(name for name in names if name)
    return f"{field}: {' '.join(error.format_message().split()).rstrip('.')}; see --help"
