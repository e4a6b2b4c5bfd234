"""Prompts of a Wan model: umT5's vectors, kept on disk, so that its large encoder is
loaded once a prompt."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.models.files.words import Tokens, Words, tokenise
from regrain.editing.models.streaming import placed
from regrain.editing.storage import cache

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Wan was trained on prompts padded to so many, and nothing masks the padding
TOKEN_LIMIT = 512
# All pieces of a text: entities of HTML or runs of spaces, and single characters.
_ENTITIES = re.compile(r"(?s)&(?:#\d+|#[xX][\da-fA-F]+|[^\t\n\f <&#;]{1,32});?|.")
_SPACES = re.compile(r"(?s)\s+|.")


class CleanText:
    """A prompt as the model was trained to read it: entities of HTML are replaced,
    twice, and runs of spaces are one.

    Attributes:
        text: The clean text.
    """

    def __init__(self, prompt: str) -> None:
        self.text = prompt
        # of each character, where it begins and ends in the prompt
        self._places = [(place, place + 1) for place in range(len(prompt))]
        self._replace(_ENTITIES, html.unescape)
        self._replace(_ENTITIES, html.unescape)
        self._replace(_SPACES, lambda piece: " " if piece.isspace() else piece)
        outer = len(self.text) - len(self.text.lstrip())
        self.text = self.text.strip()
        self._places = self._places[outer : outer + len(self.text)]

    def _replace(self, pattern: re.Pattern[str], change: Callable[[str], str]) -> None:
        text = ""
        places = []
        for piece in pattern.finditer(self.text):
            new = change(piece[0])
            text += new
            places += [self.in_prompt(*piece.span())] * len(new)
        self.text = text
        self._places = places

    def in_prompt(self, start: int, stop: int) -> tuple[int, int]:
        """Return where a part of the clean text is in the prompt; (0, 0) of an empty
        one."""
        if start == stop:
            return 0, 0
        return self._places[start][0], self._places[stop - 1][1]


@dataclass(frozen=True, eq=False)
class PromptReader:
    """Reads prompts.

    Attributes:
        load: Loads the encoder; it is released once the prompts at hand are encoded.
        identity: Identifies the encoder's weights, by the sizes and dates of its files.
        words: The words a small model knows; None for any.
    """

    tokenizer: PreTrainedTokenizerBase
    load: Callable[[], nn.Module]
    identity: str
    words: Words

    def check(self, prompts: Sequence[str], fields: Sequence[str]) -> Tokens:
        """Tokenise prompts; errors as `check_prompts` of a backbone."""
        clean = [CleanText(prompt).text for prompt in prompts]
        return tokenise(self.tokenizer, clean, fields, self.words, TOKEN_LIMIT, marks=1)

    @torch.no_grad()
    def embed(
        self, prompts: Sequence[str], fields: Sequence[str], device: torch.device
    ) -> PromptEmbedding:
        """Encode prompts, padded with zeros."""
        tokens = self.check(prompts, fields)
        offsets = []
        for prompt, spans in zip(prompts, tokens.offsets, strict=True):
            clean = CleanText(prompt)
            offsets.append(tuple(clean.in_prompt(*span) for span in spans))
        encoder = None
        vectors = []
        for row, length in zip(tokens.ids, tokens.lengths, strict=True):
            own = list(row[:length])  # without padding
            key = {
                "kind": "text",
                "model": self.identity,
                "device": device.type,
                "ids": own,
            }
            kept = cache.load(key)
            if kept is None:
                encoder = encoder or self.load()
                with placed(encoder, device):
                    states = encoder(torch.tensor([own], device=device))[0]
                kept = {"vectors": states[0].float().cpu().contiguous()}
                cache.store(key, kept)
            vectors.append(F.pad(kept["vectors"], (0, 0, 0, TOKEN_LIMIT - length)))
        padded = torch.stack(vectors).to(device)
        return PromptEmbedding(
            tuple(prompts), padded, tokens.lengths, tuple(offsets), tokens.ids
        )
