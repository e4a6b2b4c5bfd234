"""The closed vocabulary of a small model. Loads no torch: a word can be refused before the model is read."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from pathlib import Path

from editing.errors import ModelError, PromptError


def read_words(folder: Path) -> frozenset[str] | None:
    """The words a model folder lists in words.json, lower case; None if it lists none.

    Raises:
        ModelError: The file is no JSON list of words.
    """
    path = folder / "words.json"
    if not path.is_file():
        return None
    try:
        return frozenset(word.lower() for word in json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, AttributeError, TypeError) as error:
        raise ModelError("model", f"{path.name} is no JSON list of words; fetch the model again") from error


def check_words(words: frozenset[str] | None, text: str, field: str = "prompt") -> None:
    """Refuse a text with a word outside `words`; case and punctuation do not matter.

    Raises:
        PromptError: Names the first unknown word and the nearest known ones.
    """
    for word in re.findall(r"\w+", text.lower()) if words is not None else ():
        if word not in words:
            near = get_close_matches(word, sorted(words), n=3, cutoff=0.5)
            hint = f"nearest: {', '.join(near)}" if near else f"for example {', '.join(sorted(words)[:8])}"
            raise PromptError(field, f'unknown word "{word}"; this model knows {len(words)} words, {hint}')
