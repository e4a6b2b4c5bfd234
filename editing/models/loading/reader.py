"""How a model reads prompts, known without loading it: its words and its tokens. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regrain.editing.errors import ModelError, PromptError
from regrain.editing.models.loading.clip_tokens import CLIP, END, START, read_merges, read_vocabulary
from regrain.editing.models.loading.configs import read_json
from regrain.editing.models.loading.location import ModelLocation
from regrain.editing.models.loading.words import Unknown, check_length, read_words, unknown_words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# CLIP's: contractions, words, single digits, runs of other signs.
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclass(frozen=True)
class Reader:
    """How a model reads prompts.

    Attributes:
        words: All it knows, lower case; None if it takes any.
        folder: Of its tokenizer, or CLIP's.
        limit: Most tokens of a prompt, start and end included.
    """

    words: frozenset[str] | None
    folder: Path
    limit: int

    def unknown(self, text: str) -> list[Unknown]:
        """The words of a text that it does not know; see `unknown_words`."""
        return unknown_words(self.words, text)

    def count(self, text: str) -> int:
        """Number of tokens of a text, without start and end."""
        return len(self._offsets(text)) - 2

    def too_long(self, field: str, text: str) -> Iterator[PromptError]:
        """Why a text does not fit, if it does not."""
        try:
            check_length(text, field, self._offsets(text), self.limit)
        except PromptError as error:
            yield error

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        found = _tokenizer(self.folder).encode(text, add_special_tokens=False)
        return [(0, 0), *found.offsets, (0, 0)]


def open_reader(source: ModelLocation) -> Reader:
    """How the model at a place reads; what is not there yet, as a file or a hub id, reads as CLIP does.

    Raises:
        ModelError: Its list of words cannot be read.
    """
    folder = Path(source.location)
    if source.kind != "folder":
        return Reader(None, CLIP, _limit(CLIP))
    tokens = folder / "tokenizer"
    tokens = tokens if _has_tokens(tokens) else CLIP
    encoder = _number(folder / "text_encoder" / "config.json", "max_position_embeddings")
    return Reader(read_words(folder), tokens, min(_limit(tokens), encoder))


def _has_tokens(folder: Path) -> bool:
    both = all((folder / name).is_file() for name in ("vocab.json", "merges.txt"))
    return both or (folder / "tokenizer.json").is_file()


def _limit(tokens: Path) -> int:
    return _number(tokens / "tokenizer_config.json", "model_max_length")


def _number(path: Path, key: str, usual: int = 77) -> int:
    try:
        return int(read_json(path, path.name).get(key, usual))
    except (ModelError, ValueError, TypeError, AttributeError):
        return usual


@lru_cache(maxsize=4)
def _tokenizer(folder: Path) -> Tokenizer:
    """CLIP's tokenizer without transformers, whose import takes seconds."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    if (folder / "tokenizer.json").is_file():
        found = Tokenizer.from_file(str(folder / "tokenizer.json"))
        found.no_padding()
        found.no_truncation()
        return found
    ends: dict[str, Any] = {"unk_token": END, "end_of_word_suffix": "</w>"}
    if folder == CLIP:
        found = Tokenizer(BPE(read_vocabulary(), read_merges(), **ends))
    else:
        found = Tokenizer(BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"), **ends))
    found.normalizer = normalizers.Sequence(  # type: ignore[assignment]
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    found.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    found.add_special_tokens([START, END])
    return found
