"""The vocabulary of a small model. Loads no torch, so that unknown words are refused before loading it."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path

from editing.backbones.configs import read_json
from editing.errors import ModelError, PromptError


def read_words(folder: Path) -> frozenset[str] | None:
    """Read the words that a model folder lists in words.json, lower case; None without that file.

    Raises:
        ModelError: The file is not a JSON list of words.
    """
    path = folder / "words.json"
    if not os.path.lexists(path):
        return None
    words = read_json(path, path.name)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ModelError("model", f"{path.name} is not a JSON list of words. Download the model again.")
    return frozenset(word.lower() for word in words)


def check_words(words: frozenset[str] | None, text: str, field: str = "prompt") -> None:
    """Check that all words of a text are in `words`, ignoring case and punctuation.

    Raises:
        PromptError: One is not; names the first such word and the nearest known ones.
    """
    for word in re.findall(r"\w+", text.lower()) if words is not None else ():
        if word not in words:
            near = get_close_matches(word, sorted(words), n=3, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"Use {', '.join(sorted(words)[:8])} ..."
            raise PromptError(field, f'Unknown word "{word}"; this model knows {len(words)} words. {hint}')
