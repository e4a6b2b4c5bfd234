"""Prompts of a Wan model: umT5's vectors, kept on disk, so that its large encoder is
loaded once a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.models.files.words import token_facts, tokenise
from regrain.editing.storage import cache

# Wan was trained on prompts padded to so many, and nothing masks the padding
TOKEN_LIMIT = 512


@dataclass(frozen=True, eq=False)
class PromptReader:
    """Reads prompts.

    Attributes:
        load: Loads the encoder; it is released once the prompts at hand are encoded.
        identity: Identifies the encoder's weights, by the sizes and dates of its files.
        words: The words a small model knows; None for any.
    """

    tokenizer: Any  # of transformers, which types none
    load: Callable[[], nn.Module]
    identity: str
    words: frozenset[str] | None

    def check(self, prompts: Sequence[str], fields: Sequence[str]) -> Any:
        """Tokenise prompts; errors as `check_prompts` of a backbone."""
        return tokenise(
            self.tokenizer, prompts, fields, self.words, TOKEN_LIMIT, marks=1
        )

    @torch.no_grad()
    def embed(
        self, prompts: Sequence[str], fields: Sequence[str] | None, device: torch.device
    ) -> PromptEmbedding:
        """Encode prompts, padded with zeros."""
        if fields is None:
            fields = ["prompt"] * len(prompts)
        tokens = self.check(prompts, fields)
        lengths, offsets, ids = token_facts(tokens)
        encoder = None
        vectors = []
        for row, length in zip(tokens.input_ids, lengths, strict=True):
            own = row[:length]  # without padding
            key = {
                "kind": "text",
                "model": self.identity,
                "device": device.type,
                "ids": own,
            }
            kept = cache.load(key)
            if kept is None:
                encoder = encoder or self.load().to(device)
                kept = {"vectors": _encoded(encoder, own, device)}
                cache.store(key, kept)
            vectors.append(F.pad(kept["vectors"], (0, 0, 0, TOKEN_LIMIT - length)))
        padded = torch.stack(vectors).to(device)
        return PromptEmbedding(tuple(prompts), padded, lengths, offsets, ids)


def _encoded(
    encoder: nn.Module, ids: Sequence[int], device: torch.device
) -> Float[Tensor, "tokens d"]:
    """Encode the tokens of one prompt; float32 on the CPU."""
    states = encoder(torch.tensor([ids], device=device)).last_hidden_state
    return states[0].float().cpu().contiguous()
