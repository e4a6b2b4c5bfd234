"""A CLIPTokenizer in which every word of the world is one token."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import CLIPTokenizer

MAX_TOKENS = 40  # of a caption


def byte_alphabet() -> list[str]:
    """The printable stand-ins of the 256 bytes that byte-level BPE uses (Radford et al. 2019)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def merges_for(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Merge rules that leave each word a single token.

    Rules are added in order, so a later rule never changes how an earlier word is merged; a word already
    covered by earlier rules adds none.
    """
    rules: list[tuple[str, str]] = []
    for word in words:
        symbols = [*word[:-1], word[-1] + "</w>"]
        while True:
            pairs = [
                (rules.index(p), i)
                for i, p in enumerate(zip(symbols, symbols[1:], strict=False))
                if p in rules
            ]
            if not pairs:
                break
            at = min(pairs)[1]
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        while len(symbols) > 1:
            rules.append((symbols[0], symbols[1]))
            symbols[:2] = [symbols[0] + symbols[1]]
    return rules


def build(words: tuple[str, ...], folder: Path) -> CLIPTokenizer:
    """Write the tokenizer's files to `folder` and load it."""
    rules = merges_for(words)
    alphabet = byte_alphabet()
    tokens = dict.fromkeys(
        [*alphabet, *[c + "</w>" for c in alphabet], *["".join(r) for r in rules]]
    )
    vocab = {t: i for i, t in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(" ".join(r) for r in rules) + "\n"
    )
    end = "<|endoftext|>"
    config = {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": MAX_TOKENS, "do_lower_case": True,
        "bos_token": "<|startoftext|>", "eos_token": end, "pad_token": end, "unk_token": end,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    return CLIPTokenizer.from_pretrained(folder)
