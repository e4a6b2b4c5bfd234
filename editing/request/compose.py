"""Compose one prompt from the words of the regions. Text only; no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from regrain.editing.models.files.words import Span
from regrain.editing.params.phrases import find_phrase
from regrain.editing.request.region import Region


class Composed(NamedTuple):
    """The prompt a run uses, and per label the characters [start, stop) of the region's
    own words in it.

    Attributes:
        missing: By label, the phrases that were not found, so that the region's words
            were appended.
    """

    text: str
    spans: dict[int, Span | None]
    missing: dict[int, str]


def describe(source_prompt: str, regions: Sequence[Region]) -> str:
    """Return what the clip shows: `source_prompt` or, if that is empty, what the regions
    are, or become where that is not said, joined by "and"."""
    if source_prompt.strip():
        return source_prompt
    return " and ".join(words for words in map(_own_words, regions) if words)


def _own_words(region: Region) -> str:
    return region.source.strip() or region.prompt.strip()


def compose(source_prompt: str, prompt: str, regions: Sequence[Region]) -> Composed:
    """Compose one prompt from the words of the regions.

    An empty `prompt` becomes what `describe` returns, with each region's phrase replaced
    by its prompt. Whole words are matched, ignoring case: longer phrases first, and
    equal phrases to successive occurrences in the order of the regions. A region prompt
    without a match is appended.

    Returns:
        The text, and the position in it of each region's prompt, else of its source,
        else None.
    """
    exchange = not prompt.strip()
    text = describe(source_prompt, regions) if exchange else prompt
    is_told = bool(source_prompt.strip())
    # What is to be found in the text.
    sought = {}
    for region in regions:
        sought[region.label] = region.source
        if not exchange:
            sought[region.label] = region.prompt.strip() or region.source
        elif not is_told:
            sought[region.label] = _own_words(region)
    places = _find_places(text, sought)
    missing = {}
    spans: dict[int, Span | None] = {region.label: None for region in regions}
    prompts = {region.label: region.prompt.strip() for region in regions}
    result = ""
    done = 0  # characters of the text
    for label, (start, stop) in sorted(places.items(), key=lambda item: item[1]):
        words = text[start:stop]
        if exchange and prompts[label]:
            words = prompts[label]
        result += text[done:start]
        spans[label] = _next_span(result, words)
        result += words
        done = stop
    result += text[done:]
    for label, words in prompts.items():
        if words and label not in places:
            if sought[label].strip():
                missing[label] = sought[label]
            result = result.rstrip()
            if result:
                result += " " if result[-1] in ".,;:!?" else ", "
            spans[label] = _next_span(result, words)
            result += words
    return Composed(result, spans, missing)


def _next_span(text: str, words: str) -> Span:
    """Return where words stand that are appended to a text."""
    return len(text), len(text) + len(words)


def compose_negatives(
    negative_prompt: str, regions: Sequence[Region]
) -> tuple[str, dict[int, Span]]:
    """Join the negative prompt and those of the regions by commas; and return by label
    where each stands."""
    text = negative_prompt
    spans = {}
    for region in regions:
        if region.negative:
            text += ", " if text else ""
            spans[region.label] = _next_span(text, region.negative)
            text += region.negative
    return text, spans


def _find_places(text: str, phrases: Mapping[int, str]) -> dict[int, Span]:
    """Return the first free occurrence of each phrase, by label."""
    places: dict[int, Span] = {}
    longest_first = sorted(phrases.items(), key=lambda item: -len(item[1].split()))
    for label, phrase in longest_first:
        for start, stop in find_phrase(text, phrase):
            taken = places.values()
            if all(stop <= begin or end <= start for begin, end in taken):
                places[label] = start, stop
                break
    return places
