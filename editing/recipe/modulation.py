"""Modulated attention of a run: each region is bound to its words and kept among its
own pixels.

VideoGrain, Yang et al. 2025, arXiv:2502.17258, Eq. 5 and 6. The text half of guidance
reads the words of `Layout`; which frames a pixel sees is the recipe's choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from regrain.editing.attention.averages import Heat, NamedMaps
from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch, group_of
from regrain.editing.attention.frames import (
    Seen,
    TrackOrder,
    across_frames,
    labels_seen,
    tracks,
)
from regrain.editing.attention.layers import AttentionFn, AttentionLayer, Size
from regrain.editing.attention.regions import Partition, Strength, partitioned_attention
from regrain.editing.diffusion.schedule import Step
from regrain.editing.media.lazy_frames import Numbers
from regrain.editing.params.base import ModulatedParams
from regrain.editing.recipe.attention_recorder import AttentionRecorder
from regrain.editing.recipe.layout import Layout, size_term

Tracks = Mapping[Size, TrackOrder]
"""The tokens in the order of their tracks, by height and width of an attention grid."""
# What is less is 0 in single precision.
_LEAST = torch.finfo(torch.float32).tiny


def fade(params: ModulatedParams, step: Step) -> float:
    """Return xi(t), the strength of modulation at this step; 0 after the window."""
    inside = step.within(params.modulate_until, begun=True)
    return step.time**params.schedule_power if inside else 0.0


class Variants(NamedTuple):
    """Ways in which modulated attention may differ from the paper's.

    Attributes:
        half: The half of guidance whose self-attention is modulated.
        skips_finest: The finest layers are left out.
        repels: Pixels without words are repelled by all words; else one more region.
        over_frames: A region's size is counted once per frame.
    """

    half: Literal["cond", "uncond", "both"] = "cond"
    skips_finest: bool = False
    repels: bool = False
    over_frames: bool = False


class PixelBinding(NamedTuple):
    """How the queries of a layer are bound before that fades; the same in all steps of a
    window.

    Attributes:
        partition: Regions of queries and keys.
        weight: Strength of every query's region.
        term: Size term of every query, or 1.
        acts: False if no query is bound.
    """

    partition: Partition
    weight: Tensor
    term: Tensor | float
    acts: bool

    def at(self, xi: float) -> Strength | None:
        """Return the strengths at xi(t); None if there are none."""
        if not self.acts or xi < _LEAST:
            return None
        return xi * self.weight * self.term


Bindings = dict[Numbers, PixelBinding]
"""Bindings by the stride of their layers."""


def along_tracks(q: Tensor, k: Tensor, v: Tensor, order: TrackOrder | None) -> Tensor:
    """Compute attention along the tracks; `v`, the output of the attention before it,
    if there are none."""
    return v if order is None else tracks(q, k, v, order)


@dataclass(eq=False)
class Modulation:
    """ST-Layout attention of one run: Eq. 5 and 6 of the paper.

    Attributes:
        layout: Regions and words.
        params: Strengths, and when they act.
        seen: The frames whose keys a frame sees.
        heat: Collects the attention to words in the cond half.
        tracks: Tracks along the flow.
        variants: See `Variants`.
        before_text: A layer to which no text has come yet, so that both halves of
            guidance are alike there; empty for none.
    """

    layout: Layout
    params: ModulatedParams
    seen: Seen
    heat: AttentionRecorder
    tracks: Tracks = field(default_factory=dict)
    variants: Variants = Variants()
    before_text: str = ""

    def __post_init__(self) -> None:
        self._to_words: Bindings = {}
        self._among_pixels: Bindings = {}

    def now(self, frames: Sequence[int]) -> NamedMaps:
        """Return this step's maps of some frames, for a preview."""
        return self.heat.now(self.layout.columns, frames)

    def maps(self) -> Heat:
        """Return the maps over the run."""
        return self.heat.maps(self.layout.columns)

    def attend(self, step: Step, batch: Batch) -> AttentionFn:
        """Return the attention of one denoising step; branches of the source are
        unchanged."""
        xi = fade(self.params, step)
        half = self.variants.half
        modulated = ("uncond", "cond") if half == "both" else (half,)
        grid = self.layout.grid
        alike = self.before_text if xi < _LEAST and batch.has("uncond") else ""

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            crosses = site.kind == "cross"
            out = []
            for branch in batch.branches:
                rows = batch.rows(branch)
                own = (q[rows], k[rows], v[rows])
                if crosses and branch == "cond":
                    out.append(self._across(*own, site, xi))
                elif crosses and group_of(branch) == "uncond":
                    out.append(self._refuse(*own, site))
                elif crosses:
                    out.append(attention(*own))
                elif branch == "cond" and site.name == alike:
                    out.append(out[-1])  # what comes before is the other half
                elif branch in modulated:
                    out.append(self._within(*own, site, xi))
                else:
                    out.append(across_frames(*own, grid.time, self.seen))
            if crosses:
                return torch.cat(out)
            return along_tracks(
                q, k, torch.cat(out), self.tracks.get(grid.at(site).size)
            )

        return attend

    def _across(
        self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer, xi: float
    ) -> Tensor:
        """Compute Eq. 6: cross-attention that ties the pixels of each region to its
        words."""
        binding = once(self._to_words, site, self._bind_to_words)
        partition = binding.partition
        a = binding.at(xi)
        if self.heat.reads(site):
            # With these values, attention gives its mass on the words of each region.
            words = self.layout.indicator.to(q.dtype).expand(*k.shape[:2], -1, -1)
            before = after = attention(q, k, words).mean(1)
            if a is not None:
                after = partitioned_attention(q, k, words, partition, a).mean(1)
            size = self.layout.grid.at(site).size
            self.heat.add(before, after, size=size, changed=a is not None)
        return partitioned_attention(q, k, v, partition, a)

    def _bind_to_words(self, site: AttentionLayer) -> PixelBinding:
        """Bind the pixels of a layer to the words of their region."""
        layout = self.layout
        codes = layout.codes(site)
        bound = layout.has_words
        if self.variants.repels:
            # pixels without words too, from all words
            bound = torch.ones_like(bound)
        weight = self.params.cross_strength * layout.strength * bound
        term = size_term(codes, codes, len(weight))
        partition = Partition.of(codes, layout.words[None])
        return self._binding(partition, codes, weight, term, site)

    def _refuse(self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        """Compute attention to the negative prompt, in which only a region reads its
        own negative words."""
        own = self.layout.refused
        if own is None:
            return attention(q, k, v)
        seen = (own < 0) | (self.layout.codes(site)[..., None] == own)
        return attention(q, k, v, mask=seen[:, None])

    def _within(
        self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer, xi: float
    ) -> Tensor:
        """Compute Eq. 5: self-attention that keeps each region among its own pixels, in
        all frames it sees."""
        binding = once(self._among_pixels, site, self._bind_among_pixels)
        a = binding.at(xi)

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return partitioned_attention(q, k, v, binding.partition, a)

        return across_frames(q, k, v, self.layout.grid.time, self.seen, attend)

    def _bind_among_pixels(self, site: AttentionLayer) -> PixelBinding:
        """Bind the pixels of a layer to those that they see."""
        return self.apart(*labels_seen(self.layout.codes(site), self.seen), site)

    def apart(
        self,
        codes: Int[Tensor, "rows queries"],
        keys: Int[Tensor, "rows keys"],
        site: AttentionLayer,
    ) -> PixelBinding:
        """Bind queries to keys of self-attention, by their regions."""
        layout = self.layout
        params = self.params
        term = size_term(codes, keys, len(layout.strength))
        if self.variants.over_frames:
            term = 1 - (1 - term) / layout.grid.time
        weight = params.self_strength * layout.strength
        labels = (codes, keys)
        # by everything: pixels without words are no region
        if self.variants.repels:
            labels = (torch.where(x == 0, -1, x) for x in labels)
        return self._binding(Partition.of(*labels), codes, weight, term, site)

    def _binding(
        self,
        partition: Partition,
        codes: Int[Tensor, "rows queries"],
        weight: Tensor,
        term: Tensor,
        site: AttentionLayer,
    ) -> PixelBinding:
        """Weigh every query for lambda, xi(t) (1 - S) times the weight of its region;
        none is bound in layers left out."""
        if self.variants.repels:  # pixels of no region have no size
            term = torch.where(codes == 0, 1.0, term)
        weights = weight[codes]
        terms = term if self.params.size_term else 1.0
        left_out = self.variants.skips_finest and site.finest
        acts = not left_out and bool((weights * terms).any())
        return PixelBinding(partition, weights, terms, acts)


def once(
    kept: Bindings,
    site: AttentionLayer,
    make: Callable[[AttentionLayer], PixelBinding],
) -> PixelBinding:
    """Return what layers of one grid have in common, made for the first of them."""
    if site.stride not in kept:
        kept[site.stride] = make(site)
    return kept[site.stride]
