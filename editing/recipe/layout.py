"""The regions of a request on every attention grid, and the tokens bound to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from regrain.editing.attention.layers import AttentionLayer, Grid
from regrain.editing.attention.regions import grid_labels
from regrain.editing.diffusion.text import PromptEmbedding, spans, splice
from regrain.editing.errors import PromptError, shorten
from regrain.editing.media.lazy_frames import LabelFrames, Numbers
from regrain.editing.models.backbone import Backbone
from regrain.editing.recipe.window import pooled
from regrain.editing.request.compose import compose_negatives
from regrain.editing.request.edit_request import EditRequest


class Layout:
    """The regions on every attention grid, and their tokens. Codes: 0 is background, i
    + 1 is region i.

    Attributes:
        names: Names of the regions.
        words: Code of every token of the prompt, -1 for tokens of no region.
        refused: Code of every token of the negative prompt; None if no region has
            negative words.
        grid: Grid of the latents.
        strength: Strengths of the background, 1, and of every region.
        has_words: 1 for regions with words, else 0; pixels without words keep their
            cross-attention, since flattening it would erase them.
        columns: The column of each region with words in `indicator`, by name.
        indicator: [tokens, regions], 1 if a token belongs to a region.
    """

    def __init__(
        self,
        request: EditRequest,
        grid: Grid,
        words: Int[Tensor, "tokens"],
        refused: Int[Tensor, "tokens"] | None,
    ) -> None:
        device = words.device
        self.names = tuple(region.name for region in request.regions)
        self.words = words
        self.refused = refused
        self.grid = grid
        self.strength = strengths(request, device)
        count = len(self.strength)
        known = set(words.tolist())
        has_words = [code in known for code in range(count)]
        self.has_words = torch.tensor(has_words, device=device).float()
        self.columns = {
            name: (column,)
            for column, name in enumerate(self.names)
            if has_words[column + 1]
        }
        regions = torch.arange(1, count, device=device)
        self.indicator = (words[:, None] == regions).float()

        @cache
        def cells(height: int, width: int) -> Int[Tensor, "frames cells"]:
            def pool(part: Tensor) -> Tensor:
                return grid_labels(part, height, width, count)

            # found on the processor: on a device each frame would wait for it
            return coded(request, pool).to(device)

        self._cells = cells

    def codes(self, site: AttentionLayer) -> Int[Tensor, "frames tokens"]:
        """Return the code of every token of a layer."""
        return self._cells(*self.grid.at(site).size)


def coded(request: EditRequest, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `pool` to the codes of all pixels, few frames at a time: 0 is background, i
    + 1 is region i."""
    codes = np.zeros(256, np.uint8)
    for code, region in enumerate(request.regions, 1):
        codes[region.label] = code

    def look_up(labels: LabelFrames) -> LabelFrames:
        # several times as fast as NumPy; a last axis of one is dropped
        return cv2.LUT(labels, codes).reshape(labels.shape)

    return pooled(request.areas.changed(look_up, np.uint8), pool)


def strengths(request: EditRequest, device: torch.device) -> Float[Tensor, "codes"]:
    """Return the strengths of the background, 1, and of every region."""
    return torch.tensor(
        [1.0, *[region.strength for region in request.regions]], device=device
    )


def size_term(
    codes: Int[Tensor, "rows tokens"], keys: Int[Tensor, "rows keys"], count: int
) -> Float[Tensor, "rows tokens"]:
    """Compute the size term 1 - S: the share of `keys` in a token's row that belong to
    other regions."""
    shares = F.one_hot(keys, count).float().mean(1)
    return 1 - shares.gather(1, codes)


def lay_out(
    backbone: Backbone, request: EditRequest, grid: Grid
) -> tuple[Layout, dict[str, PromptEmbedding]]:
    """Bind the regions to their words.

    Returns:
        The layout, and the texts "uncond" and "cond", with the phrases of regions
        encoded alone.
    Raises:
        PromptError: A prompt cannot be encoded, or a region's words are not whole words
            of the prompt.
    """
    composed = request.composed
    prompts = [request.negatives, composed.text]
    fields = ["negative_prompt", "prompt"]
    bound = []
    for code, region in enumerate(request.regions, 1):
        span = composed.spans[region.label]
        if span:
            prompts.append(composed.text[slice(*span)])
            fields.append(f"regions.{region.name}.prompt")
            bound.append((code, span))
    uncond, cond, *alone = backbone.embed(prompts, fields)
    words = _no_codes(cond)
    places: dict[Numbers, PromptEmbedding] = {}
    for (code, span), phrase, field in zip(bound, alone, fields[2:], strict=True):
        positions = spans(cond, *span)
        if len(positions) != phrase.lengths[0] - 2:
            raise PromptError(
                field,
                f"{shorten(phrase.prompts[0])} must match whole words of the prompt. "
                "Put spaces around it.",
            )
        words[list(positions)] = code
        places[positions] = phrase
    _, own = compose_negatives(request.negative_prompt, request.regions)
    refused = None
    if own:
        labels = [region.label for region in request.regions]
        refused = _no_codes(uncond)
        for label, span in own.items():
            refused[list(spans(uncond, *span))] = labels.index(label) + 1
    layout = Layout(request, grid, words, refused)
    return layout, {"uncond": uncond, "cond": splice(cond, places)}


def _no_codes(text: PromptEmbedding) -> Int[Tensor, "tokens"]:
    """Return the code -1, of no region, for every token of a prompt."""
    vectors = text.vectors
    return torch.full((vectors.shape[1],), -1, dtype=torch.int64, device=vectors.device)
