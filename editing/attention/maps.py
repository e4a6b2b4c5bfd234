"""Cross-attention written out: where each word looks, and maps of one prompt made from those of another.

Text has some dozens of tokens, so these maps are small; self-attention is never written out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from editing.text import Text, Variant, equalizer, is_swap, refine_map, replace_map

Maps = Float[Tensor, "rows heads queries keys"]
Control = Literal["auto", "replace", "refine"]
# The references read their maps at 16 x 16 of 64 x 64 latents: the coarsest grid of this many cells a side.
_MAP_SIDE = 16


def grid_at(tokens: int, finest: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the attention grid with this many tokens a frame; `finest` is the latents' own."""
    height, width = finest
    while height * width > tokens:
        height, width = (height + 1) // 2, (width + 1) // 2
    return height, width


def map_grid(finest: tuple[int, int], coarsest: int) -> tuple[int, int]:
    """The grid on which words are looked for: the coarsest of at least 16 cells a side, or the finest.

    Args:
        finest: Height and width of the latents.
        coarsest: Latents a side that a cell of the model's coarsest grid spans, a power of two.
    """
    grid, divisor = finest, 1
    while divisor < coarsest and (min(grid) + 1) // 2 >= _MAP_SIDE:
        grid, divisor = ((grid[0] + 1) // 2, (grid[1] + 1) // 2), 2 * divisor
    return grid


def probabilities(
    q: Float[Tensor, "rows heads queries dim"],
    k: Float[Tensor, "rows heads keys dim"],
    scale: float | None = None,
) -> Maps:
    """softmax(scale q k^T), in single precision at least; the scale is dim ** -0.5 if not given."""
    q, k = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (q, k))
    return torch.softmax(q @ k.transpose(-1, -2) * (scale or q.shape[-1] ** -0.5), -1)


class TokenMass:
    """Attention per token on one grid, averaged over heads, layers and steps."""

    def __init__(self, grid: tuple[int, int]) -> None:
        self.grid = grid
        self._sum: Tensor | None = None
        self._count = 0

    def add(self, maps: Maps) -> None:
        """One layer's maps; those of another grid are passed over."""
        if maps.shape[2] != self.grid[0] * self.grid[1]:
            return
        mass = maps.mean(1).unflatten(1, self.grid)
        self._sum = mass if self._sum is None else self._sum + mass
        self._count += 1

    def mean(self) -> Float[Tensor, "rows h w keys"]:
        """What was added, on average.

        Raises:
            ValueError: Nothing was: the model has no attention layer on this grid.
        """
        if self._sum is None:
            raise ValueError(f"no cross-attention layer has a grid of {self.grid[0]} x {self.grid[1]}")
        return self._sum / self._count


@dataclass(frozen=True, eq=False)
class Exchange:
    """How the cross-attention of an edit is made from that of the source.

    Attributes:
        mapper: Replace: rows are source tokens, columns target tokens; None to refine.
        indices: Refine: for every target token the source token it was.
        aligned: Refine: 1 where there is one, 0 where the token is new and keeps the edit's attention.
        factors: Reweight: what every target token's attention is multiplied by; rows then do not sum to 1.
    """

    mapper: Float[Tensor, "L L"] | None
    indices: Int[Tensor, "L"]
    aligned: Float[Tensor, "L"]
    factors: Float[Tensor, "L"]

    def __call__(self, source: Maps, edit: Maps) -> Maps:
        """Source: Hertz et al., arXiv:2208.01626, Sec. 3.2."""
        if self.mapper is not None:
            fused = source @ self.mapper.to(source)
        else:
            aligned = self.aligned.to(source)
            fused = aligned * source[..., self.indices] + (1 - aligned) * edit
        return fused * self.factors.to(source)


def exchange(
    source: Text,
    target: Text,
    control: Control = "auto",
    weights: Mapping[str, float] | None = None,
    variant: Variant = "fixed",
    field: str = "prompt",
) -> Exchange:
    """Align two prompts.

    Args:
        source: A single prompt.
        target: Another one.
        control: "replace" words in their places, "refine" by new words; "auto" replaces where the prompts
            differ only by words that stand for each other.
        weights: Factors of words of the target.
        variant: See `editing.text`.
        field: Named where a word of `weights` is not in the prompt.
    Raises:
        PromptError: Replacing prompts of different numbers of words, or an unknown word in `weights`.
    """
    device = source.vectors.device
    if control == "auto":
        control = "replace" if is_swap(source.prompts[0], target.prompts[0]) else "refine"
    mapper = replace_map(source, target, variant).to(device) if control == "replace" else None
    indices, aligned = (x.to(device) for x in refine_map(source, target, variant))
    factors = equalizer(target, weights or {}, field).to(device)
    return Exchange(mapper, indices, aligned, factors)
