"""The boundary between files from outside and libraries: every failure of a library
becomes our error."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from regrain.editing.errors import (
    EditingError,
    ModelError,
    RequestError,
    ResourceError,
    shorten,
)

log = logging.getLogger(__name__)

AnyPath = str | Path
"""A path, as people give it."""


# What libraries say where a machine is short of something, and what is said of it here.
_SHORT = {
    r"allocate memory|out of memory|failed to map segment": "Memory is full. "
    "Close other programs, or lower the size or the number of frames.",
    r"start new thread|temporarily unavailable": "No further thread can be started. "
    "Close other programs, or raise the limit (ulimit -u).",
    r"Too many open files": "Too many files are open. Raise the limit (ulimit -n).",
}


def shortage(error: BaseException | None) -> str:
    """Say what a machine is short of, if that is why something failed; else empty."""
    while error is not None:
        for pattern, said in _SHORT.items():
            if isinstance(error, MemoryError) or re.search(pattern, str(error)):
                return said
        error = error.__cause__ or error.__context__
    return ""


@contextmanager
def boundary(
    field: str, said: str, kind: type[EditingError] = RequestError
) -> Iterator[None]:
    """Turn every failure inside the block into an EditingError; errors that are ours
    already pass.

    Libraries fail in ways that nobody lists, so all exceptions are caught. Keep the
    block small: calls of a library, and no logic of ours whose bugs would hide here.

    Args:
        field: The field of the error.
        said: Its message: what is wrong, then what to do.
        kind: Its class.
    """
    try:
        yield
    except GeneratorExit:
        # first: at the end of Python our own classes may be gone already
        raise
    except EditingError:
        raise
    except MemoryError:
        raise ResourceError(
            field, "It does not fit into memory. Use a smaller one."
        ) from None
    except Exception as failure:
        if short := shortage(failure):
            raise ResourceError(field, short) from failure
        log.debug("%s: %s", field, said, exc_info=True)
        raise kind(field, said) from failure


@contextmanager
def looking_on(what: str, unseen: list[str]) -> Iterator[None]:
    """Keep what was made, whatever fails inside the block, which only looks at it; that
    is said in `unseen`. A full disk is still an error."""
    try:
        yield
    except OSError:
        raise
    except Exception as failure:
        unseen.append(f"There is no {what}, the edit is whole: {shorten(failure)}.")


def given_path(
    path: AnyPath, field: str, kind: type[EditingError] = RequestError
) -> Path:
    """Return a path that was given; an empty one, which would be the current folder, is
    refused."""
    if not str(path).strip():
        raise kind(field, "The path is empty. Give the path of a file or a folder.")
    return Path(path)


def check_link(
    path: Path, field: str, title: str, kind: type[EditingError] = ModelError
) -> None:
    """Refuse a link to nothing, as caches of the hub have them of which files were
    removed."""
    if os.path.islink(path) and not os.path.exists(path):
        raise kind(field, f"{title} is a link to nothing. Download it again.")


def check_regular(
    path: Path, field: str, kind: type[EditingError], title: str = ""
) -> None:
    """Refuse what is missing or no regular file: a pipe would wait for ever, and a
    device never ends. It is named by its title, or as the file is."""
    title = title or shorten(path.name)
    check_link(path, field, title, kind)
    with boundary(field, f"{title} cannot be opened. Use another file.", kind):
        if path.is_file():
            return
        exists = path.exists()
    said = "is not an ordinary file" if exists else "does not exist"
    then = "Download it again" if kind is ModelError else "Use another file"
    raise kind(field, f"{title} {said}. {then}.")
