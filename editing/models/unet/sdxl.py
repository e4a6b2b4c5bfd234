"""Stable Diffusion XL: two text encoders side by side, and pooled text and sizes with
every call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.models.files.words import Tokens
from regrain.editing.models.unet.stable_diffusion import Encoded, StableDiffusion
from regrain.editing.storage.texts import Json


@dataclass(eq=False, repr=False, kw_only=True)
class StableDiffusionXL(StableDiffusion):
    """A loaded SDXL model.

    Attributes:
        padding_2: Number of the token that the second text encoder is padded with. It
            reads the same tokens; its vectors stand beside those of the first, and its
            projection of the end mark is the pooled text.
        empty_is_zero: Whether the empty prompt is zeros, as the model was trained
            (`force_zeros_for_empty_prompt` of its pipeline).
    Source: Podell et al., arXiv:2307.01952, Sec. 2.1 and 2.2.
    """

    padding_2: int = 0
    empty_is_zero: bool = True
    _KEPT: ClassVar[int] = 1700  # 1483 counted

    def _encode(self, prompts: Sequence[str], tokens: Tokens) -> Encoded:
        """Return the last but one layer of both encoders, without its norm; the pooled
        text of the second."""
        rows = torch.tensor(tokens.ids, device=self.device)
        padding = torch.tensor(tokens.mask, device=self.device) == 0
        with self._turn(self.text_encoder):
            first = self.text_encoder(rows, output_hidden_states=True).hidden_states[-2]
        rows = rows.masked_fill(padding, self.padding_2)
        encoder = self.parts["text_encoder_2"]
        with self._turn(encoder):
            second = encoder(rows, output_hidden_states=True)
        vectors = torch.cat([first, second.hidden_states[-2]], -1).float()
        pooled = second.text_embeds.float()
        if self.empty_is_zero:
            empty = [number for number, prompt in enumerate(prompts) if not prompt]
            vectors[empty], pooled[empty] = 0, 0
        return vectors, pooled

    def read_by(self, x: Tensor, text: PromptEmbedding) -> Json:
        """See `StableDiffusion`. The sizes say: not cropped, and as large as its
        working size."""
        if text.pooled is None:
            raise ValueError("text has no pooled vectors; encode it with this model")
        height, width = self._pixels(x)
        rows = len(x)
        pooled = text.pooled.to(x).repeat_interleave(rows // len(text), dim=0)
        # Original size, crop from the top left, target size.
        sizes = (
            torch.tensor([[height, width, 0, 0, height, width]]).to(x).expand(rows, -1)
        )
        added = {"text_embeds": pooled, "time_ids": sizes}
        return super().read_by(x, text) | {"added_cond_kwargs": added}
