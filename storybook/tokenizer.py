"""A CLIPTokenizer in which every word of the world is one token."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from transformers import CLIPTokenizer

MAX_TOKENS = 40  # of a caption


def byte_alphabet() -> list[str]:
    """Return the printable stand-ins of the 256 bytes that byte-level BPE uses (Radford
    et al. 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = range(256, 512 - len(printable))
    return [chr(number) for number in (*printable, *others)]


def merges_for(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return merge rules that leave each word a single token.

    Rules are added in order, so a later rule never changes how an earlier word is
    merged; a word already covered by earlier rules adds none.
    """
    rules: list[tuple[str, str]] = []
    for word in words:
        symbols = [*word[:-1], word[-1] + "</w>"]
        _merge(symbols, rules)
        while len(symbols) > 1:
            first, second = symbols[:2]
            rules.append((first, second))
            symbols[:2] = [first + second]
    return rules


def _merge(symbols: list[str], rules: list[tuple[str, str]]) -> None:
    """Join neighbouring symbols as byte-pair encoding does: by the earliest rule, as
    long as one fits."""
    while True:
        pairs = list(itertools.pairwise(symbols))
        fitting = [rule for rule in rules if rule in pairs]
        if not fitting:
            return
        at = pairs.index(fitting[0])
        symbols[at : at + 2] = ["".join(fitting[0])]


def build(words: tuple[str, ...], folder: Path) -> CLIPTokenizer:
    """Write the tokenizer's files to `folder` and load it."""
    rules = merges_for(words)
    start, end = "<|startoftext|>", "<|endoftext|>"
    alphabet = byte_alphabet()
    tokens = [*alphabet, *(c + "</w>" for c in alphabet)]
    tokens += ["".join(rule) for rule in rules]
    tokens += [start, end]
    # two rules may agree
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(rule) for rule in rules)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_TOKENS,
        "do_lower_case": True,
        "bos_token": start,
        "eos_token": end,
        "pad_token": end,
        "unk_token": end,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    return CLIPTokenizer.from_pretrained(folder)
