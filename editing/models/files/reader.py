"""How a model reads prompts, known without loading it: its words and its tokens. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regrain.editing.errors import ModelError, PromptError
from regrain.editing.models.files.configs import read_json
from regrain.editing.models.files.location import ModelLocation
from regrain.editing.models.files.words import Unknown, check_length, read_words, unknown_words
from regrain.editing.storage.local_models import ASSETS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CLIP = ASSETS / "checkpoints" / "clip"
START, END, _WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
# CLIP's: contractions, words, single digits, runs of other signs.
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_USUAL = 77  # most tokens of a prompt


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
        encoded = _tokenizer(self.folder).encode(text, add_special_tokens=False)
        return [(0, 0), *encoded.offsets, (0, 0)]


def open_reader(source: ModelLocation) -> Reader:
    """How the model at a place reads; what is not there yet, as a file or a hub id, reads as CLIP does.

    Raises:
        ModelError: Its list of words cannot be read.
    """
    folder = Path(source.location)
    if source.kind != "folder":
        return Reader(None, CLIP, _limit(CLIP))
    tokens = folder / "tokenizer"
    kinds = (("vocab.json", "merges.txt"), ("tokenizer.json",))
    if not any(all((tokens / name).is_file() for name in kind) for kind in kinds):
        tokens = CLIP
    encoder = _number(folder / "text_encoder" / "config.json", "max_position_embeddings")
    return Reader(read_words(folder), tokens, min(_limit(tokens), encoder))


def _limit(tokens: Path) -> int:
    return _number(tokens / "tokenizer_config.json", "model_max_length")


def _number(path: Path, key: str) -> int:
    """A number in a JSON file; CLIP's limit without it."""
    try:
        return int(read_json(path, path.name).get(key, _USUAL))
    except (ModelError, ValueError, TypeError, AttributeError):
        return _USUAL


@lru_cache(maxsize=4)
def _tokenizer(folder: Path) -> Tokenizer:
    """CLIP's tokenizer without transformers, whose import takes seconds."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    if (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer
    ends: dict[str, Any] = {"unk_token": END, "end_of_word_suffix": _WORD_END}
    if folder == CLIP:
        tokenizer = Tokenizer(BPE(read_vocabulary(), read_merges(), **ends))
    else:
        tokenizer = Tokenizer(
            BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"), **ends)
        )
    tokenizer.normalizer = normalizers.Sequence(  # type: ignore[assignment]
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    pieces = pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [pieces, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.add_special_tokens([START, END])
    return tokenizer


@cache
def read_merges() -> list[tuple[str, str]]:
    """CLIP's pairs of tokens that become one, in their order."""
    lines = (CLIP / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    pairs = (line.split() for line in lines if line)
    return [(first, second) for first, second in pairs]


@cache
def read_vocabulary() -> dict[str, int]:
    """CLIP's tokens and their numbers: bytes, bytes that end a word, merges, and two marks."""
    # A letter for every byte, as GPT-2 has them: itself if it can be printed, else one from 256 on.
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [*map(chr, printed), *(chr(256 + i) for i in range(256 - len(printed)))]
    merged = ["".join(pair) for pair in read_merges()]
    tokens = [*letters, *(letter + _WORD_END for letter in letters), *merged, START, END]
    return {token: number for number, token in enumerate(tokens)}
