"""Words of prompts, and the places of phrases among them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# As one character each: apostrophes, and hyphens.
_ONE_FORM = str.maketrans("\u2018\u2019\u02bc\u2010\u2011", "'''--")
_JOINED = r"[-'/\u2018\u2019\u02bc\u2010\u2011]|(?<=\d)[.,](?=\d)"
# Of symbols, such as arrows and emoji, each is a word.
WORD = rf"(?:\w+(?:(?:{_JOINED})\w+)*|[\u2190-\u2bff\U0001f000-\U0001faff])"
"""A pattern of one word, which hyphens, apostrophes and slashes do not end."""


class Word(NamedTuple):
    """A word of a prompt: lower case, without the punctuation around it, and its
    characters [start, stop)."""

    text: str
    start: int
    stop: int


def words(prompt: str) -> tuple[Word, ...]:
    """Split a prompt into the words that are compared: "A cat, on the hot-dog's mat."
    into a, cat, on, the, hot-dog's, mat."""
    return tuple(
        Word(match[0].casefold().translate(_ONE_FORM), *match.span())
        for match in re.finditer(WORD, prompt)
    )


def find_phrase(prompt: str, phrase: str) -> Iterator[tuple[int, int]]:
    """Yield the characters [start, stop) of every occurrence of a phrase, as whole
    words, ignoring case and punctuation."""
    found = words(prompt)
    wanted = [word.text for word in words(phrase)]
    for first in range(len(found) - len(wanted) + 1):
        run = found[first : first + len(wanted)]
        if wanted and [word.text for word in run] == wanted:
            yield run[0].start, run[-1].stop
