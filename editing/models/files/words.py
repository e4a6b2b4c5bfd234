"""The vocabulary of a small model. Loads no torch, so that unknown words are refused
before loading it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from regrain.editing.errors import ModelError, PromptError, shorten
from regrain.editing.media.lazy_frames import Numbers
from regrain.editing.models.files.configs import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ALIKE = 0.72  # how far they must be spelt alike, 0..1


Words = frozenset[str] | None
"""The words that a model knows, lower case; None if it takes any."""


Span = tuple[int, int]
"""Characters [start, stop) of a text."""


class Unknown(NamedTuple):
    """A word that a model does not know, lower case, and the nearest it knows, best
    first."""

    word: str
    near: tuple[str, ...]


def read_groups(folder: Path) -> dict[str, tuple[str, ...]] | None:
    """Read the words and phrases of words.json, by group; None without that file.

    The file is a JSON object of lists by title, or one list, which has the title
    "Words".

    Raises:
        ModelError: The file is neither.
    """
    path = folder / "words.json"
    if not os.path.lexists(path):
        return None
    read = read_json(path, path.name)
    listed = read if isinstance(read, dict) else {"Words": read}
    groups = {}
    for title, phrases in listed.items():
        if not isinstance(phrases, list) or not all(
            isinstance(one, str) for one in phrases
        ):
            raise ModelError(
                "model",
                f"{path.name} is not a JSON list of words. Download the model again.",
            )
        groups[title] = tuple(phrase.lower() for phrase in phrases)
    return groups


def unknown_words(words: Words, text: str) -> list[Unknown]:
    """Return the words of a text that are not in `words`, each once, ignoring case and
    punctuation.

    `words` are lower case; None knows every word.
    """
    if words is None:
        return []
    found = []
    for word in dict.fromkeys(split_words(text)):
        if word not in words:  # somebody may have meant another; for "man", not "an"
            alike = sorted(known for known in words if known[0] == word[0])
            near = get_close_matches(word, alike, cutoff=_ALIKE)
            found.append(Unknown(word, tuple(near)))
    return found


def split_words(text: str) -> list[str]:
    """Split a text into its words, lower case."""
    return re.findall(r"\w+", text.lower())


def with_article(noun: str) -> str:
    """Put "a" or "an" before the words of a thing."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def check_words(words: Words, text: str, field: str = "prompt") -> None:
    """Check that all words of a text are in `words`, ignoring case and punctuation.

    Raises:
        PromptError: One is not; names the first such word and the nearest known ones.
    """
    for word, near in unknown_words(words, text):
        known = sorted(words or ())
        hint = f"Use {', '.join(known[:8])} ..."
        if near:
            hint = f"Did you mean {' or '.join(near)}?"
        raise PromptError(
            field, f'Unknown word "{word}"; this model knows {len(known)} words. {hint}'
        )


class Tokens(NamedTuple):
    """Tokens of prompts, padded to the limit of a model.

    Attributes:
        ids, offsets: Of each prompt, the number of each token and its characters.
        mask: Of each prompt, 1 for a token and 0 for padding.
    """

    ids: tuple[Numbers, ...]
    offsets: tuple[tuple[Span, ...], ...]
    mask: Sequence[Sequence[int]]

    @property
    def lengths(self) -> Numbers:
        """How many tokens each prompt has."""
        return tuple(sum(row) for row in self.mask)


def tokenise(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    fields: Sequence[str],
    words: Words,
    limit: int,
    marks: int = 2,
) -> Tokens:
    """Tokenise prompts, padded to the limit.

    Raises:
        PromptError: See `check_words` and `check_length`; the field is that of
            `fields`.
    """
    fields = fields or ["prompt"] * len(prompts)
    for prompt, name in zip(prompts, fields, strict=True):
        check_words(words, prompt, name)
    found = tokenizer(
        [*prompts], padding="max_length", max_length=limit, return_offsets_mapping=True
    )
    spans = found["offset_mapping"]
    for prompt, name, row in zip(prompts, fields, spans, strict=True):
        check_length(prompt, name, row, limit, marks)
    ids = tuple(tuple(row) for row in found["input_ids"])
    offsets = tuple(tuple(tuple(pair) for pair in row) for row in spans)
    return Tokens(ids, offsets, found["attention_mask"])


def check_length(
    prompt: str,
    field: str,
    offsets: Sequence[Span],
    limit: int,
    marks: int = 2,
) -> None:
    """Check that the tokens of a prompt fit.

    Args:
        prompt, field: The text, and the field to name in the error.
        offsets: The characters [start, stop) of each token, start and end token
            included.
        limit: Most tokens, those included.
        marks: How many such tokens there are.

    Raises:
        PromptError: They do not; names the first word that does not fit.
    """
    if len(offsets) <= limit:
        return
    start, _ = offsets[limit - 1]  # the end token needs the last place
    cut = next(word for word in re.finditer(r"\S+", prompt) if word.end() > start)
    word = f"{shorten(cut[0])} (character {cut.start() + 1})"
    raise PromptError(
        field,
        f"The prompt has {len(offsets) - marks} tokens, but at most "
        f"{limit - marks} fit. Shorten it; {word} is the first word that does not "
        "fit.",
    )
