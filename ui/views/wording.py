"""The page's words for a request's fields and for errors."""

from __future__ import annotations

from regrain.editing.errors import EditingError

# The page's names of a request's fields.
_FIELDS = {
    "source_prompt": "The clip shows",
    "prompt": "It should show",
    "negative_prompt": "Avoid",
    "more_prompts": "It should show",
    "adapter": "Tuned model",
    "picture_adapter": "Picture adapter",
}
# And of a region's.
_KEYS = {
    "prompt": "Change to",
    "source": "Now",
    "negative": "Avoid",
    "picture": "Picture",
}


def place(field: str) -> str:
    """Return the page's name of a request's field: `regions.left.prompt` is "Left:
    Change to"."""
    first, *rest = field.split(".")
    if first == "regions" and len(rest) > 1:
        *names, key = rest
        name = ".".join(names)
        return capital(f"{name}: {_KEYS.get(key, key)}")
    if first == "params":
        return capital(".".join(rest).replace("_", " "))
    if first == "clip":
        return capital(_FIELDS.get(field, first))
    return capital(_FIELDS.get(field, field))


def capital(text: str) -> str:
    """Return the text with a large first letter."""
    return text[:1].upper() + text[1:]


def sentence(error: EditingError) -> str:
    """Say an error in one line: the page's name of the field, and what is wrong."""
    return f"{place(error.field)}: {error.message}"
