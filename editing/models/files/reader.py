"""The words and the tokens of a model's prompts, known without loading it. Loads no
torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, PromptError
from regrain.editing.models.files.facts import ModelFacts
from regrain.editing.models.files.words import (
    Span,
    Unknown,
    Words,
    check_length,
    unknown_words,
)
from regrain.editing.storage.local_models import ASSETS
from regrain.editing.storage.texts import Json

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

_MERGES = ASSETS / "checkpoints" / "clip" / "merges.txt"
_START, _END = "<|startoftext|>", "<|endoftext|>"
_ENDS: Json = {"unk_token": _END, "end_of_word_suffix": "</w>"}
# CLIP's: contractions, words, single digits, runs of other signs.
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
USUAL_LENGTH = 77  # most tokens of a prompt


@dataclass(frozen=True)
class Reader:
    """A model's reading of prompts.

    Attributes:
        words: All it knows, lower case; None if it takes any.
        folder: Of its tokenizer; None for CLIP's.
        limit: Most tokens of a prompt, start and end included.
    """

    words: Words
    folder: Path | None
    limit: int

    def unknown(self, text: str) -> list[Unknown]:
        """Return the words of a text that it does not know; see `unknown_words`."""
        return unknown_words(self.words, text)

    def count(self, text: str) -> int:
        """Count the tokens of a text, without start and end."""
        return len(self._offsets(text)) - 2

    def too_long(self, field: str, text: str) -> Iterator[PromptError]:
        """Yield the error of a text that does not fit; nothing if it does."""
        try:
            check_length(text, field, self._offsets(text), self.limit)
        except PromptError as error:
            yield error

    def _offsets(self, text: str) -> list[Span]:
        encoded = _tokenizer(self.folder).encode(text, add_special_tokens=False)
        return [(0, 0), *encoded.offsets, (0, 0)]


def open_reader(facts: ModelFacts) -> Reader:
    """Open the reader of a model; one that is a file or not downloaded yet reads as
    CLIP does.

    Raises:
        ModelError: Its list of words cannot be read.
    """
    if facts.source.kind != "folder":
        return Reader(None, None, USUAL_LENGTH)
    own = facts.folder / "tokenizer"
    whole = (own / "tokenizer.json").is_file()
    in_two = (own / "vocab.json").is_file() and (own / "merges.txt").is_file()
    limits = [USUAL_LENGTH]
    if whole or in_two:
        limits = [_number(facts, "tokenizer/tokenizer_config", "model_max_length")]
    limits.append(_number(facts, "text_encoder/config", "max_position_embeddings"))
    return Reader(facts.words, own if whole or in_two else None, min(limits))


def _number(facts: ModelFacts, name: str, key: str) -> int:
    """Read a number from a JSON file; without it, CLIP's limit."""
    try:
        return int(facts.glance(f"{name}.json").get(key, USUAL_LENGTH))
    except (ValueError, TypeError, OverflowError):
        return USUAL_LENGTH


@lru_cache(maxsize=4)
def _tokenizer(folder: Path | None) -> Tokenizer:
    """Build a folder's tokenizer, or CLIP's, as transformers does, whose import takes
    seconds.

    Raises:
        ModelError: Its files are damaged.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    if folder is None:
        return _clip_tokenizer(BPE(*clip_vocabulary(), **_ENDS))
    with boundary(
        "model",
        f"{folder.parent.name}/{folder.name} cannot be read. Download the model again.",
        ModelError,
    ):
        whole = folder / "tokenizer.json"
        if not whole.is_file():
            files = (str(folder / "vocab.json"), str(folder / "merges.txt"))
            return _clip_tokenizer(BPE.from_file(*files, **_ENDS))
        tokenizer = Tokenizer.from_file(str(whole))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer


def clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the numbers of CLIP's tokens and its merges, from which they follow.

    The tokens are the stand-ins of the 256 bytes, the same at the end of a word, what
    is merged, and the marks of start and end (Radford et al. 2021, authors' code).
    """
    from tokenizers.pre_tokenizers import ByteLevel

    lines = _MERGES.read_text(encoding="utf-8").splitlines()[1:]  # without the version
    merges = [(first, second) for first, second in map(str.split, lines)]
    letters = sorted(ByteLevel.alphabet())
    ending = [f"{letter}</w>" for letter in letters]
    tokens = [*letters, *ending, *map("".join, merges), _START, _END]
    return {token: number for number, token in enumerate(tokens)}, merges


def _clip_tokenizer(tokens: BPE) -> Tokenizer:
    """Build a tokenizer as CLIP's, whose files do not say how text is normalised and
    split."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

    tokenizer = Tokenizer(tokens)
    normalise = [
        normalizers.NFC(),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Lowercase(),
    ]
    split = [
        pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]
    tokenizer.normalizer = normalizers.Sequence(normalise)  # type: ignore[assignment]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)  # type: ignore[assignment]
    tokenizer.add_special_tokens([_START, _END])
    return tokenizer
