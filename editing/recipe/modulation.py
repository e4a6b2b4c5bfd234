"""Modulated attention of a run: each region is bound to its words and kept among its
own pixels.

VideoGrain, Yang et al. 2025, arXiv:2502.17258, Eq. 5 and 6. The text half of guidance
reads the words of `Layout`; which frames a pixel sees is the recipe's choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from regrain.editing.attention.averages import RegionAttention
from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import Seen, across_frames, labels_seen, tracks
from regrain.editing.attention.layers import AttentionFn, AttentionLayer
from regrain.editing.attention.regions import modulate, modulated_attention
from regrain.editing.diffusion.schedule import Step
from regrain.editing.params.base import ModulatedParams, ModulationVariants
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    Change,
    PixelHeat,
)
from regrain.editing.recipe.layout import Layout, size_term

Tracks = Mapping[tuple[int, int], Int[Tensor, "frames tokens"]]
"""The track of every token, by height and width of an attention grid."""


def fade(params: ModulatedParams, step: Step) -> float:
    """Return xi(t), the strength of modulation at this step; 0 after the window."""
    inside = step.within(params.modulate_until, begun=True)
    return step.time**params.schedule_power if inside else 0.0


def along_tracks(
    q: Tensor, k: Tensor, v: Tensor, ids: Int[Tensor, "frames tokens"] | None
) -> Tensor:
    """Compute attention along the tracks; `v`, the output of the attention before it,
    if there are none."""
    if ids is None:
        return v
    return tracks(q, k, v, len(ids), ids.to(q.device))


@dataclass(eq=False)
class Modulation:
    """ST-Layout attention of one run: Eq. 5 and 6 of the paper.

    Attributes:
        layout: Regions and words.
        params: Strengths, levels, and the half whose self-attention is modulated.
        seen: The frames whose keys a frame sees.
        heat: Collects the attention to words in the cond half.
        tracks: Tracks along the flow.
        pixel: Collects self-attention of the modulated half (cond if both are).
    """

    layout: Layout
    params: ModulationVariants
    seen: Seen
    heat: AttentionRecorder
    tracks: Tracks = field(default_factory=dict)
    pixel: PixelHeat | None = None

    def __post_init__(self) -> None:
        self._recorders = [(self.heat, self.layout.columns)]
        if self.pixel:
            self._recorders.append((self.pixel.heat, self.pixel.columns))

    def begin(self, step: Step) -> None:
        """Start a new step."""
        for heat, _ in self._recorders:
            heat.begin(step)

    def now(self, frames: Sequence[int]) -> dict[str, np.ndarray]:
        """Return this step's maps of some frames, for a preview."""
        maps = {}
        for heat, columns in self._recorders:
            maps.update(heat.now(columns, frames))
        return maps

    def maps(self) -> dict[str, RegionAttention]:
        """Return the maps over the run."""
        maps = {}
        for heat, columns in self._recorders:
            maps.update(heat.maps(columns))
        return maps

    def attend(self, step: Step, batch: Batch) -> AttentionFn:
        """Return the attention of one denoising step, for the halves of guidance in
        `batch`."""
        xi = fade(self.params, step)

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            out = []
            for branch in batch.branches:
                rows = batch.rows(branch)
                out.append(self._of(branch, q[rows], k[rows], v[rows], site, xi))
            if site.kind == "cross":
                return torch.cat(out)
            ids = self.tracks.get(self.layout.grid.at(site).size)
            return along_tracks(q, k, torch.cat(out), ids)

        return attend

    def _of(
        self,
        branch: str,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        site: AttentionLayer,
        xi: float,
    ) -> Tensor:
        """Compute the attention of one branch."""
        if site.kind == "cross" and branch == "cond":
            return self.across(q, k, v, site, xi)
        if site.kind == "cross":
            return self.refuse(q, k, v, site)
        half = self.params.guidance_half
        modulated = ("uncond", "cond") if half == "both" else (half,)
        if branch in modulated:
            return self.within(q, k, v, site, xi, looks=branch == modulated[-1])
        return across_frames(q, k, v, self.layout.grid.time, self.seen)

    def across(
        self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer, xi: float
    ) -> Tensor:
        """Compute Eq. 6: cross-attention that ties the pixels of each region to its
        words."""
        layout = self.layout
        codes = layout.codes(site)
        bound = layout.has_words
        if self.params.uncovered == "repelled":
            # pixels without words too, from all words
            bound = torch.ones_like(bound)
        weight = self.params.cross_strength * layout.strength * bound
        term = size_term(codes, codes, len(weight))
        a = self.strength(codes, weight, term, site, xi)
        if self.heat.reads(site):
            self._note_words(q, k, codes, a, site)
        return modulated_attention(q, k, v, codes, layout.words[None], a)

    def _note_words(
        self, q: Tensor, k: Tensor, codes: Tensor, a: Tensor, site: AttentionLayer
    ) -> None:
        """Record a layer's attention to the words of each region."""
        layout = self.layout
        # With these values, attention gives its mass on the words of each region.
        own = layout.indicator.to(q.dtype).expand(*k.shape[:2], -1, -1)
        before = attention(q, k, own).mean(1)
        after = modulated_attention(q, k, own, codes, layout.words[None], a).mean(1)
        size = layout.grid.at(site).size
        self.heat.add(before, after, size=size, changed=bool(a.any()))

    def refuse(self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        """Compute attention to the negative prompt, in which only a region reads its
        own negative words."""
        own = self.layout.refused
        if own is None:
            return attention(q, k, v)
        seen = (own < 0) | (self.layout.codes(site)[..., None] == own)
        return attention(q, k, v, mask=seen[:, None])

    def within(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        site: AttentionLayer,
        xi: float,
        looks: bool,
    ) -> Tensor:
        """Compute Eq. 5: self-attention that keeps each region among its own pixels, in
        all frames it sees.

        With `looks`, the chosen pixel's attention is recorded.
        """
        grid = self.layout.grid
        query_regions, key_regions = labels_seen(self.layout.codes(site), self.seen)
        codes, keys, a = self.apart(query_regions, key_regions, site, xi)

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if looks and self.pixel and self.pixel.heat.reads(site):
                change = _of_query(codes, keys, a) if bool(a.any()) else None
                self.pixel.add(q, k, grid.at(site), self.seen, change)
            return modulated_attention(q, k, v, codes, keys, a)

        return across_frames(q, k, v, grid.time, self.seen, attend)

    def apart(
        self,
        codes: Int[Tensor, "rows queries"],
        keys: Int[Tensor, "rows keys"],
        site: AttentionLayer,
        xi: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the labels of queries and keys of self-attention, from their regions,
        and all strengths."""
        layout = self.layout
        params = self.params
        term = size_term(codes, keys, len(layout.strength))
        if params.size_over_frames:
            term = 1 - (1 - term) / layout.grid.time
        a = self.strength(codes, params.self_strength * layout.strength, term, site, xi)
        # by everything: pixels without words are no region
        if params.uncovered == "repelled":
            codes, keys = (torch.where(x == 0, -1, x) for x in (codes, keys))
        return codes, keys, a

    def strength(
        self,
        codes: Tensor,
        weight: Tensor,
        size_term: Tensor,
        site: AttentionLayer,
        xi: float,
    ) -> Tensor:
        """Compute lambda: xi(t) (1 - S) times the weight of each pixel's region; 0 in
        layers left out."""
        if self.params.levels == "coarse" and site.finest:
            return torch.zeros_like(codes, dtype=torch.float32)
        if self.params.uncovered == "repelled":  # pixels of no region have no size
            size_term = torch.where(codes == 0, 1.0, size_term)
        return xi * weight[codes] * (size_term if self.params.size_term else 1.0)


def _of_query(codes: Tensor, keys: Tensor, a: Tensor) -> Change:
    """Return the modulation of a single query, from the labels and strengths of a
    layer."""

    def change(q: Tensor, k: Tensor, row: int, query: int) -> tuple[Tensor, Tensor]:
        rows = slice(row, row + 1)
        one = slice(query, query + 1)
        return modulate(q, k, codes[rows, one], keys[rows], a[rows, one])

    return change
