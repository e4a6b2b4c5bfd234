"""Cross-attention as explicit maps: where each word looks, and maps of one prompt built
from another's.

A prompt has a few dozen tokens, so these maps are small; self-attention is never
materialised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regrain.editing.attention.backends import Keys, Queries, attention
from regrain.editing.attention.batch import Batch
from regrain.editing.diffusion.text import (
    PromptEmbedding,
    TokenMap,
    Variant,
    find_words,
    is_swap,
    refine_map,
    replace_map,
)

Maps = Float[Tensor, "batch heads queries keys"]
CrossControl = Literal["auto", "replace", "refine"]


def probabilities(q: Queries, k: Keys) -> Maps:
    """Compute softmax(q k^T / sqrt(dim)) in at least single precision."""
    q, k = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (q, k))
    return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1)


@dataclass(frozen=True, eq=False)
class Exchange:
    """A rule to compute an edit's cross-attention from the source's.

    Attributes:
        mapper: Replace: rows are source tokens, columns target tokens; None to refine.
        indices: Refine: the source token that each target token corresponds to.
        aligned: Refine: 1 if there is one, 0 if the token is new and keeps the edit's
            attention.
        factors: Reweight: a factor for each target token's attention; rows then no
            longer sum to 1.
    """

    mapper: TokenMap | None
    indices: Int[Tensor, "L"]
    aligned: Float[Tensor, "L"]
    factors: Float[Tensor, "L"]

    def __call__(self, source: Maps, edit: Maps) -> Maps:
        """Compute the edit's final maps from both maps. Source: arXiv:2208.01626, Sec.
        3.2."""
        if self.mapper is not None:
            fused = source @ self.mapper.to(source)
        else:
            aligned = self.aligned.to(source)
            fused = aligned * source[..., self.indices] + (1 - aligned) * edit
        return fused * self.factors.to(source)

    def pairing(self, pairs: Mapping[int, int]) -> Exchange:
        """Return this rule to refine with more tokens of the target that correspond to
        tokens of the source."""
        indices = self.indices.clone()
        indices[list(pairs)] = indices.new_tensor(list(pairs.values()))
        return replace(self, indices=indices, aligned=(indices >= 0).float())


def exchange(
    source: PromptEmbedding,
    target: PromptEmbedding,
    control: CrossControl = "auto",
    weights: Mapping[str, float] | None = None,
    variant: Variant = "fixed",
    field: str = "prompt",
) -> Exchange:
    """Align two prompts.

    Args:
        source, target: Single prompts.
        control: "replace" swaps words in place, "refine" adds new words; "auto" replaces if the prompts
            differ only by one-for-one word swaps.
        weights: Factors of words of the target.
        variant: See `editing.diffusion.text`.
        field: Field named in the error if a word of `weights` is not in the prompt.
    Raises:
        PromptError: Prompts to replace differ in their number of words, or a word of
            `weights` is missing.
    """
    device = source.vectors.device
    swaps = control == "replace"
    if control == "auto":
        swaps = is_swap(source.prompts[0], target.prompts[0])
    mapper = replace_map(source, target, variant).to(device) if swaps else None
    indices, aligned = (x.to(device) for x in refine_map(source, target, variant))
    factors = torch.ones(target.vectors.shape[1])
    for phrase, weight in (weights or {}).items():
        factors[list(find_words(target, phrase, field))] = weight
    return Exchange(mapper, indices, aligned, factors.to(device))


def fuse_cross(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    batch: Batch,
    exchanges: Mapping[str, Callable[[Maps, Maps], Maps]],
) -> Tensor:
    """Compute cross-attention in which some branches use that of the branch `source`.

    Args:
        q, k, v: Rows of `batch`.
        exchanges: By branch, how its attention is computed from the source's and its
            own; that of others is unchanged.
    Source: Prompt-to-Prompt, arXiv:2208.01626, Sec. 3.2.
    """
    out = attention(q, k, v)
    if not exchanges:
        return out
    rows = batch.rows("source")
    source = probabilities(q[rows], k[rows])
    for name, exchange in exchanges.items():
        rows = batch.rows(name)
        maps = exchange(source, probabilities(q[rows], k[rows]))
        out[rows] = (maps @ v[rows].to(maps)).to(out)
    return out
