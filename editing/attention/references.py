"""Attention between tokens of a clip and of pictures that stand beside it, where each
picture belongs to one region.

Source: our own; the networks were trained without such bonds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from regrain.editing.attention.backends import attention, attention_and_sums
from regrain.editing.attention.frames import Rows


class _Group(NamedTuple):
    """Queries that see the same: `seen` as they are, `strange` weakened."""

    queries: Int[Tensor, "found"]
    seen: Int[Tensor, "seen"]
    strange: Int[Tensor, "strange"]


@dataclass(frozen=True, eq=False)
class Separation:
    """The separation of each region's picture from other regions, and from their
    pictures.

    Where query or key is of a picture, and both are of regions that differ, the pair
    counts in the softmax by the factor `kept`. Tokens of no region see all, and are
    seen by all; so are pairs of the clip.

    Attributes:
        groups: Queries of which some pairs are weakened.
        free: All others.
        kept: The factor, 0..1.
    """

    groups: tuple[_Group, ...]
    free: Int[Tensor, "free"]
    kept: float

    @classmethod
    def of(
        cls,
        codes: Int[Tensor, "tokens"],
        is_picture: Bool[Tensor, "tokens"],
        kept: float,
    ) -> Separation | None:
        """Return the separation of tokens by their regions, 0 for none; None if no pair
        is weakened."""
        if kept == 1:
            return None
        groups = []
        is_free = torch.ones_like(is_picture)
        for code in codes[codes > 0].unique().tolist():
            others = (codes > 0) & (codes != code)
            for of_picture in (False, True):
                own = (codes == code) & (is_picture == of_picture)
                strange = others if of_picture else others & is_picture
                if own.any() and strange.any():
                    places = (own, ~strange, strange)
                    groups.append(_Group(*(_places(part) for part in places)))
                    is_free &= ~own
        return cls(tuple(groups), _places(is_free), kept) if groups else None

    def attend(
        self,
        q: Rows,
        k: Rows,
        v: Rows,
    ) -> Rows:
        """Compute self-attention with weakened pairs; q, k and v are unscaled."""
        scale = q.shape[-1] ** -0.5
        out = torch.empty_like(q)
        if len(self.free):
            out[:, :, self.free] = attention(q[:, :, self.free], k, v)
        for group in self.groups:
            rows = q[:, :, group.queries]

            def to(
                keys: Int[Tensor, "keys"], rows: Tensor = rows
            ) -> tuple[Tensor, Tensor]:
                return attention_and_sums(rows, k[:, :, keys], v[:, :, keys], scale)

            found, sums = to(group.seen)
            if self.kept:
                strange, more = to(group.strange)
                share = torch.sigmoid(more + math.log(self.kept) - sums)
                weight = share[..., None].to(q.dtype)
                found = torch.lerp(found, strange, weight)
            out[:, :, group.queries] = found
        return out


def _places(chosen: Bool[Tensor, "tokens"]) -> Int[Tensor, "found"]:
    return chosen.nonzero().flatten()
