"""CLIP's tokens, which follow from its merges alone: bytes, bytes that end a word, merges, and two marks."""

from __future__ import annotations

from functools import cache

from regrain.editing.storage.local_models import ASSETS

CLIP = ASSETS / "checkpoints" / "clip"
START, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"


@cache
def read_merges() -> list[tuple[str, str]]:
    """Pairs of tokens that become one, in their order."""
    lines = (CLIP / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    pairs = (line.split() for line in lines if line)
    return [(first, second) for first, second in pairs]


@cache
def read_vocabulary() -> dict[str, int]:
    """The number of every token."""
    letters = _letters()
    merged = ["".join(pair) for pair in read_merges()]
    tokens = [*letters, *(letter + _WORD_END for letter in letters), *merged, START, END]
    return {token: number for number, token in enumerate(tokens)}


def _letters() -> list[str]:
    """A letter for every byte, as GPT-2 has them: itself if it can be printed, else one from 256 on."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, printed), *(chr(256 + i) for i in range(256 - len(printed)))]
