"""The page's words for a request's fields and for errors."""

from __future__ import annotations

from regrain.editing.errors import EditingError
from regrain.editing.request.edit import Edit
from regrain.editing.request.fields import declared
from regrain.editing.request.region import Region

# The page's names of a request's and of a region's fields.
_FIELDS = {name: one.title for name, one in declared(Edit).items() if one.title}
_KEYS = {name: one.title for name, one in declared(Region).items() if one.title}


def place(field: str) -> str:
    """Return the page's name of a request's field: `regions.left.prompt` is "Left:
    Make it"."""
    first, *rest = field.split(".")
    if first == "regions" and len(rest) > 1:
        *names, key = rest
        name = ".".join(names)
        return capital(f"{name}: {_KEYS.get(key, key)}")
    if first == "params":
        return capital(".".join(rest).replace("_", " "))
    usual = first if first == "clip" else field
    return capital(_FIELDS.get(field, usual))


def capital(text: str) -> str:
    """Return the text with a large first letter."""
    return text[:1].upper() + text[1:]


def sentence(error: EditingError) -> str:
    """Say an error in one line: the page's name of the field, and what is wrong."""
    return f"{place(error.field)}: {error.message}"


def size(count: int) -> str:
    """Say a number of bytes in kB, MB or GB."""
    if count < 1e6:
        return f"{max(1, round(count / 1e3))} kB"
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def duration(seconds: float) -> str:
    """Say seconds, minutes or hours in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h"
