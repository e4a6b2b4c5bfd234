"""The regions of a request on every attention grid, and the tokens bound to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from regrain.editing.attention.layers import AttentionLayer, Grid
from regrain.editing.attention.regions import grid_labels
from regrain.editing.diffusion.text import PromptEmbedding, spans, splice
from regrain.editing.errors import PromptError, shorten
from regrain.editing.recipe.window import pooled
from regrain.editing.request.compose import compose_negatives

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone
    from regrain.editing.request.edit_request import EditRequest


class Layout:
    """The regions on every attention grid, and their tokens. Codes: 0 is background, i + 1 is region i.

    Attributes:
        names: Names of the regions.
        words: Code of every token of the prompt, -1 for tokens of no region.
        refused: The same for the negative prompt; None if no region has negative words.
        grid: Grid of the latents.
        strength: Strengths of the background, 1, and of every region.
        has_words: 1 for regions with words, else 0; pixels without words keep their cross-attention, since
            flattening it would erase them.
        columns: The column of each region with words in `indicator`, by name.
        indicator: [tokens, regions], 1 if a token belongs to a region.
    """

    def __init__(
        self,
        request: EditRequest,
        grid: Grid,
        words: Int[Tensor, "tokens"],
        refused: Int[Tensor, "tokens"] | None = None,
    ) -> None:
        self.names = tuple(region.name for region in request.regions)
        self.words, self.refused, self.grid = words, refused, grid
        device, self.strength = words.device, strengths(request, words.device)
        worded = [bool((words == code).any()) for code in range(len(self.strength))]
        self.has_words = torch.tensor(worded, device=device).float()
        self.columns = {name: (i,) for i, name in enumerate(self.names) if worded[i + 1]}
        regions = torch.arange(1, len(self.names) + 1, device=device)
        self.indicator = (words[:, None] == regions).float()

        def cells(height: int, width: int) -> Int[Tensor, "frames cells"]:
            count = len(self.strength)
            return coded(request, lambda part: grid_labels(part.to(device), height, width, count))

        self._cells = cache(cells)

    def codes(self, site: AttentionLayer) -> Int[Tensor, "frames tokens"]:
        """The code of every token of a layer."""
        return self._cells(*self.grid.at(site).size)


def coded(request: EditRequest, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """What `pool` makes of the codes of all pixels: 0 is background, i + 1 is region i."""
    codes = torch.zeros(256, dtype=torch.uint8)
    for code, region in enumerate(request.regions, 1):
        codes[region.label] = code
    return pooled(request.areas, lambda part: pool(codes[part.long()]))


def strengths(request: EditRequest, device: torch.device) -> Float[Tensor, "codes"]:
    """Strengths of the background, 1, and of every region."""
    return torch.tensor([1.0, *[region.strength for region in request.regions]], device=device)


def size_term(
    codes: Int[Tensor, "rows tokens"], keys: Int[Tensor, "rows keys"], count: int
) -> Float[Tensor, "rows tokens"]:
    """The size term 1 - S: for each token, the share of the `keys` in its row that are of other regions."""
    return 1 - F.one_hot(keys, count).float().mean(1).gather(1, codes)


def lay_out(
    backbone: Backbone, request: EditRequest, grid: Grid
) -> tuple[Layout, dict[str, PromptEmbedding]]:
    """Bind the regions to their words: the layout, and the texts uncond and cond, phrases encoded alone.

    Raises:
        PromptError: A prompt cannot be encoded, or a region's words are not whole words of the prompt.
    """
    composed = request.composed
    bound = [
        (code, span, f"regions.{region.name}.prompt")
        for code, region in enumerate(request.regions, 1)
        if (span := composed.spans[region.label])
    ]
    uncond, cond, *alone = backbone.embed(
        [request.negatives, composed.text, *(composed.text[slice(*span)] for _, span, _ in bound)],
        ["negative_prompt", "prompt", *(field for _, _, field in bound)],
    )
    words = torch.full((cond.vectors.shape[1],), -1, dtype=torch.int64, device=cond.vectors.device)
    places: dict[tuple[int, ...], PromptEmbedding] = {}
    for (code, span, field), phrase in zip(bound, alone, strict=True):
        positions = spans(cond, *span)
        if len(positions) != phrase.lengths[0] - 2:
            reason = f"{shorten(phrase.prompts[0])} must match whole words of the prompt"
            raise PromptError(field, f"{reason}. Put spaces around it.")
        words[list(positions)] = code
        places[positions] = phrase
    layout = Layout(request, grid, words, _refused(request, uncond))
    return layout, {"uncond": uncond, "cond": splice(cond, places)}


def _refused(request: EditRequest, negatives: PromptEmbedding) -> Int[Tensor, "tokens"] | None:
    """The code of every token of the negative prompt, -1 for tokens of no region; None if all are such."""
    vectors, labels = negatives.vectors, [region.label for region in request.regions]
    _, own = compose_negatives(request.negative_prompt, request.regions)
    codes = torch.full((vectors.shape[1],), -1, dtype=torch.int64, device=vectors.device)
    for label, span in own.items():
        codes[list(spans(negatives, *span))] = labels.index(label) + 1
    return codes if own else None
