"""The regions of a request on every attention grid, and the tokens bound to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

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
        refused: Int[Tensor, "tokens"] | None = None,
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
        self.columns = _columns(self.names, has_words[1:])
        regions = torch.arange(1, count, device=device)
        self.indicator = (words[:, None] == regions).float()
        self._cells = _coarse_codes(request, device)

    def codes(self, site: AttentionLayer) -> Int[Tensor, "frames tokens"]:
        """Return the code of every token of a layer."""
        return self._cells(*self.grid.at(site).size)


def _coarse_codes(
    request: EditRequest, device: torch.device
) -> Callable[[int, int], Int[Tensor, "frames cells"]]:
    """Return a function that computes the codes on a grid of some height and width."""
    count = 1 + len(request.regions)

    def cells(height: int, width: int) -> Int[Tensor, "frames cells"]:
        def pool(part: Tensor) -> Tensor:
            return grid_labels(part.to(device), height, width, count)

        return coded(request, pool)

    return cache(cells)


def _columns(
    names: Sequence[str], has_words: Sequence[bool]
) -> dict[str, tuple[int, ...]]:
    """Return the number of each region that has words, by its name."""
    columns = {}
    for column, (name, has) in enumerate(zip(names, has_words, strict=True)):
        if has:
            columns[name] = (column,)
    return columns


def coded(request: EditRequest, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `pool` to the codes of all pixels, few frames at a time: 0 is background, i
    + 1 is region i."""
    codes = torch.zeros(256, dtype=torch.uint8)
    for code, region in enumerate(request.regions, 1):
        codes[region.label] = code
    return pooled(request.areas, lambda part: pool(codes[part.long()]))


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
    phrases = _phrases(request)
    uncond, cond, *alone = _embed(backbone, request, phrases)
    words = _no_codes(cond)
    places: dict[tuple[int, ...], PromptEmbedding] = {}
    for phrase, encoded in zip(phrases, alone, strict=True):
        positions = _positions(cond, phrase, encoded)
        words[list(positions)] = phrase.code
        places[positions] = encoded
    layout = Layout(request, grid, words, _refused(request, uncond))
    return layout, {"uncond": uncond, "cond": splice(cond, places)}


class _Phrase(NamedTuple):
    """The words of a region: its code, their characters [start, stop) in the prompt,
    and the field named."""

    code: int
    text: str
    span: tuple[int, int]
    field: str


def _phrases(request: EditRequest) -> list[_Phrase]:
    """Return the phrases of the regions that have words."""
    composed = request.composed
    phrases = []
    for code, region in enumerate(request.regions, 1):
        span = composed.spans[region.label]
        if span:
            text = composed.text[slice(*span)]
            phrases.append(_Phrase(code, text, span, f"regions.{region.name}.prompt"))
    return phrases


def _embed(
    backbone: Backbone, request: EditRequest, phrases: Sequence[_Phrase]
) -> PromptEmbedding:
    """Encode the negative prompt, the prompt, and phrases alone."""
    prompts = [request.negatives, request.composed.text]
    fields = ["negative_prompt", "prompt"]
    for phrase in phrases:
        prompts.append(phrase.text)
        fields.append(phrase.field)
    return backbone.embed(prompts, fields)


def _positions(
    text: PromptEmbedding, phrase: _Phrase, encoded: PromptEmbedding
) -> tuple[int, ...]:
    """Find the tokens of a phrase in a prompt; it must have as many as alone."""
    positions = spans(text, *phrase.span)
    if len(positions) != encoded.lengths[0] - 2:
        reason = f"{shorten(phrase.text)} must match whole words of the prompt"
        raise PromptError(phrase.field, f"{reason}. Put spaces around it.")
    return positions


def _no_codes(text: PromptEmbedding) -> Int[Tensor, "tokens"]:
    """Return the code -1, of no region, for every token of a prompt."""
    vectors = text.vectors
    return torch.full((vectors.shape[1],), -1, dtype=torch.int64, device=vectors.device)


def _refused(
    request: EditRequest, negatives: PromptEmbedding
) -> Int[Tensor, "tokens"] | None:
    """Return the code of every token of the negative prompt; None if no region has
    negative words."""
    _, own = compose_negatives(request.negative_prompt, request.regions)
    if not own:
        return None
    labels = [region.label for region in request.regions]
    codes = _no_codes(negatives)
    for label, span in own.items():
        positions = spans(negatives, *span)
        codes[list(positions)] = labels.index(label) + 1
    return codes
