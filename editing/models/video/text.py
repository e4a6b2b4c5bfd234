"""Prompts of a Wan model: umT5's vectors, kept on disk, so that its large encoder is loaded once a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.models.loading.words import check_length, check_words
from regrain.editing.storage import cache

TOKEN_LIMIT = 512  # Wan was trained on prompts padded to so many, and nothing masks the padding


@dataclass(frozen=True, eq=False)
class PromptReader:
    """Reads prompts.

    Attributes:
        tokenizer: Of transformers, which types none.
        load: Loads the encoder; it is released once the prompts at hand are encoded.
        identity: Identifies the encoder's weights.
        words: The words a small model knows; None for any.
    """

    tokenizer: Any
    load: Callable[[], nn.Module]
    identity: str
    words: frozenset[str] | None = None

    @classmethod
    def of(cls, folder: Path, tokenizer: Any, load: Callable[[], nn.Module], words: Any) -> PromptReader:
        """Of a folder with the encoder's weights, which are identified by their sizes and dates."""
        files = (file.stat() for file in sorted(folder.glob("*.safetensors")))
        return cls(tokenizer, load, repr([(file.st_size, file.st_mtime_ns) for file in files]), words)

    def check(self, prompts: Sequence[str], fields: Sequence[str]) -> Any:
        """Tokenise prompts; errors as `check_prompts` of a backbone."""
        for prompt, name in zip(prompts, fields, strict=True):
            check_words(self.words, prompt, name)
        tokens = self.tokenizer(
            list(prompts), padding="max_length", max_length=TOKEN_LIMIT, return_offsets_mapping=True
        )
        for prompt, name, offsets in zip(prompts, fields, tokens.offset_mapping, strict=True):
            check_length(prompt, name, offsets, TOKEN_LIMIT, marks=1)
        return tokens

    @torch.no_grad()
    def embed(
        self, prompts: Sequence[str], fields: Sequence[str] | None, device: torch.device
    ) -> PromptEmbedding:
        """Encode prompts, padded with zeros."""
        tokens = self.check(prompts, ["prompt"] * len(prompts) if fields is None else fields)
        lengths = tuple(map(sum, tokens.attention_mask))
        rows = [ids[:length] for ids, length in zip(tokens.input_ids, lengths, strict=True)]
        keys = [{"kind": "text", "model": self.identity, "device": device.type, "ids": ids} for ids in rows]
        found = [cache.load(key) for key in keys]
        encoder = self.load().to(device) if None in found else None
        vectors = []
        for key, ids, kept in zip(keys, rows, found, strict=True):
            if kept is None and encoder is not None:
                one = encoder(torch.tensor([ids], device=device)).last_hidden_state[0].float().cpu()
                kept = {"vectors": one.contiguous()}
                cache.store(key, kept)
            vectors.append(_padded(kept["vectors"]) if kept else torch.empty(0))
        offsets = tuple(tuple(map(tuple, row)) for row in tokens.offset_mapping)
        ids = tuple(map(tuple, tokens.input_ids))
        return PromptEmbedding(tuple(prompts), torch.stack(vectors).to(device), lengths, offsets, ids)


def _padded(vectors: Tensor) -> Tensor:
    return torch.cat([vectors, vectors.new_zeros(TOKEN_LIMIT - len(vectors), vectors.shape[1])])
