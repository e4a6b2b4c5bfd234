"""Compose one prompt from the words of the regions. Text only; no model."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from editing.errors import RequestError, shorten

if TYPE_CHECKING:
    from editing.request import Region

MAX_TEXT = 2000  # characters of a prompt; models read 77 tokens


class Composed(NamedTuple):
    """The prompt a run uses, and per label the characters [start, stop) of the region's own words in it."""

    text: str
    spans: dict[int, tuple[int, int] | None]


def compose(source_prompt: str, prompt: str, regions: Sequence[Region]) -> Composed:
    """Compose one prompt from the words of the regions.

    An empty `prompt` becomes `source_prompt` with each region's source phrase replaced by its prompt. Whole
    words are matched, ignoring case: longer phrases first, and equal phrases to successive occurrences in
    the order of the regions. A region prompt without a match is appended.

    Returns:
        The text, and the position in it of each region's prompt, else of its source, else None.
    """
    exchange = not prompt.strip()
    text = source_prompt if exchange else prompt
    places = _find_places(text, _sought(exchange, regions))
    spans: dict[int, tuple[int, int] | None] = {region.label: None for region in regions}
    result, done = "", 0
    by_label = {region.label: region for region in regions}
    for label, (start, stop) in sorted(places.items(), key=lambda item: item[1]):
        words = (exchange and by_label[label].prompt.strip()) or text[start:stop]
        result += text[done:start]
        spans[label] = (len(result), len(result) + len(words))
        result, done = result + words, stop
    result += text[done:]
    for region in regions:
        words = region.prompt.strip()
        if words and region.label not in places:
            result = _with_separator(result)
            spans[region.label] = (len(result), len(result) + len(words))
            result += words
    return Composed(result, spans)


def missing_phrases(source_prompt: str, prompt: str, regions: Sequence[Region]) -> dict[int, str]:
    """The phrases, by label, that `compose` does not find, so that it appends the region's words."""
    exchange = not prompt.strip()
    text, sought = source_prompt if exchange else prompt, _sought(exchange, regions)
    places = _find_places(text, sought)
    asked = [region.label for region in regions if region.prompt.strip() and text.strip()]
    return {label: sought[label] for label in asked if sought[label].strip() and label not in places}


def _sought(exchange: bool, regions: Sequence[Region]) -> dict[int, str]:
    return {r.label: r.source if exchange else r.prompt.strip() or r.source for r in regions}


def _find_places(text: str, phrases: Mapping[int, str]) -> dict[int, tuple[int, int]]:
    """First free occurrence of each phrase, by label."""
    places: dict[int, tuple[int, int]] = {}
    for label, phrase in sorted(phrases.items(), key=lambda item: -len(item[1].split())):
        words = [re.escape(word) for word in phrase.split()]
        pattern = r"(?<!\w)" + r"\s+".join(words) + r"(?!\w)"
        for match in re.finditer(pattern, text, re.IGNORECASE) if words else ():
            if all(match.end() <= start or stop <= match.start() for start, stop in places.values()):
                places[label] = match.span()
                break
    return places


def _with_separator(text: str) -> str:
    text = text.rstrip()
    if not text:
        return ""
    return text + (" " if text[-1] in ".,;:!?" else ", ")


def clean(field: str, text: object, limit: int | None = MAX_TEXT) -> str:
    """A text that a person typed, without what cannot be seen, such as control and zero-width characters.

    Args:
        field: Where it was typed.
        text: The text; letters come back in Unicode's composed form (NFC).
        limit: Most characters; None for any number.

    Raises:
        RequestError: It is not text, or too long.
    """
    if not isinstance(text, str):
        raise RequestError(field, f"Expected text, got {shorten(text)}.")
    if limit is not None and len(text) > limit:
        raise RequestError(field, f"{len(text)} characters are too many. Shorten it to {limit}.")
    if text.isascii() and text.isprintable():
        return text
    return "".join(_seen(c) for c in unicodedata.normalize("NFC", text))


def _seen(character: str) -> str:
    """The character; a space for a tab or the like; nothing for what cannot be seen."""
    if character.isspace():
        return character if character == "\n" else " "
    return "" if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") else character
