"""Parts that the command lines share: options, parsing of settings, exit codes,
warnings and error lines."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, suppress
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from regrain.editing.boundary import shortage
from regrain.editing.errors import DoubtWarning, EditingError, RequestError, shorten
from regrain.editing.media.coco import WholeMasks
from regrain.editing.media.labels import Labels, understood
from regrain.editing.removed import instead
from regrain.editing.storage.folders import is_of_disk
from regrain.editing.storage.packages import problems
from regrain.editing.storage.texts import Content

# Typer brings its own copy of click in some versions and not in others; this is
# ClickException in all.
_UsageError: Any = typer.BadParameter.__mro__[2]
_STOPPED = 130
_LONGEST = 180  # characters of an error about arguments
# Phrases of the library that checks arguments, and ours.
_PHRASES = (
    (r"^Invalid value for [^:]{1,100}: (?=Input should be )", ""),
    (r"Input should be a valid integer\b.*", "Expected a whole number"),
    (r"Input should be a valid number\b.*", "Expected a number"),
    (r"Input should be less than or equal to ", "Expected at most "),
    (r"Input should be greater than or equal to ", "Expected at least "),
    (r"Input should be ", "Expected "),
)
# Options that empty words are for, or that empty take off what a project has.
_MAY_BE_EMPTY = (
    "--prompt",
    "--source-prompt",
    "--adapter",
    "--motion",
    "--picture-adapter",
    "--reader",
    "--prediction",
)
log = logging.getLogger(__name__)

# Options of every command that opens a clip.
ClipPath = Annotated[Path, typer.Argument(help="Video file or folder of images.")]
Start = Annotated[int, typer.Option(help="First frame used.")]
Stride = Annotated[int, typer.Option(help="Use every stride-th frame.")]
Frames = Annotated[
    int | None, typer.Option(help="Number of frames used; all by default.")
]

Deinterlace = Annotated[
    bool,
    typer.Option(
        "--deinterlace", help="Make whole frames of those woven of two fields."
    ),
]


def call(app: typer.Typer, name: str, arguments: list[str] | None = None) -> int:
    """Run one command and print an error as one line on stderr.

    Arguments come without the program's name, which the help shows; None takes those of
    the process. The exit code is 0, 2 for an error that the user can fix, 130 when
    stopped.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be Unicode
        sys.stdout.reconfigure(errors="backslashreplace")
    with redirect_stderr(_going_on(sys.stderr)), warnings.catch_warnings():
        warnings.showwarning = _show
        return _called(app, name, arguments)


def _show(message: Warning | str, category: type[Warning], *_: object) -> None:
    """Print a warning of ours as a line; those of libraries are about their insides."""
    if issubclass(category, DoubtWarning):
        warn([str(message)])
    else:
        log.debug("%s: %s", category.__name__, message)


class _Device(io.FileIO):
    """A device for which a full disk, or nobody who reads it, is no end of the work."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            super().write(data)
        return len(data)


def _going_on(stream: Any) -> Any:
    """Return a stream that prints to where another does, by a `_Device`; that one itself
    if it is no file."""
    try:
        device = _Device(stream.fileno(), "w", closefd=False)
    except (AttributeError, OSError):
        return stream
    how = (stream.encoding, "backslashreplace")
    return io.TextIOWrapper(io.BufferedWriter(device), *how, line_buffering=True)


def _called(app: typer.Typer, name: str, arguments: list[str] | None) -> int:
    """Run one command, and print what is wrong; the exit code as of `call`."""
    try:
        _check_filled(sys.argv[1:] if arguments is None else arguments)
        code = app(arguments, prog_name=name, standalone_mode=False) or 0
        if code == _STOPPED:  # as some versions of Typer answer Ctrl-C
            typer.echo("stopped", err=True)
        return code
    except EditingError as error:
        said = error
    except _UsageError as error:
        said = _explain_usage(error)
    except OSError as error:
        said = _explain_failed_file(error)
    except (ImportError, MemoryError, RuntimeError) as error:
        log.debug("a failure of the machine or of libraries", exc_info=True)
        said = _explain_machine(error)
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("stopped", err=True)
        return _STOPPED
    typer.echo(f"error: {said}", err=True)
    return 2


def _check_filled(arguments: Sequence[str]) -> None:
    """Refuse an empty argument by a RequestError: as a path, it would be the current
    folder."""
    for option, text in pairwise(["usage", *arguments]):
        given = text
        if text.startswith("--") and "=" in text:
            option, given = text.split("=", 1)
        if not given.strip() and option not in _MAY_BE_EMPTY:
            field = option if option.startswith("-") else "usage"
            said = "An empty text was given. Give a value."
            raise RequestError(field, said)


def _explain_machine(error: ImportError | MemoryError | RuntimeError) -> EditingError:
    """Say what a machine is short of, or an installation lacks; other errors are raised
    again."""
    if short := shortage(error):
        return EditingError("machine", short)
    if not isinstance(error, ImportError):
        raise error
    problem = next(problems(), f"{error.name or 'A library'} cannot be imported.")
    said = f"{problem} Run `pip install --upgrade regrain`."
    return EditingError("installation", said)


def warn(said: Iterable[str]) -> None:
    """Print warnings on stderr."""
    for warning in said:
        typer.echo(f"warning: {warning}", err=True)


def say_masks(masks: Labels | WholeMasks | None) -> None:
    """Print what was understood of masks that were read."""
    if masks is not None:
        typer.echo(f"masks read: {understood(masks)}")


def parse_settings(settings: Sequence[str]) -> Content:
    """Parse settings `KEY=VALUE`, the value JSON or else text; others are a
    RequestError about `--set`."""
    result: Content = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        key = name.strip()
        if not equals or not key:
            raise RequestError(
                "--set", f"Invalid setting {shorten(setting)}: expected KEY=VALUE."
            )
        try:
            result[key] = json.loads(value)
        except (ValueError, RecursionError):
            result[key] = value
    return result


def _explain_usage(error: Any) -> EditingError:
    facts = vars(error)
    parameter = facts.get("param")
    field = parameter.opts[0] if parameter else facts.get("option_name") or "usage"
    said = " ".join(error.format_message().split()).rstrip(".")
    unknown = re.search(r"No such (?:option|command):? '?(?P<name>[\w-]+)", said)
    if unknown and (left := instead(unknown["name"])):
        return EditingError(unknown["name"], left)
    for phrase, plain in _PHRASES:
        said = re.sub(phrase, plain, said)
    short = textwrap.shorten(said, _LONGEST)
    return EditingError(field, f"{short}. See --help.")


def _explain_failed_file(error: OSError) -> EditingError:
    if short := shortage(error):
        return EditingError("machine", short)
    if is_of_disk(error):
        return EditingError(
            "disk",
            f"It cannot be written ({error.strerror}). Free some space, or choose "
            "another folder.",
        )
    name = "the output"
    if isinstance(error.filename, str | bytes):
        name = Path(os.fsdecode(error.filename)).name
    reason = error.strerror or "unknown reason"
    return EditingError(
        "file",
        f"{shorten(name)} cannot be used: {reason}. Use another file or folder.",
    )
