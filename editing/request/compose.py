"""Compose one prompt from the words of the regions. Text only; no model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from regrain.editing.request.region import Region


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


def compose_negatives(
    negative_prompt: str, regions: Sequence[Region]
) -> tuple[str, dict[int, tuple[int, int]]]:
    """The negative prompt and those of the regions, joined by commas; and by label where a region's is."""
    text, spans = negative_prompt, {}
    for region in filter(lambda region: region.negative, regions):
        text += ", " if text else ""
        spans[region.label] = (len(text), len(text) + len(region.negative))
        text += region.negative
    return text, spans


def missing_phrases(source_prompt: str, prompt: str, regions: Sequence[Region]) -> dict[int, str]:
    """The phrases, by label, that `compose` does not find, so that it appends the region's words."""
    exchange = not prompt.strip()
    text, sought = source_prompt if exchange else prompt, _sought(exchange, regions)
    places = _find_places(text, sought)
    asked = [region.label for region in regions if region.prompt.strip() and text.strip()]
    return {
        label: sought[label] for label in asked if sought[label].strip() and label not in places
    }


def _sought(exchange: bool, regions: Sequence[Region]) -> dict[int, str]:
    return {r.label: r.source if exchange else r.prompt.strip() or r.source for r in regions}


def _find_places(text: str, phrases: Mapping[int, str]) -> dict[int, tuple[int, int]]:
    """First free occurrence of each phrase, by label."""
    places: dict[int, tuple[int, int]] = {}
    for label, phrase in sorted(phrases.items(), key=lambda item: -len(item[1].split())):
        words = [re.escape(word) for word in phrase.split()]
        pattern = r"(?<!\w)" + r"\s+".join(words) + r"(?!\w)"
        for match in re.finditer(pattern, text, re.IGNORECASE) if words else ():
            if all(
                match.end() <= start or stop <= match.start() for start, stop in places.values()
            ):
                places[label] = match.span()
                break
    return places


def _with_separator(text: str) -> str:
    text = text.rstrip()
    if not text:
        return ""
    return text + (" " if text[-1] in ".,;:!?" else ", ")
